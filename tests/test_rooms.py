"""The rooms of the two packages and their order (ARCHITECTURE.md): imports go down, never up."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Ground floor first. A module imports its own room and those before it; modules that lie flat in
# `analysis` are rooms of their own.
ORDER = (
    ("errors", "text", "progress", "version"),
    ("options",),
    ("results",),
    ("instruments",),
    ("system",),
    ("datasets",),
    ("models",),
    ("jobs",),
    ("topology",),
    ("selection",),
    ("training",),
    ("costs",),
    ("runs",),
    ("sweeps",),
    ("worker",),
    ("commands",),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# `analysis` itself imports a name from its room when the name is first used, and all names for type
# checkers. Its modules import from the rooms, never from `analysis`.
FACADE = "analysis"
MOST_FLAT = {"analysis": 14, "app/components": 8}


def modules(*packages: str) -> dict[str, Path]:
    """Every module by its dotted name; a package by its folder's."""
    names = {}
    for path in (path for package in packages for path in sorted((ROOT / package).rglob("*.py"))):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(source: str, known: set[str]) -> set[str]:
    """Known modules that a file imports anywhere, lazy and type-checking imports included."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inside & known) or {node.module}
    return names & known


def arrows(*packages: str) -> dict[str, set[str]]:
    """The modules of the two packages that each module imports."""
    known = modules("analysis", "app")
    return {
        name: imports(path.read_text(encoding="utf-8"), set(known)) - {name}
        for name, path in modules(*packages).items()
    }


def room(module: str) -> str:
    return module.split(".")[1]


def upwards(module: str, imported: set[str]) -> set[str]:
    """The imports that lead to a room above the module's."""
    return {
        name
        for name in imported
        if name.startswith("analysis.") and RANK[room(name)] > RANK[room(module)]
    }


def test_each_room_has_its_place() -> None:
    rooms = {room(name) for name in modules("analysis") if name != FACADE}
    assert rooms == set(RANK)


def test_no_room_imports_one_above_it() -> None:
    breaches = {
        name: names
        for name, imported in arrows("analysis").items()
        if name != FACADE and (names := upwards(name, imported))
    }
    assert breaches == {}


def test_no_module_imports_the_facade() -> None:
    assert [name for name, imported in arrows("analysis").items() if FACADE in imported] == []


def test_modules_import_each_other_in_no_circle() -> None:
    try:
        TopologicalSorter(arrows("analysis", "app")).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("folder", MOST_FLAT)
def test_a_folder_has_few_modules(folder: str) -> None:
    assert len(list((ROOT / folder).glob("*.py"))) <= MOST_FLAT[folder]


def test_an_empty_init_keeps_imports_light() -> None:
    """Otherwise importing one module of a room would load torch."""
    for package in (path.parent for path in (ROOT / "analysis").rglob("__init__.py")):
        if package.name not in ("analysis", "datasets", "models"):
            assert (package / "__init__.py").read_text() == "", package


@pytest.mark.parametrize(
    "source",
    [
        "from analysis.runs import store",
        "import analysis.runs.store",
        "def late():\n    from analysis.runs.store import RunStore",
        "if TYPE_CHECKING:\n    from analysis.runs.store import RunStore",
    ],
)
def test_an_import_upwards_is_seen(source: str) -> None:
    imported = imports(source, {"analysis.runs.store", "analysis.runs"})
    assert upwards("analysis.topology.pipeline", imported)
    assert upwards("analysis.sweeps.sweep", imported) == set()
