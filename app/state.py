"""The state of a browser session, typed, and the names of what the URL carries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any
from uuid import uuid4

import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.datasets import dataset_problem
from analysis.jobs.jobs import Job
from analysis.options import AnalysisOptions, ClusterOptions, LoopUnit, RunOptions
from analysis.results import TopologyReport
from analysis.runs.store import RunMetrics

MAX_PINNED = 4
_CLICKED = "surface_clicked"


@dataclass(frozen=True)
class Choice:
    """How an analysis is scored and summarised. No change of it computes topology."""

    rho: float
    normalization: str
    preset: str
    summary: str = "b1"
    min_persistence: float = 0.0  # in `persistence_unit`
    persistence_unit: LoopUnit = "distance"
    clusters: ClusterOptions = field(default_factory=ClusterOptions)

    def settings(self) -> dict[str, Any]:
        """These by the names of the options."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "clusters"}
        return own | asdict(self.clusters)

    def apply_to(self, options: RunOptions) -> RunOptions:
        """The same run with its layers chosen by these settings."""
        return replace(
            options,
            rho=self.rho,
            normalization=self.normalization,
            preset=self.preset,
            summary=self.summary,
            min_persistence=self.min_persistence,
            persistence_unit=self.persistence_unit,
        )


@dataclass(frozen=True)
class Shown:
    """The analysis on the page."""

    options: AnalysisOptions
    report: TopologyReport
    key: str  # its fingerprint, and the settings it is summarised with
    notes: tuple[str, ...] = ()  # sentences to show with it
    stored: str = ""  # when it was made, if not just now

    @property
    def fingerprint(self) -> str:
        """The key without the settings that it is summarised with."""
        return self.key.partition(" ")[0]


@dataclass
class Import:
    """A file or folder of the user's, while it is checked and afterwards."""

    source: str  # Streamlit's name of the upload, another for each; or the folder as typed
    job: Job
    ended: bool = False  # and the page has said so
    stopped: bool = False  # in this session; another one may still wait for the job


@dataclass
class Analysis:
    """The analysis that this session asks for, and the one it shows."""

    target: AnalysisOptions | None = None  # what is to be analysed
    clicked: bool = False  # Analyse was pressed, and the sidebar has not been drawn since
    is_new_request: bool = False  # Analyse was pressed since the page was last drawn
    shown: Shown | None = None
    outdated: bool = False  # the files behind `shown` have changed since
    job: Job | None = None
    job_key: str = ""  # the fingerprint of what the job was started on
    stopped: bool = False  # in this session; another one may still wait for the job
    # What is wrong with the saved file of an analysis, to be shown with the new one.
    file_errors: dict[AnalysisOptions, str] = field(default_factory=dict)
    estimate: tuple[MemoryRequest, MemoryEstimate] | None = None  # the last one on the page

    def request(self, options: AnalysisOptions) -> None:
        """Ask for an analysis, also for one that was stopped or failed before."""
        self.target, self.is_new_request = options, True
        if self.stopped or (self.job is not None and self.job.state != "running"):
            self.job, self.stopped = None, False


@dataclass
class Profile:
    """What the layer profile and the microscope remember; the URL carries what was chosen."""

    model: str = ""  # whose layers these are; empty before the first analysis is shown
    chosen_layer: str | None = None  # by hand or by a link; None: the best layer is open
    pinned_layers: list[str] = field(default_factory=list)
    unknown_layers: list[str] = field(default_factory=list)  # in a link, to be said once
    revision: int = 0  # raised when the browser is to forget which row was clicked


@dataclass
class Work:
    """Some long work that a button of this session has started."""

    job: Job | None = None
    stopped: bool = False  # in this session; another one may still wait for the job


@dataclass
class LoopTests:
    """The calibration of the tests of loops."""

    calibrating: bool = False  # whether Gaussian clouds are being tested
    calibrated: int = 0  # how many have been


