"""The datasets to choose from: registered by name, or the user's own."""

from __future__ import annotations

from analysis.datasets.bundled import BUNDLED
from analysis.datasets.downloadable import DOWNLOADABLE
from analysis.datasets.own import is_own, own_spec
from analysis.datasets.specs import DatasetSpec
from analysis.errors import OptionError, choice_problem, raise_problems
from analysis.progress import ProgressCallback

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in (*BUNDLED, *DOWNLOADABLE)}


def dataset_problem(name: str, progress: ProgressCallback | None = None) -> list[str]:
    """Report an unknown dataset or an unusable folder; an empty list if all is well."""
    if not is_own(name):
        return choice_problem("dataset", name, [*DATASETS, "folder:/…"])
    try:
        own_spec(name, progress)
    except OptionError as error:
        return [str(error)]
    return []


def dataset_spec(name: str, progress: ProgressCallback | None = None) -> DatasetSpec:
    """The description of a dataset by name.

    The first call for a folder scans it, which takes time (see `needs_look`). Later calls are
    as fast as for any other dataset until the folder changes.

    Raises
    ------
    OptionError
        If there is no such dataset.
    """
    if is_own(name):
        return own_spec(name, progress)
    raise_problems(dataset_problem(name))
    return DATASETS[name]
