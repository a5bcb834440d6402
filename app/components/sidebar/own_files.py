"""A checkpoint or images of one's own: uploaded, checked in a worker, then chosen."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import streamlit as st

from analysis.datasets import (
    Imported,
    ImportRequest,
    dataset_spec,
    folder_of,
    needs_look,
    own_datasets,
    remove_dataset,
)
from analysis.errors import AnalysisError
from analysis.models import Checkpoint, CheckpointRequest, own_checkpoints, remove_checkpoint
from analysis.system.home import home
from analysis.text import plural
from app.cache import jobs
from app.components.shared.polling import poll_until
from app.components.shared.subject_names import dataset_name, weights_name
from app.state import Import, session

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

POLL_EVERY = 0.3  # seconds
_FORGOTTEN = 3600.0  # seconds after which an upload that nobody waits for is removed
_MOST_NAMED = 8  # skipped files


def render_own_checkpoint(model: str, weights: str) -> None:
    """Draw what takes a checkpoint for this architecture, and deletes the one that is chosen."""
    if session().uploads.message:
        st.toast(session().uploads.message)
        session().uploads.message = ""
    with st.popover("Weights of your own", type="tertiary"):
        given = st.file_uploader(
            f"Checkpoint of {model}",
            type=["safetensors", "pt", "pth"],
            key=f"own_checkpoint_{model}_{session().uploads.deletions}",
            help="A state dict of this architecture. It may have another number of classes. "
            "Files that would run code when opened are refused.",
        )
        if given is not None:
            _render_import(
                "weights",
                given.file_id,
                lambda: CheckpointRequest(_written(given), given.name, model),
            )
        if weights in own_checkpoints(model):
            _offer_delete(weights_name(weights), lambda: remove_checkpoint(weights))


def render_own_images(dataset: str) -> None:
    """Draw what takes images, and deletes the upload that is chosen."""
    with st.popover("Images of your own", type="tertiary"):
        given = st.file_uploader(
            "Zip of images",
            type="zip",
            key=f"own_images_{session().uploads.deletions}",
            on_change=session().uploads.set_source,
            args=("zip",),
            help="One folder for each class, perhaps within folders train, val and test; or images "
            "alone: to compare layers, no labels are needed. They stay on this computer.",
        )
        folder = None
        if _is_local():
            folder = st.text_input(
                "Or a folder on this computer",
                key="own_folder",
                on_change=session().uploads.set_source,
                args=("folder",),
                placeholder="/home/me/pictures",
                help="Read where it is; nothing in it is changed.",
            )
        if given is not None and not (folder and session().uploads.latest_source == "folder"):
            _render_import(
                "dataset", given.file_id, lambda: ImportRequest(_written(given), given.name)
            )
        elif folder:
            path = Path(folder).expanduser().absolute()
            known = session().uploads.imports.get("dataset")
            if path.is_dir() or (known and known.source == folder):
                _render_import("dataset", folder, lambda: ImportRequest(path, folder))
            else:
                st.error(
                    f"{path} is no folder." if path.exists() else f"There is no folder {path}."
                )
                st.button("Try again", key="again_folder", icon=":material/replay:")
        if dataset in own_datasets():
            _offer_delete(dataset_name(dataset), lambda: remove_dataset(dataset))


def render_look(dataset: str) -> None:
    """Have a worker look through a folder that has changed, and tell how it goes."""
    imports, path = session().uploads.imports, folder_of(dataset)
    if "look" in imports and imports["look"].job.state == "done":
        del imports["look"]  # it has changed again
    _render_import("look", dataset, lambda: ImportRequest(path, path.name))


def _offer_delete(name: str, delete: Callable[[], None]) -> None:
    pressed = st.button(
        f"Delete {name}",
        icon=":material/delete:",
        type="tertiary",
        help="From this computer's memory of uploads. Analyses and runs made with it stay.",
    )
    if pressed:
        try:
            delete()
        except AnalysisError as error:
            st.error(str(error))
        else:
            session().uploads.message = f"{name} was deleted. The file you gave is as it was."
            session().uploads.deletions += 1  # the next uploader shows no file
            st.rerun()


def _render_import(
    widget: str, source: str, request: Callable[[], CheckpointRequest | ImportRequest]
) -> None:
    """Have a worker look at something once, and tell how it goes; `widget` then chooses it."""
    imports = session().uploads.imports
    if widget not in imports or imports[widget].source != source:
        if widget in imports:
            jobs().leave(imports[widget].job, session().id)
            _forget(imports[widget])
        try:
            imports[widget] = Import(source, jobs().start(request(), session().id))
        except OSError as error:
            st.error(f"The file could not be kept ({error.strerror}).")
            return
    found = imports[widget]
    job = found.job
    if job.state == "running" and not found.stopped:
        poll_until(lambda: _render_waiting(widget), pending=True, every=POLL_EVERY)
        return
    result = None if found.stopped else job.result
    if not found.ended:
        found.ended = True
        _forget(found)
        if widget == "dataset" and isinstance(result, Imported):
            session().uploads.choose_dataset(result.dataset)
        elif widget == "weights" and isinstance(result, Checkpoint):
            session().uploads.choose("weights", result.weights)
        st.rerun()
    chosen = st.session_state.get(widget)
    if result is None:
        if job.state == "failed":
            st.error(job.error)
        else:
            st.info("Stopped. Nothing was kept.")
        if st.button("Try again", key=f"again_{widget}", icon=":material/replay:"):
            del imports[widget]
            st.rerun()
    elif isinstance(result, Imported) and chosen == result.dataset and not needs_look(chosen):
        _tell_images(result)
    elif isinstance(result, Checkpoint) and chosen == result.weights:
        st.success(f"Chosen: a checkpoint with {plural(result.classes, 'class', 'classes')}.")
        for note in result.notes:
            st.caption(note)


def _is_local() -> bool:
    """Whether the browser runs here, as far as can be told: others have no folder here."""
    passed_on = {"x-forwarded-for", "forwarded", "x-real-ip"}
    headers = {name.lower() for name in st.context.headers}
    return st.context.ip_address is None and not passed_on & headers


def _render_waiting(widget: str) -> bool:
    found = session().uploads.imports[widget]
    if found.job.state != "running":
        return True
    jobs().watch(found.job, session().id)
    progress = found.job.progress
    share = progress.done / progress.total if progress and progress.total else 0.0
    st.progress(min(1.0, share), text=progress.stage if progress else "Getting ready")
    if st.button("Stop", key=f"stop_{widget}", icon=":material/stop_circle:"):
        jobs().leave(found.job, session().id)
        found.stopped = True
        return True
    return False


def _tell_images(result: Imported) -> None:
    classes = plural(result.classes, "class", "classes")
    labels = f" in {classes}" if result.classes else ", without labels"
    drawn = dataset_spec(result.dataset).sizes["train"]
    kept = "" if drawn == result.images else (
        f" {drawn:,} of them may be drawn; the rest is kept for choosing and testing."
    )  # fmt: skip
    st.success(f"Chosen: {plural(result.images, 'image')}{labels}.{kept}")
    if result.skipped:
        named = [f"- {name}: {reason}" for name, reason in result.skipped[:_MOST_NAMED]]
        more = len(result.skipped) - len(named)
        st.caption(
            f"{len(result.skipped)} skipped:\n"
            + "\n".join(named)
            + (f"\n- {more} more" * (more > 0))
        )


def _written(given: UploadedFile) -> Path:
    """The upload as a file that a worker can read; those that were left behind are removed."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _FORGOTTEN:
                old.unlink()
    path = folder / f"{uuid4().hex}{Path(given.name).suffix.lower()}"
    path.write_bytes(given.getbuffer())
    return path


def _forget(found: Import) -> None:
    """Remove the copy of an upload; a folder of the person's is none."""
    request = found.job.request
    if isinstance(request, CheckpointRequest | ImportRequest) and request.path.parent == _folder():
        request.path.unlink(missing_ok=True)


def _folder() -> Path:
    return home() / "uploads"
