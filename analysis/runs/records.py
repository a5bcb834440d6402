"""The record of a run, and its conversion to rows and JSON and back."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from analysis.errors import raise_problems
from analysis.instruments.memory_use import MEMORY_KINDS, MemoryUse
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.system.processes import ProcessId
from analysis.training.followed import FollowedTopology
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    FrozenPart,
    MemorySample,
    Metric,
    Selection,
    StepMetrics,
)
from analysis.training.names import name_problems

RunState = Literal["queued", "running", "done", "stopped", "failed", "interrupted"]
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
ENDED: tuple[RunState, ...] = ("done", "stopped", "failed", "interrupted")
SWEPT = "grid:"  # starts the group of runs that are cells of a grid
Recorded = StepMetrics | MemorySample | EpochMetrics

# What runs whose record leaves them out had: defaults of the first version.
_BEFORE: dict[str, Any] = {"samples": 40, "batch_size": 8, "pooling": "pooled"}
_HINTS = {kind: get_type_hints(kind) for kind in (StepMetrics, EpochMetrics)}
_MetricT = TypeVar("_MetricT", StepMetrics, EpochMetrics)


@dataclass(frozen=True)
class Run:
    """One fine-tune: its options, state and outcome. Times are seconds since 1970."""

    id: str
    group: str  # the same for all runs started together
    number: int  # counts all runs in the order of starting
    options: RunOptions
    state: RunState
    revision: int  # higher after every change, metrics included
    created: float
    started: float | None = None
    ended: float | None = None
    heartbeat: float | None = None  # of the worker, the last one
    stop_requested: bool = False
    deleted: float | None = None  # it can be restored until it is purged
    selection: Selection | None = None  # None until the layers are chosen
    result: FinetuneResult | None = None  # of a run that is done
    error: str = ""  # why it failed or was interrupted; else a note for the user
    versions: Mapping[str, str] = field(default_factory=dict)  # of python, torch, …
    fingerprints: Mapping[str, str] = field(default_factory=dict)  # of the model and the data

    @property
    def is_grid_cell(self) -> bool:
        """Whether it is a cell of a grid."""
        return self.group.startswith(SWEPT)

    @property
    def active(self) -> bool:
        """Whether it is queued or running."""
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class RunMetrics:
    """Everything measured during one run so far, oldest first."""

    steps: tuple[StepMetrics, ...] = ()
    epochs: tuple[EpochMetrics, ...] = ()
    memory: tuple[MemorySample, ...] = ()


@dataclass(frozen=True)
class Bet:
    """Which strategy somebody expects to do best."""

    who: str
    strategy: str
    rho: float  # share of the layers to train


class TrainingLog:
    """The items that a training yields, sorted by kind."""

    def __init__(self) -> None:
        self.selection: Selection | None = None
        self.result: FinetuneResult | None = None
        self.followed: FollowedTopology | None = None
        self._steps: list[StepMetrics] = []
        self._epochs: list[EpochMetrics] = []
        self._memory: list[MemorySample] = []

    def add(self, item: Selection | Metric | FollowedTopology) -> None:
        """Add the next item."""
        match item:
            case Selection():
                self.selection = item
            case StepMetrics():
                self._steps.append(item)
            case EpochMetrics():
                self._epochs.append(item)
            case MemorySample():
                self._memory.append(item)
            case FinetuneResult():
                self.result = item
            case FollowedTopology():
                self.followed = item

    @property
    def metrics(self) -> RunMetrics:
        """Everything measured so far."""
        return RunMetrics(tuple(self._steps), tuple(self._epochs), tuple(self._memory))

    @property
    def ending(self) -> Ending:
        """The ending of a training that yields no more items."""
        if self.result is None:
            return Ending("failed", "The training ended without a result.")
        return Ending("done", result=self.result)


@dataclass(frozen=True)
class Lease:
    """Who works on a run."""

    run_id: str
    state: RunState
    owner: ProcessId | None  # the server that watches the worker
    worker: ProcessId | None
    heartbeat: float  # seconds since 1970
    stop_requested: bool


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    state: RunState
    error: str = ""
    result: FinetuneResult | None = None
    at: float = 0.0  # seconds since 1970; 0: now


@dataclass(frozen=True)
class Outcome:
    """A whole run that was trained without the store."""

    ending: Ending
    started: float  # seconds since 1970
    selection: Selection | None = None
    metrics: RunMetrics = field(default_factory=RunMetrics)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def to_json(value: object) -> str | None:
    """A dataclass as JSON."""
    return None if value is None else json.dumps(asdict(value), ensure_ascii=False)  # type: ignore[call-overload]


def result_json(result: FinetuneResult | None) -> str | None:
    """A result as JSON, without the predictions, which have their own table."""
    if result is None:
        return None
    values = asdict(replace(result, predictions=None))
    del values["predictions"]  # earlier versions of BettiScope do not know it
    return json.dumps(values)


def run_from(row: sqlite3.Row) -> Run | None:
    """A run of the table, or None if this version cannot read it."""
    try:
        if row["state"] not in RUN_STATES:
            return None
        return Run(
            id=row["id"],
            group=row["group"],
            number=row["number"],
            options=_options(json.loads(row["options"])),
            state=row["state"],
            revision=row["revision"],
            created=float(row["created"]),
            started=row["started"],
            ended=row["ended"],
            heartbeat=row["heartbeat"],
            stop_requested=row["stop_requested"] is not None,
            deleted=row["deleted"],
            selection=_selection(row["selection"]),
            result=_result(row["result"]),
            error=row["error"],
            versions=_texts(row["versions"]),
            fingerprints=_texts(row["fingerprints"]),
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return None  # another version wrote it, or it is damaged


def lease_from(row: sqlite3.Row) -> Lease:
    """Who works on the run of a row."""
    return Lease(
        run_id=row["id"],
        state=row["state"],
        owner=_process(row["owner_pid"], row["owner_created"]),
        worker=_process(row["worker_pid"], row["worker_created"]),
        heartbeat=row["heartbeat"] or 0.0,
        stop_requested=row["stop_requested"] is not None,
    )


def metric_row(metric: Recorded) -> tuple[object, ...]:
    """A metric's numbers in the order of its table's columns, without the run."""
    if isinstance(metric, MemorySample):
        peak = (getattr(metric.peak, kind) for kind in MEMORY_KINDS)
        return metric.step, metric.epoch, *peak, metric.resident, metric.allocator_peak
    hints = _HINTS[type(metric)]
    # NumPy's numbers too: SQLite would store their bytes.
    return tuple(_number(hint, getattr(metric, name)) for name, hint in hints.items())


def columns(kind: type[Recorded]) -> tuple[str, ...]:
    """The columns of a metric's table, without the run."""
    names = tuple(f.name for f in fields(kind))
    if kind is MemorySample:
        # Without the cache, which is the same in each sample: the result has it.
        return *names[:2], *MEMORY_KINDS, *names[3:]
    return names


