"""Other draws of images with the same options, each an ordinary analysis that is saved as such."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from analysis.datasets import dataset_spec
from analysis.errors import OptionError
from analysis.models import model_spec
from analysis.options import AnalysisOptions
from analysis.progress import Progress, ProgressCallback
from analysis.results import SavedAnalysis, TopologyReport
from analysis.text import plural
from analysis.topology.store import fingerprints

REDRAWS = 4  # other draws of images; with the first one they make ten pairs
_SHARED = 2  # draws of more than one in so many of the images would be much the same


@dataclass(frozen=True)
class RedrawRequest:
    """Analyse other draws of images, or find the analyses."""

    options: AnalysisOptions  # of the first draw


def redraws_of(options: AnalysisOptions) -> list[AnalysisOptions]:
    """The same options with other images; none if these would not show luck."""
    if why_no_redraws(options):
        return []
    return [replace(options, seed=(options.seed + 1 + k) % 2**32) for k in range(REDRAWS)]


def why_no_redraws(options: AnalysisOptions) -> str:
    """Why no other images are drawn, in a sentence; empty if they are."""
    if options.weights == "random":
        return (
            "How far luck goes was not measured, as another draw of images would also draw "
            "other random weights."
        )
    if model_spec(options.model).source == "code":
        return (
            "How far luck goes was not measured, as another seed may also change the network "
            "that your code builds."
        )
    available = images_to_draw(options)
    if _SHARED * options.samples > available:
        return (
            f"How far luck goes was not measured: of {plural(available, 'image')}, two draws "
            f"of {options.samples} would be much the same. Analyse at most "
            f"{available // _SHARED}."
        )
    return ""


def images_to_draw(options: AnalysisOptions) -> int:
    """The images that there are to draw from."""
    return dataset_spec(options.dataset).sizes[options.split]


def make_redraws(
    request: RedrawRequest, *, progress: ProgressCallback | None = None
) -> tuple[SavedAnalysis, ...]:
    """Load the analyses of other draws, and make and save those that are missing.

    Parameters
    ----------
    request : RedrawRequest
    progress : callable (Progress), optional
        As for `analyze_named`, over all analyses together. An error that it raises ends the work
        and is passed on; the analyses that are done stay saved.

    Raises
    ------
    OptionError
        If other draws would not show luck.
    AssetError, ModelError
        As `analyze_named` does.
    """
    wanted = redraws_of(request.options)
    if not wanted:
        raise OptionError(why_no_redraws(request.options))
    names = [f"draw {number + 1} of {len(wanted)}" for number in range(len(wanted))]
    return tuple(
        SavedAnalysis(key, report.notes, stored=report.stored)
        for key, report in analyze_each(wanted, "Other images", names, progress=progress)
    )


def analyze_each(
    wanted: Sequence[AnalysisOptions],
    stage: str,
    names: Sequence[str],
    *,
    progress: ProgressCallback | None = None,
) -> Iterator[tuple[str, TopologyReport]]:
    """Analyse one after the other, or find the analyses; each with its key.

    The stage and the names are for the progress, which is that of all analyses together.
    """
    from analysis.topology.pipeline import analyze_named  # torch is slow to import

    keys = fingerprints(wanted)
    for number, (options, key, name) in enumerate(zip(wanted, keys, names, strict=True)):
        report_step = progress and _within(progress, stage, name, number, len(wanted))
        yield key, analyze_named(options, key=key, progress=report_step)


def _within(
    progress: ProgressCallback, stage: str, name: str, number: int, count: int
) -> Callable[[Progress], None]:
    """Report the progress of one analysis as that of all."""

    def report_step(step: Progress) -> None:
        if not step.layers:  # a download
            progress(step)
            return
        # A pass has as many steps as layers, and may be one of several: so in thousandths.
        done = round(1000 * (number + min(1.0, step.done / step.total)))
        text = f"{name}, {step.layer or '(model)'}"
        progress(Progress(stage, text, done, 1000 * count))

    return report_step