@dataclass
class Comparison:
    """What the pages of runs remember."""

    run_ids: list[str] = field(  # runs drawn over each other; the URL carries them
        default_factory=lambda: st.query_params.get("runs", "").split()
    )
    table_version: int = 0  # raised when `run_ids` changes other than in the table of runs
    # What was read of active runs, by id, with the revision of the run at that time.
    metrics: dict[str, tuple[int, RunMetrics]] = field(default_factory=dict)
    action_error: str = ""  # why runs could not be stopped, queued, deleted or restored
    start_clicked: bool = False  # and the runs have not been queued yet
    form_folded: bool = False  # since runs were active while the page Fine-tune was open


@dataclass
class Figures:
    """How figures are saved, on every page."""

    format: str = "SVG"  # or "PNG"
    captions: bool = False


@dataclass
class Uploads:
    """What the sidebar remembers of the user's own files and of the choice of images."""

    imports: dict[str, Import] = field(default_factory=dict)  # by the widget that shows the result
    widget_values: dict[str, str] = field(default_factory=dict)  # to set at the next drawing
    # Which set of weights of an upload was chosen, by the upload's id
    weights_keys: dict[str, str] = field(default_factory=dict)
    deletions: int = 0
    message: str = ""  # of the last deletion, for the next drawing
    latest_source: str = ""  # "zip" or "folder": which of the two was used last
    requested_images: int = 0  # before a small dataset reduced the number
    reduced_images: int = -1  # the number it was reduced to
    folders: list[str] = field(default_factory=list)  # datasets that are read in place
    missing_dataset: str = ""  # one that was asked for and does not exist

    def choose(self, widget: str, value: str) -> None:
        """Set a widget's value when it is next drawn."""
        self.widget_values[widget] = value

    def choose_dataset(self, name: str) -> None:
        """Choose an upload or a folder; folders are remembered only here."""
        if name.startswith(("folder:", "linked:")) and name not in self.folders:
            self.folders.append(name)
        self.choose("dataset", name)

    def set_source(self, source: str) -> None:
        """Remember which of the two ways to add images was used last."""
        self.latest_source = source

    def drop_folders(self) -> None:
        """Remove folders that no longer exist from the list of datasets."""
        gone = [name for name in self.folders if dataset_problem(name)]
        if gone:
            self.missing_dataset = gone[-1].partition(":")[2]
        self.folders = [name for name in self.folders if name not in gone]

    def forget_missing(self) -> None:
        """Forget the missing dataset, as another one has been chosen."""
        self.missing_dataset = ""


@dataclass
class Session:
    """What one browser session remembers beside its widgets."""

    id: str = field(default_factory=lambda: uuid4().hex)
    analysis: Analysis = field(default_factory=Analysis)
    profile: Profile = field(default_factory=Profile)
    comparison: Comparison = field(default_factory=Comparison)
    tests: LoopTests = field(default_factory=LoopTests)
    work: dict[str, Work] = field(default_factory=dict)  # by its name on the page
    uploads: Uploads = field(default_factory=Uploads)
    powers_of: str = ""  # the normalisation whose powers sliders on the page show, if any
    rho_parts: list[str] = field(default_factory=list)  # on the page, with the slider of ρ first
    figures: Figures = field(default_factory=Figures)
    link: dict[str, list[str]] = field(  # with which the session began, until it has been read
        default_factory=lambda: {n: st.query_params.get_all(n) for n in st.query_params}
    )


def session() -> Session:
    """Return the state of this browser session."""
    if "session" not in st.session_state:
        st.session_state["session"] = Session()
    state: Session = st.session_state["session"]
    return state


