"""One typed accessor per piece of session state, and the names of what the URL carries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import uuid4

import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.datasets import dataset_problem
from analysis.jobs.jobs import Job
from analysis.options import AnalysisOptions, RunOptions
from analysis.results import TopologyReport
from analysis.runs.store import RunMetrics

MAX_PINNED = 4


@dataclass(frozen=True)
class Choice:
    """What is read off an analysis. Moving any of it computes no topology."""

    rho: float
    normalization: str
    preset: str
    summary: str = "b1"
    min_persistence: float = 0.0  # in the units of the activations
    eps_quantile: float | None = None  # None: the knee of the k-distance curve

    def applied(self, options: RunOptions) -> RunOptions:
        """A run whose layers are chosen like this."""
        return replace(
            options,
            rho=self.rho,
            normalization=self.normalization,
            preset=self.preset,
            summary=self.summary,
            min_persistence=self.min_persistence,
        )


@dataclass(frozen=True)
class Shown:
    """The analysis on the page."""

    options: AnalysisOptions
    report: TopologyReport
    key: str  # its fingerprint, and how it is read
    notes: tuple[str, ...] = ()  # sentences for the person


@dataclass
class Import:
    """A file or folder that the person gave, being checked or done with."""

    source: str  # Streamlit's name of the upload, another for each; or the folder as typed
    job: Job
    ended: bool = False  # and told
    stopped: bool = False  # by this person; another session may still wait for the job


@dataclass
class Session:
    """What one browser session remembers beside its widgets."""

    name: str = field(default_factory=lambda: uuid4().hex)  # to tell sessions apart
    wanted: AnalysisOptions | None = None  # what the person asked to have analysed
    shown: Shown | None = None
    job: Job | None = None
    job_key: str = ""  # the fingerprint of what it was started on
    stopped: bool = False  # the person left the job; another session may still wait for it
    # What is wrong with the saved file of an analysis, to be told with the new one.
    troubles: dict[AnalysisOptions, str] = field(default_factory=dict)
    pressed: bool = False  # Analyse, since the page was last drawn
    outdated: bool = False  # what is shown is of files that have changed since
    pinned: list[str] = field(default_factory=list)  # layer names
    drawn: tuple[object, ...] | None = None  # what the profile was last drawn anew for
    marked: str = ""  # the open layer at that time
    estimate: tuple[MemoryRequest, MemoryEstimate] | None = None  # the last that was shown
    watching: bool = False  # runs went on while the Fine-tune page was open
    trouble: str = ""  # why a run could not be stopped
    # What was read of runs that go on, by id, with the revision of the run at that time.
    metrics: dict[str, tuple[int, RunMetrics]] = field(default_factory=dict)
    compared: list[str] = field(  # ids of runs that are laid over each other; the URL has them
        default_factory=lambda: st.query_params.get("runs", "").split()
    )
    table: int = 0  # raised when `compared` changes otherwise than by the table of runs
    deleted: list[str] = field(default_factory=list)  # ids of the runs that Undo brings back

    imports: dict[str, Import] = field(default_factory=dict)  # by the widget that will have it
    chosen: dict[str, str] = field(default_factory=dict)  # values that widgets will take

    cleared: int = 0  # uploads that were deleted
    told: str = ""  # of the last of them, when the page is drawn next
    given: str = ""  # "zip" or "folder": the way that images were given last
    asked: int = 0  # images, before a small dataset had fewer
    lowered: int = -1  # to so many
    folders: list[str] = field(default_factory=list)  # datasets that are looked at where they are
    missing: str = ""  # a dataset that was asked for and is not there

    def choose_dataset(self, name: str) -> None:
        """Choose what was uploaded, or a folder, which nothing else remembers."""
        if name.startswith("folder:") and name not in self.folders:
            self.folders.append(name)
        self.choose("dataset", name)

    def give(self, how: str) -> None:
        """Remember by which way images were given last."""
        self.given = how

    def drop_folders(self) -> None:
        """Offer folders that are gone no longer."""
        gone = [name for name in self.folders if dataset_problem(name)]
        if gone:
            self.missing = gone[-1].removeprefix("folder:")
        self.folders = [name for name in self.folders if name not in gone]

    def forget_missing(self) -> None:
        """Another dataset was chosen than the one that stands in for what is missing."""
        self.missing = ""

    def choose(self, widget: str, value: str) -> None:
        """Have a widget take a value when it is drawn next."""
        self.chosen[widget] = value

    def request(self, options: AnalysisOptions) -> None:
        """Ask for an analysis; one that was stopped or failed may be asked for again."""
        self.wanted, self.pressed = options, True
        if self.stopped or (self.job is not None and self.job.state != "running"):
            self.job, self.stopped = None, False


def session() -> Session:
    """This browser session's own state."""
    if "session" not in st.session_state:
        st.session_state["session"] = Session()
    found: Session = st.session_state["session"]
    return found


def open_layer(names: list[str], suggestion: str) -> str:
    """The layer under the microscope, which the URL carries; `suggestion` if none is chosen."""
    if st.session_state.get("layer") not in names:
        st.session_state["layer"] = suggestion
    return str(st.session_state["layer"])


def set_open_layer(name: str) -> None:
    """Choose the layer under the microscope; only from a callback, before its widget is drawn."""
    st.session_state["layer"] = name


def appearance() -> str:
    """ "light" or "dark", as the browser shows the page."""
    return "dark" if st.context.theme.type == "dark" else "light"


def remember_compared() -> None:
    """Let the URL carry which runs are laid over each other."""
    compared = session().compared
    if compared:
        st.query_params["runs"] = " ".join(compared)
    elif "runs" in st.query_params:
        del st.query_params["runs"]


def toggle_compared(run_id: str) -> None:
    """Lay a run over the others, or take it away."""
    here = session()
    if run_id in here.compared:
        here.compared.remove(run_id)
    else:
        here.compared.append(run_id)
    here.table += 1
