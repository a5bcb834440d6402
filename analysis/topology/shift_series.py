"""One dataset at every severity of a shift, and other draws of it without the shift.

Each is an ordinary analysis, saved as such: what Explore has analysed is not computed again, and
the draws without a shift serve every shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.datasets import SHIFTS
from analysis.errors import OptionError, choice_problem, raise_problems
from analysis.options import MAX_SEVERITY, AnalysisOptions
from analysis.progress import ProgressCallback
from analysis.results import TopologyReport
from analysis.topology.redraws import analyze_each, redraws_of, why_no_redraws
from analysis.topology.store import fingerprints, is_saved, load_analysis


@dataclass(frozen=True)
class ShiftRequest:
    """Analyse the images of some options at each severity of a shift, or find the analyses.

    Raises
    ------
    OptionError
        If the shift is unknown, or none.
    """

    options: AnalysisOptions  # whose own shift plays no part
    shift: str  # a name of `analysis.datasets.SHIFTS`

    def __post_init__(self) -> None:
        raise_problems(choice_problem("shift", self.shift, SHIFTS))
        if self.shift == "none":
            raise OptionError("`shift` must be a shift, got 'none': choose one of the others")
        plain = replace(self.options, shift="none", severity=AnalysisOptions.severity)
        object.__setattr__(self, "options", plain)

    @property
    def severities(self) -> list[AnalysisOptions]:
        """The analysis of each severity, from 0, which is without the shift."""
        shifted = (
            replace(self.options, shift=self.shift, severity=severity)
            for severity in range(1, MAX_SEVERITY + 1)
        )
        return [self.options, *shifted]

    @property
    def redraws(self) -> list[AnalysisOptions]:
        """Analyses of other images without the shift; none if these would not show luck."""
        return redraws_of(self.options)

    @property
    def why_no_redraws(self) -> str:
        """Why no other images are drawn, in a sentence; empty if they are."""
        return why_no_redraws(self.options)


@dataclass(frozen=True, eq=False)
class ShiftSeries:
    """What was analysed for one shift."""

    shift: str
    reports: tuple[TopologyReport, ...]  # by severity, from 0, or as `titles` say
    redrawn: tuple[TopologyReport, ...] = ()  # of other images, without the shift
    why_no_redraws: str = ""
    notes: tuple[str, ...] = ()  # sentences for the user, such as of a failed save
    # Each begins a sentence about one of `reports`; without them its severity does.
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class SavedSeries:
    """A series whose analyses the store has."""

    notes: tuple[str, ...] = ()  # sentences for the user


def make_series(request: ShiftRequest, *, progress: ProgressCallback | None = None) -> ShiftSeries:
    """Load the analyses of a request, and make and save those that are missing.

    Parameters
    ----------
    request : ShiftRequest
    progress : callable (Progress), optional
        As for `analyze_named`, over all analyses together. An error that it raises ends the work
        and is passed on; the analyses that are done stay saved.

    Raises
    ------
    OptionError, AssetError, ModelError
        As `analyze_named` does.
    """
    wanted = [*request.severities, *request.redraws]
    names = [_name(options, number) for number, options in enumerate(wanted)]
    made = analyze_each(wanted, "Shift", names, progress=progress)
    return _series(request, [report for _, report in made])


def load_series(request: ShiftRequest, keys: Sequence[str]) -> ShiftSeries | None:
    """The series of a request, if all its analyses are saved; `keys` are `series_keys`.

    Raises
    ------
    StoreError
        If a saved analysis is damaged or cannot be read.
    """
    reports = []
    for key in keys if all(map(is_saved, keys)) else ():
        report = load_analysis(key)
        if report is None:
            return None
        reports.append(report)
    return _series(request, reports) if reports else None


def series_keys(request: ShiftRequest) -> list[str]:
    """The fingerprints of the analyses of a request, those of the severities first."""
    return fingerprints([*request.severities, *request.redraws])


def _series(request: ShiftRequest, reports: Sequence[TopologyReport]) -> ShiftSeries:
    count = MAX_SEVERITY + 1
    return ShiftSeries(
        request.shift,
        tuple(reports[:count]),
        tuple(reports[count:]),
        request.why_no_redraws,
        tuple(dict.fromkeys(note for report in reports for note in report.notes)),
    )


def _name(options: AnalysisOptions, number: int) -> str:
    if options.shift != "none":
        return f"{SHIFTS[options.shift].title} {options.severity}"
    return f"Draw {number - MAX_SEVERITY}" if number else "No shift"
