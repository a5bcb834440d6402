"""The datasets a person may choose: registered by name, or their own."""

from __future__ import annotations

from analysis.datasets.bundled import BUNDLED
from analysis.datasets.downloadable import DOWNLOADABLE
from analysis.datasets.own import is_own, own_spec
from analysis.datasets.specs import DatasetSpec
from analysis.errors import OptionError, choice_problem, raise_problems
from analysis.progress import ProgressCallback

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in (*BUNDLED, *DOWNLOADABLE)}


def dataset_problem(name: str, progress: ProgressCallback | None = None) -> list[str]:
    """Say that there is no such dataset, or that a folder cannot be one; or nothing."""
    if not is_own(name):
        return choice_problem("dataset", name, [*DATASETS, "folder:/…"])
    try:
        own_spec(name, progress)
    except OptionError as error:
        return [str(error)]
    return []


def dataset_spec(name: str, progress: ProgressCallback | None = None) -> DatasetSpec:
    """What is known of a dataset by name.

    A folder is looked through at first, which takes its time (`needs_look` says so); after that
    it costs as little as for any other dataset, until the folder changes.

    Raises
    ------
    OptionError
        If there is no such dataset.
    """
    if is_own(name):
        return own_spec(name, progress)
    raise_problems(dataset_problem(name))
    return DATASETS[name]
