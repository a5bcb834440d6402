"""The code depends in one direction only (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.parent.name for path in (ROOT / "app/components").glob("*/__init__.py"))

# Modules and names that compute topology, scores or a choice of layers, train, or write to the
# store. A page uses them through `app.cache` or a worker.
COMPUTING = {
    *("torch", "torchvision", "ripser", "pyRipser", "persim", "sklearn", "scipy", "sqlite3"),
    *("analysis.instruments.activations", "analysis.instruments.ledger"),
    *(
        f"analysis.topology.{module}"
        for module in (
            "passes", "distances", "layer_distances", "persistence", "clustering", "embedding",
            "pipeline", "resummarize",
        )
    ),
    *("analysis.selection.scores.score", "analysis.selection.scores.size_only"),
    *("analysis.selection.ranking.ranking", "analysis.selection.ranking.select"),
    *("analysis.selection.strategies.Evidence", "analysis.selection.strategies.chosen_layers"),
    *(
        f"analysis.training.{module}"
        for module in ("choosing", "loop", "fine_tune", "freezing", "gradients", "prediction")
    ),
    *("analysis.costs.probing", "analysis.runs.database", "analysis.runs.recorder"),
    *("analysis.sweeps.sweep", "analysis.sweeps.dask_cluster", "analysis.worker"),
}  # fmt: skip

# Folders, and the imports forbidden to every file under them, lazy or not.
FORBIDDEN = {
    "analysis": {"streamlit", "plotly", "app"},
    "app/charts": {"streamlit", "app.components", "app.views", "app.state", "app.cache"},
    "app/components": COMPUTING | {"app.views"},
    "app/views": COMPUTING,
}


def imported(source: str) -> set[str]:
    """Every module and name that a file imports, dotted, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def breaches(source: str, forbidden: set[str]) -> set[str]:
    """The imports that are forbidden or inside a forbidden package."""
    return {
        name
        for name in imported(source)
        if any(name == outside or name.startswith(outside + ".") for outside in forbidden)
    }


def cache_decorators(source: str) -> set[str]:
    """The names of Streamlit's `cache_*` that a file uses."""
    tree = ast.parse(source)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    from_streamlit = {
        name.rpartition(".")[2] for name in imported(source) if name.startswith("streamlit.")
    }
    return {"cache_data", "cache_resource"} & (attributes | from_streamlit)


def python_files(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} has no Python file, so nothing would be checked"
    return files


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder: str) -> None:
    imports = {
        str(path.relative_to(ROOT)): names
        for path in python_files(folder)
        if (names := breaches(path.read_text(encoding="utf-8"), FORBIDDEN[folder]))
    }
    assert imports == {}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_imports_only_its_own_and_the_shared_components(page: str) -> None:
    forbidden = {f"app.components.{other}" for other in PAGES if other not in (page, "shared")}
    imports = {
        str(path.relative_to(ROOT)): names
        for path in python_files(f"app/components/{page}")
        if (names := breaches(path.read_text(encoding="utf-8"), forbidden))
    }
    assert imports == {}


def test_only_the_cache_module_caches() -> None:
    imports = {
        str(path.relative_to(ROOT))
        for path in python_files("app")
        if cache_decorators(path.read_text(encoding="utf-8"))
    }
    assert imports == {str(path.relative_to(ROOT)) for path in python_files("app/cache")}


def test_torchvision_comes_after_its_guard() -> None:
    """With a CPU-only torch, the guard must import torchvision first."""
    unguarded = {
        str(path.relative_to(ROOT))
        for folder in ("analysis", "app", "assets")
        for path in python_files(folder)
        if (names := imported(path.read_text(encoding="utf-8")))
        and breaches(path.read_text(encoding="utf-8"), {"torchvision"})
        and "analysis.system.torchvision_guard" not in names
    }
    assert unguarded == set()


@pytest.mark.parametrize(
    "source",
    [
        "import streamlit as st",
        "from streamlit.testing.v1 import AppTest",
        "def late():\n    import streamlit",
        "if TYPE_CHECKING:\n    from streamlit import session_state",
    ],
)
def test_a_forbidden_import_is_seen(source: str) -> None:
    assert breaches(source, {"streamlit"})


def test_each_computing_module_exists() -> None:
    """A module that was renamed must be renamed in the list."""
    missing = set()
    for name in COMPUTING:
        module = name.split(".")
        if module[0] == "analysis" and not any(
            ROOT.joinpath(*module[:depth]).with_suffix(".py").is_file() for depth in (2, 3)
        ):
            missing.add(name)
    assert missing == set()


def test_a_similar_name_is_not_a_breach() -> None:
    assert breaches("import streamlit_extras\nfrom application import main", {"app"}) == set()


@pytest.mark.parametrize(
    "source",
    [
        "@st.cache_data(max_entries=8)\ndef f(): ...",
        "from streamlit import cache_resource",
    ],
)
def test_a_cache_decorator_is_seen(source: str) -> None:
    assert cache_decorators(source)


def test_no_page_takes_an_error_for_markdown() -> None:
    """An error quotes names from outside: `app.literal.sentence` shows them letter by letter."""
    shown = re.compile(r"\bst\.\w+\([^\n]*\bstr\(error\)")
    for path in (ROOT / "app").rglob("*.py"):
        assert not shown.search(path.read_text()), f"{path}: use sentence(error)"
