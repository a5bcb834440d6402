"""Whether the names in a run's options are known, checked without torch."""

from __future__ import annotations

from analysis.datasets import SHIFTS, dataset_problem
from analysis.errors import choice_problem
from analysis.models import head_problem, model_and_weights_problems, model_problem, spec_of
from analysis.options import RunOptions
from analysis.progress import ProgressCallback
from analysis.selection.scores import normalization_problem
from analysis.selection.strategies import ALL_STRATEGIES, STRATEGIES
from analysis.topology.summaries import SUMMARIES


def name_problems(
    options: RunOptions, *, stored: bool = False, progress: ProgressCallback | None = None
) -> list[str]:
    """Say which names in the options are unknown, each in a sentence.

    Parameters
    ----------
    options : RunOptions
    stored : bool
        The options of a run that may be over: the user's own images and code, timm and any
        weights may be gone since.
    progress : callable, optional
        Reports the first look through a folder of images.
    """
    analysis = options.analysis
    if not stored:
        problems = model_and_weights_problems(analysis.model, analysis.weights)
        problems += head_problem(analysis.model, analysis.head)
    else:
        problems = model_problem(analysis.model) if spec_of(analysis.model) is None else []
    if not (stored and ":" in analysis.dataset):
        problems += dataset_problem(analysis.dataset, progress)
    problems += choice_problem("shift", analysis.shift, SHIFTS)
    if options.strategy not in ALL_STRATEGIES:
        problems += choice_problem("strategy", options.strategy, STRATEGIES)
    problems += normalization_problem(options.normalization)
    problems += choice_problem("summary", options.summary, SUMMARIES)
    return problems
