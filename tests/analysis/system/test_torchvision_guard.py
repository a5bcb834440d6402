"""torchvision imports beside a torch it was not linked against, and otherwise is left alone.

Each case runs in a process of its own: an import cannot be undone.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def run(program: str, *, path: Path | None = None) -> str:
    lines = [f"import sys; sys.path.insert(0, {str(path)!r})"] if path else []
    result = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, textwrap.dedent(program)])],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() if result.returncode == 0 else result.stderr


def fake_torchvision(folder: Path, text: str) -> Path:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(textwrap.dedent(text))
    return folder


def test_models_transforms_and_datasets_work() -> None:
    output = run("""
        import torch
        from analysis.system.torchvision_guard import torchvision
        logits = torchvision.models.mobilenet_v2(weights=None).eval()(torch.zeros(1, 3, 32, 32))
        smaller = torchvision.transforms.functional.resize(torch.zeros(1, 3, 8, 8), [4, 4])
        print(tuple(logits.shape), tuple(smaller.shape), torchvision.datasets.MNIST.__name__)
        print(hasattr(torch.ops.torchvision, "nms"))
    """)
    assert output.splitlines() == ["(1, 1000) (1, 3, 4, 4) MNIST", "True"]


# What torchvision 0.28 does on import: it looks an operator up and gives it a shape function.
LOOKS_UP_NMS = """
    import torch
    @torch.library.register_fake("torchvision::nms")
    def nms(dets, scores, iou_threshold):
        return dets
    ready = True
"""


def test_a_missing_operator_is_declared_and_the_import_repeated(tmp_path: Path) -> None:
    output = run(
        """
        import torch
        print(hasattr(torch.ops.torchvision, "nms"))
        from analysis.system.torchvision_guard import _declared, torchvision
        schema = torch.ops.torchvision.nms.default._schema
        print(torchvision.ready, len(_declared), [argument.name for argument in schema.arguments])
        """,
        path=fake_torchvision(tmp_path, LOOKS_UP_NMS),
    )
    assert output.splitlines() == ["False", "True 1 ['dets', 'scores', 'iou_threshold']"]


def test_an_import_that_works_leaves_the_operators_alone(tmp_path: Path) -> None:
    output = run(
        """
        import torch
        from analysis.system.torchvision_guard import _declared, torchvision
        print(torchvision.ready, len(_declared), hasattr(torch.ops.torchvision, "nms"))
        """,
        path=fake_torchvision(tmp_path, "ready = True"),
    )
    assert output == "True 0 False"


def test_operators_that_are_there_are_not_declared_again(tmp_path: Path) -> None:
    output = run(
        """
        import torch
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from analysis.system.torchvision_guard import _declared, torchvision
        print(torchvision.ready, hasattr(torch.ops.torchvision, "qnms"))
        """,
        path=fake_torchvision(tmp_path, LOOKS_UP_NMS.replace("::nms", "::qnms")),
    )
    assert output == "True True"


def test_the_compiler_is_not_imported_before_it_is_used() -> None:
    output = run("""
        import sys
        import torch
        disable = torch.compiler.disable
        from analysis.models import load_model
        load_model("pocket-resnet20")
        print(torch.compiler.disable is disable)
        print(sorted(name for name in sys.modules if name.startswith("torch._dynamo")))
        supported = sys.modules["torchvision.ops.roi_align"].is_compile_supported
        print(supported("meta"), "torch._dynamo" in sys.modules)
        from torch._dynamo.utils import is_compile_supported
        print([supported(kind) == is_compile_supported(kind) for kind in ("cpu", "meta")])
    """)
    assert output.splitlines() == ["True", "[]", "False True", "[True, True]"]


def test_an_import_that_needs_more_of_the_compiler_gets_it(tmp_path: Path) -> None:
    output = run(
        """
        from analysis.system.torchvision_guard import torchvision
        import torch._dynamo.utils as real
        print([getattr(real, name) is getattr(torchvision, name) for name in ("counters", "same")])
        """,
        path=fake_torchvision(tmp_path, "from torch._dynamo.utils import counters, same"),
    )
    assert output == "[True, True]"


def test_a_compiler_that_is_there_stays() -> None:
    output = run("""
        import torch._dynamo.utils
        from analysis.system.torchvision_guard import torchvision
        import sys
        print(sys.modules["torch._dynamo.utils"] is torch._dynamo.utils)
    """)
    assert output == "True"


@pytest.mark.parametrize("error", ["RuntimeError('no CUDA driver')", "ImportError('no PIL')"])
def test_any_other_failure_is_passed_on(tmp_path: Path, error: str) -> None:
    output = run(
        "import analysis.system.torchvision_guard",
        path=fake_torchvision(tmp_path, f"raise {error}"),
    )
    assert output.splitlines()[-1] == error.replace("('", ": ").replace("')", "")


def test_a_torchvision_that_is_not_there_says_so() -> None:
    output = run("""
        import sys
        sys.modules["torchvision"] = None
        import analysis.system.torchvision_guard
    """)
    assert "ModuleNotFoundError" in output
