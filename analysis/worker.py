"""A process that computes for the server: `python -m analysis.worker`.

It reads pickled requests on standard input and writes messages on standard output: `Progress`,
then the result or a `Failure`. The metrics of a training go to the run store. After one that went
well, the process says `Trained`, and its server gives it the next run or ends it, which returns all
its memory; after any other it exits. When its input ends, because the server closed it or exited,
the process exits at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, BinaryIO

from analysis.costs.analysis_cost import CostRequest
from analysis.costs.training_memory import MemoryRequest, estimate
from analysis.datasets import ImportRequest, import_archive
from analysis.errors import (
    NOT_ENOUGH_MEMORY,
    AnalysisError,
    AssetError,
    OptionError,
    is_out_of_memory,
)
from analysis.models import CheckpointRequest, keep_checkpoint, learn_code
from analysis.options import AnalysisOptions
from analysis.progress import Progress, ProgressCallback
from analysis.results import SavedAnalysis, TopologyReport
from analysis.runs.recorder import Trained, TrainingRequest, train
from analysis.selection.resemblance import ResemblanceRequest, requested_distances
from analysis.sweeps.profiling import ProfileRequest, answer_profile
from analysis.system.imports import slow_imports
from analysis.system.processes import Failure, end_group
from analysis.topology.layer_test_store import RotationRequest, saved_tests
from analysis.topology.mixtures import MixtureRequest, save_mixtures
from analysis.topology.part_store import PartsRequest, saved_parts
from analysis.topology.permuted_store import PermutedRequest, saved_permuted
from analysis.topology.redraws import RedrawRequest, make_redraws
from analysis.topology.removal_store import RemovalRequest, saved_removal
from analysis.topology.shift_series import (
    SavedSeries,
    ShiftRequest,
    ShiftSeries,
    make_series,
    series_keys,
)
from analysis.topology.store import fingerprint, is_saved

_REPORT_EVERY = 0.05  # seconds between two progress messages
# Imports that take seconds, done in advance. The first two import the last two only when needed.
_SLOW = (
    "analysis.topology.pipeline",
    "analysis.training.fine_tune",
    "analysis.models.loading",
    "sklearn.datasets",
)
_COMPILER = "torch._dynamo"  # which only an optimiser imports


def _analyze(options: AnalysisOptions, send: ProgressCallback) -> SavedAnalysis | TopologyReport:
    """Answer with only the key of a saved report, which may be large."""
    from analysis.topology.pipeline import analyze_named

    learn_code(options.model, options.seed)
    key = fingerprint(options)
    report = analyze_named(options, key=key, progress=send)
    if not is_saved(key):
        return report
    return SavedAnalysis(key, report.notes, stored=report.stored)


def _shift(request: ShiftRequest, send: ProgressCallback) -> SavedSeries | ShiftSeries:
    """Answer with the reports only if one of them could not be saved."""
    learn_code(request.options.model, request.options.seed)
    series = make_series(request, progress=send)
    if not all(map(is_saved, series_keys(request))):
        return series
    return SavedSeries(series.notes)


def _mix(request: MixtureRequest, send: ProgressCallback) -> object:
    return save_mixtures(request, progress=send)


def _estimate(request: MemoryRequest, _: ProgressCallback) -> object:
    return estimate(request)


def _import(request: ImportRequest, report: ProgressCallback) -> object:
    return import_archive(
        request.path, request.name, follow_links=request.follow_links, progress=report
    )


def _probe(request: CostRequest, _: ProgressCallback) -> object:
    from analysis.costs.probing import probe

    return probe(request)


def _test(request: RotationRequest, report: ProgressCallback) -> object:
    return saved_tests(request, progress=report)


def _permute(request: PermutedRequest, report: ProgressCallback) -> object:
    learn_code(request.options.model, request.options.seed)
    return saved_permuted(request, progress=report)


def _measure_parts(request: PartsRequest, report: ProgressCallback) -> object:
    return saved_parts(request, progress=report)


def _redraw(request: RedrawRequest, report: ProgressCallback) -> object:
    return make_redraws(request, progress=report)


def _leave_out(request: RemovalRequest, report: ProgressCallback) -> object:
    return saved_removal(request, progress=report)


def _profile(request: ProfileRequest, report: ProgressCallback) -> object:
    analysis = request.options.analysis
    learn_code(analysis.model, analysis.seed)
    return answer_profile(request, report)


def _compare(request: ResemblanceRequest, report: ProgressCallback) -> object:
    return requested_distances(request, progress=report)


# The function that answers each type of request: one entry adds a type. Each raises
# `AnalysisError` with a sentence for the user.
ANSWERS: dict[type, Callable[[Any, ProgressCallback], object]] = {
    AnalysisOptions: _analyze,
    MemoryRequest: _estimate,
    CheckpointRequest: keep_checkpoint,
    CostRequest: _probe,
    ImportRequest: _import,
    RotationRequest: _test,
    PartsRequest: _measure_parts,
    PermutedRequest: _permute,
    RedrawRequest: _redraw,
    RemovalRequest: _leave_out,
    ShiftRequest: _shift,
    MixtureRequest: _mix,
    ProfileRequest: _profile,
    ResemblanceRequest: _compare,
}


class _Sender:
    def __init__(self, channel: BinaryIO) -> None:
        self._channel = channel

    def __call__(self, message: object) -> None:
        pickle.dump(message, self._channel, protocol=pickle.HIGHEST_PROTOCOL)
        self._channel.flush()


class _Inbox:
    """Reads the requests, and ends the process when the input ends."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[object] = SimpleQueue()
        self._before_exit: Callable[[], object] | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def on_server_exit(self, before_exit: Callable[[], object] | None) -> None:
        self._before_exit = before_exit

    def _read(self) -> None:
        while True:
            try:
                self.requests.put(pickle.load(sys.stdin.buffer))
            except (EOFError, OSError, pickle.UnpicklingError):
                break
        try:
            if self._before_exit is not None:
                self._before_exit()
        finally:
            end_group(os.getpid())
            os._exit(0)


def _answer(request: object, send: _Sender) -> object:
    sent = 0.0

    def report(progress: Progress) -> None:
        nonlocal sent
        if time.monotonic() - sent > _REPORT_EVERY:
            sent = time.monotonic()
            send(progress)

    try:
        return ANSWERS[type(request)](request, report)
    except AnalysisError as error:
        return Failure(str(error), refused=isinstance(error, (OptionError, AssetError)))
    except Exception as error:  # the user gets a sentence, the log the traceback
        import traceback

        traceback.print_exc()
        if is_out_of_memory(error):  # such as while a model is moved to a GPU
            return Failure(NOT_ENOUGH_MEMORY)
        return Failure(f"This failed unexpectedly ({type(error).__name__}: {error}).")


def main() -> None:
    # Output that a library prints must not mix with the messages.
    send = _Sender(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox = _Inbox()
    with slow_imports():
        for name in (*_SLOW, _COMPILER):
            if name == _COMPILER and not inbox.requests.empty():  # which may do without
                break
            with suppress(Exception):  # the error is raised again when it is needed
                importlib.import_module(name)
    while True:
        request = inbox.requests.get()
        if isinstance(request, TrainingRequest):
            if not train(request, inbox.on_server_exit, send):
                sys.stderr.flush()
                os._exit(0)  # a normal exit would wait for the thread that reads the input
            inbox.on_server_exit(None)
            gc.collect()
            send(Trained())
            continue
        send(_answer(request, send))


if __name__ == "__main__":
    main()