def metrics_from(kind: type[_MetricT], rows: Iterable[sqlite3.Row]) -> tuple[_MetricT, ...]:
    """Steps or epochs of their table's rows."""
    make: Callable[..., _MetricT] = kind
    hints = _HINTS[kind]
    return tuple(
        make(**{name: _number(hint, row[name]) for name, hint in hints.items()}) for row in rows
    )


def memory_from(rows: Iterable[sqlite3.Row]) -> tuple[MemorySample, ...]:
    """Memory samples of their table's rows."""
    return tuple(
        MemorySample(
            step=row["step"],
            epoch=row["epoch"],
            peak=MemoryUse(**{kind: row[kind] for kind in MEMORY_KINDS}),
            resident=row["resident"],
            allocator_peak=row["allocator_peak"],
        )
        for row in rows
    )


def _number(hint: type, value: float | None) -> float:
    if value is None and hint is float:
        return math.nan  # which SQLite stores as NULL
    number: float = hint(value)
    return number


def _options(settings: dict[str, Any]) -> RunOptions:
    analysis = AnalysisOptions(**{**_BEFORE, **settings.pop("analysis", {})})
    recipe = Recipe(**settings.pop("recipe", {}))
    also_train = tuple(settings.pop("also_train", ()))
    options = RunOptions(analysis=analysis, recipe=recipe, also_train=also_train, **settings)
    raise_problems(name_problems(options, stored=True))  # pages look every name up
    return options


def _selection(text: str | None) -> Selection | None:
    if text is None:
        return None
    values = json.loads(text)
    predicted = _memory_use(values.get("predicted"))
    names = {name: tuple(values.get(name, ())) for name in ("layers", "without_gradient")}
    if values.get("inner") is not None:
        names["inner"] = tuple(values["inner"])
    frozen = values.get("frozen_part") and FrozenPart(**values["frozen_part"])
    return Selection(**values | names | {"predicted": predicted, "frozen_part": frozen})


def _result(text: str | None) -> FinetuneResult | None:
    if text is None:
        return None
    values = json.loads(text)
    return FinetuneResult(**values | {"peak_memory": _memory_use(values.get("peak_memory"))})


def _memory_use(values: dict[str, int] | None) -> MemoryUse | None:
    return None if values is None else MemoryUse(**values)


def _texts(text: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in json.loads(text).items()}


def _process(pid: int | None, created: float | None) -> ProcessId | None:
    return None if pid is None or created is None else ProcessId(pid, created)
