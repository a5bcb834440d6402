"""`analysis.__all__`, the table of lazy names, and the imports for type checkers agree."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import analysis

SOURCE = Path(analysis.__file__).read_text(encoding="utf-8")


def names_for_type_checkers() -> dict[str, str]:
    """Each name imported under `if TYPE_CHECKING:`, with its module."""
    (block,) = (
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_lazy_table_and_the_type_checkers_agree() -> None:
    lazy = {name: f"analysis.{module}" for name, module in analysis._MODULES.items()}
    assert lazy == names_for_type_checkers()


def test_all_holds_the_lazy_names_and_the_version() -> None:
    assert sorted([*analysis._MODULES, "__version__"]) == sorted(analysis.__all__)


def test_each_public_name_is_there() -> None:
    for name in analysis.__all__:
        assert getattr(analysis, name) is not None


def test_the_names_of_the_first_version_stay() -> None:
    first = {
        "NORMALIZATIONS", "PRESETS", "STRATEGIES", "AnalysisError", "AnalysisOptions", "Clustering",
        "LayerTopology", "Recipe", "RunOptions", "TensorImages", "TopologyReport", "Training",
        "analyze", "finetune", "freeze", "list_datasets", "list_models", "load_dataset",
        "load_model", "parameters_of", "predict_peak", "prepare_images", "run", "score", "select",
    }  # fmt: skip
    assert first <= set(analysis.__all__)


def test_names_without_torch_load_none() -> None:
    program = (
        "import sys, analysis\n"
        "analysis.STRATEGIES, analysis.NORMALIZATIONS, analysis.select, analysis.RunOptions\n"
        "analysis.list_models(), analysis.list_datasets()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]