def open_layer(model: str, names: list[str], best: str) -> str:
    """The layer under the microscope: the one chosen for this model, else the best.

    The layers of a link are read when its first analysis is shown. A choice ends with its model,
    even if another model has a layer of that name.
    """
    profile = session().profile
    if not profile.model:
        profile.chosen_layer = st.query_params.get("layer")
        pinned = list(dict.fromkeys(st.query_params.get_all("pin")))
        linked = [*pinned, *st.query_params.get_all("layer")]
        profile.unknown_layers = [name for name in linked if name not in names]
        profile.pinned_layers = [name for name in pinned if name in names][:MAX_PINNED]
    elif profile.model != model:
        profile.chosen_layer, profile.pinned_layers = None, []
    profile.model = model
    if profile.chosen_layer not in names:
        profile.chosen_layer = None
    profile.pinned_layers = [name for name in profile.pinned_layers if name in names]
    _put_into_link("pin", profile.pinned_layers)
    return open_chosen_layer(best)


def open_chosen_layer(best: str) -> str:
    """The layer under the microscope in a part of the page: the chosen one, else the best."""
    profile = session().profile
    st.session_state["layer"] = chosen_or(best)
    _put_into_link("layer", [] if profile.chosen_layer is None else [profile.chosen_layer])
    return str(st.session_state["layer"])


def chosen_or(best: str) -> str:
    """The layer chosen by hand or by a link, else the best."""
    chosen = session().profile.chosen_layer
    return best if chosen is None else chosen


def choose_layer(name: str) -> None:
    """Open a layer under the microscope; call it only in callbacks, before its widget is drawn."""
    session().profile.chosen_layer = name


def choose_clicked(chart: str) -> None:
    """Open the layer whose mark was clicked in a chart; for its callback.

    A second click on a mark takes the selection back: the layer stays open.
    """
    points = st.session_state[chart].selection.points
    if points:
        choose_layer(points[-1]["customdata"][0])


def chosen_batch(batches: int) -> int:
    """The batch that live views show, counted from 1; the URL carries it."""
    number = st.session_state.get("batch", st.query_params.get("batch", 1))
    try:
        number = int(number)
    except ValueError:
        number = 1
    if not 1 <= number <= batches:
        number = 1
    st.session_state["batch"] = number
    _put_into_link("batch", [str(number)] if number > 1 else [])
    return number


def choose_batch(widget: str) -> None:
    """Show the batch of this widget; for its callback."""
    st.session_state["batch"] = st.session_state[widget]


def clicked_height(layer: str) -> tuple[float, int] | None:
    """Where this layer was clicked last on the surface of loops, if it was; the URL carries it.

    A share of its largest distance, and a number that differs for another click; 0 for the link's.
    """
    if _CLICKED not in st.session_state:
        st.session_state[_CLICKED] = (layer, _height_in_link(), 0)
    name, share, clicks = st.session_state[_CLICKED]
    there = name == layer and share is not None
    _put_into_link("height", [f"{share:.4g}"] if there else [])
    return (share, clicks) if there else None


def choose_height(layer: str, share: float) -> None:
    """Mark a share of a layer's largest distance on the surface of loops; for its callback."""
    _, _, clicks = st.session_state[_CLICKED]
    st.session_state[_CLICKED] = (layer, share, clicks + 1)


def _height_in_link() -> float | None:
    try:
        share = float(st.query_params.get("height", ""))
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _put_into_link(name: str, values: list[str]) -> None:
    if values == st.query_params.get_all(name):
        return
    if values:
        st.query_params[name] = values
    else:
        del st.query_params[name]


def appearance() -> str:
    """The name of a look in `theme.PALETTES`: as the browser shows the page, and in which type."""
    shade = "dark" if st.context.theme.type == "dark" else "light"
    return f"{shade} large" if is_large() else shade


def is_large() -> bool:
    """Whether type is large, for a projector."""
    return bool(st.session_state.get("large"))


def remember_compared() -> None:
    """Put the compared runs into the URL."""
    run_ids = session().comparison.run_ids
    if run_ids:
        st.query_params["runs"] = " ".join(run_ids)
    elif "runs" in st.query_params:
        del st.query_params["runs"]


def toggle_compared(run_id: str) -> None:
    """Add a run to the comparison, or remove it."""
    comparison = session().comparison
    if run_id in comparison.run_ids:
        comparison.run_ids.remove(run_id)
    else:
        comparison.run_ids.append(run_id)
    comparison.table_version += 1
