"""The user's own checkpoint or images: uploaded, checked in a worker, then chosen."""

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
from analysis.datasets.folders import count_left_out
from analysis.errors import AnalysisError
from analysis.models import Checkpoint, CheckpointRequest, own_checkpoints, remove_checkpoint
from analysis.options import AnalysisOptions
from analysis.system.home import home, replacing
from analysis.system.paths import pasted_path
from analysis.text import plural
from app.cache import jobs
from app.components.shared.option_inputs import help_of
from app.components.shared.polling import poll_until, stop_waiting
from app.components.shared.subject_names import dataset_name, weights_name
from app.literal import literal, sentence
from app.state import Import, session

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

POLL_EVERY = 0.3  # seconds
_FORGOTTEN = 3600.0  # seconds after which an upload that nobody waits for is removed
_MOST_NAMED = 8  # skipped files


def render_own_checkpoint(model: str, weights: str) -> None:
    """Draw the upload of a checkpoint for this model, and the button that deletes it."""
    if session().uploads.message:
        st.toast(literal(session().uploads.message))
        session().uploads.message = ""
    with st.popover("Your own weights", type="tertiary"):
        upload = st.file_uploader(
            f"Checkpoint of {literal(model)}",
            key=f"own_checkpoint_{model}_{session().uploads.deletions}",
            help="A file of torch.save or safetensors with weights for this model, whatever its "
            "name and number of classes. Nothing in it is run.",
        )
        if upload is not None:
            key = session().uploads.weights_keys.get(upload.file_id, "")
            _render_import(
                "weights",
                f"{upload.file_id} {key}".strip(),
                lambda: CheckpointRequest(_write_upload(upload), upload.name, model, key),
            )
            _offer_sets(upload.file_id)
        if weights in own_checkpoints(model):
            _offer_delete(weights_name(weights), lambda: remove_checkpoint(weights))


def _offer_sets(upload: str) -> None:
    """Draw the choice between several sets of weights in a checkpoint."""
    current, chosen = session().uploads.imports["weights"], session().uploads.weights_keys
    result = None if current.stopped else current.job.result
    if not isinstance(result, Checkpoint) or len(result.keys) < 2:
        return
    widget = f"weights_key_{upload}"

    def remember() -> None:
        chosen[upload] = st.session_state[widget]

    st.selectbox(
        "Weights in this file",
        result.keys,
        result.keys.index(chosen[upload]) if chosen.get(upload) in result.keys else 0,
        key=widget,
        on_change=remember,
        help=help_of(AnalysisOptions, "weights_key"),
    )


def render_own_images(dataset: str) -> None:
    """Draw the upload of images, and the button that deletes them."""
    with st.popover("Your own images", type="tertiary"):
        upload = st.file_uploader(
            "Zip of images",
            type="zip",
            key=f"own_images_{session().uploads.deletions}",
            on_change=session().uploads.set_source,
            args=("zip",),
            help="One folder per class, within folders train, val and test if you like; or images "
            "alone, since an analysis needs no labels. They stay on this computer.",
        )
        folder, follow = None, False
        if _is_local():
            folder = st.text_input(
                "Or a folder on this computer",
                key="own_folder",
                on_change=session().uploads.set_source,
                args=("folder",),
                placeholder="/home/me/pictures",
                help="The folder is read in place. Nothing in it is changed.",
            )
            if folder:
                follow = st.checkbox(
                    "Follow links",
                    key="own_folder_links",
                    help="Also read what links out of the folder lead to, as DVC and DataLad make "
                    "them.",
                )
        if upload is not None and not (folder and session().uploads.latest_source == "folder"):
            _render_import(
                "dataset", upload.file_id, lambda: ImportRequest(_write_upload(upload), upload.name)
            )
        elif folder:
            path = pasted_path(folder).absolute()
            known = session().uploads.imports.get("dataset")
            source = f"{folder} with links" if follow else folder
            if path.is_dir() or (known and known.source == source):
                _render_import("dataset", source, lambda: ImportRequest(path, folder, follow))
            else:
                what = "is not a folder" if path.exists() else "does not exist"
                st.error(f"{literal(path)} {what}. Check the path.")
                st.button("Try again", key="again_folder", icon=":material/replay:")
        if dataset in own_datasets():
            _offer_delete(dataset_name(dataset), lambda: remove_dataset(dataset))


def render_look(dataset: str) -> None:
    """Check a folder that has changed in a worker, and show the progress."""
    imports, path = session().uploads.imports, folder_of(dataset)
    linked = dataset.startswith("linked:")
    if "look" in imports and imports["look"].job.state == "done":
        del imports["look"]  # it has changed again
    _render_import("look", dataset, lambda: ImportRequest(path, path.name, linked))


def _offer_delete(name: str, delete: Callable[[], None]) -> None:
    st.button(
        f"Delete {literal(name)}",
        icon=":material/delete:",
        type="tertiary",
        help="Deletes the copy that BettiScope keeps. Your file, and its analyses and runs, stay.",
        on_click=_delete,
        args=(name, delete),
    )


def _delete(name: str, delete: Callable[[], None]) -> None:
    uploads = session().uploads
    try:
        delete()
    except AnalysisError as error:
        uploads.message = str(error)
    else:
        uploads.message = f"{name} was deleted. Your own file is unchanged."
        uploads.deletions += 1  # the next uploader shows no file


def _render_import(
    widget: str, source: str, request: Callable[[], CheckpointRequest | ImportRequest]
) -> None:
    """Check a file or folder once in a worker, show the progress, and choose it in `widget`."""
    imports = session().uploads.imports
    if widget not in imports or imports[widget].source != source:
        if widget in imports:
            jobs().leave(imports[widget].job, session().id)
            _forget(imports[widget])
        try:
            imports[widget] = Import(source, jobs().start(request(), session().id))
        except OSError as error:
            st.error(
                f"The file could not be saved ({error.strerror}). Free some space and try again."
            )
            imports.pop(widget, None)
            st.button("Try again", key=f"again_{widget}", icon=":material/replay:")
            return
    current = imports[widget]
    job = current.job
    if job.state == "running" and not current.stopped:
        poll_until(lambda: _render_waiting(widget), pending=True, every=POLL_EVERY)
        return
    result = None if current.stopped else job.result
    if not current.ended:
        current.ended = True
        _forget(current)
        if widget == "dataset" and isinstance(result, Imported):
            session().uploads.choose_dataset(result.dataset)
        elif widget == "weights" and isinstance(result, Checkpoint):
            session().uploads.choose("weights", result.weights)
        st.rerun()
    chosen = st.session_state.get(widget)
    if result is None:
        if job.state == "failed":
            st.error(sentence(job.error))
        else:
            st.info("Stopped. Nothing was saved.")
        st.button(
            "Try again", key=f"again_{widget}", icon=":material/replay:",
            on_click=_check_again, args=(widget,),
        )  # fmt: skip
    elif isinstance(result, Imported) and chosen == result.dataset and not needs_look(chosen):
        _show_images(result)
    elif isinstance(result, Checkpoint) and chosen == result.weights:
        st.success(f"Chosen: a checkpoint with {plural(result.classes, 'class', 'classes')}.")
        for note in result.notes:
            st.caption(sentence(note))


def _check_again(widget: str) -> None:
    session().uploads.imports.pop(widget, None)


def _is_local() -> bool:
    """Whether the browser seems to run on this computer: only then has its user folders here."""
    passed_on = {"x-forwarded-for", "forwarded", "x-real-ip"}
    headers = {name.lower() for name in st.context.headers}
    return st.context.ip_address is None and not passed_on & headers


def _render_waiting(widget: str) -> bool:
    current = session().uploads.imports[widget]
    if current.job.state != "running":
        return True
    jobs().watch(current.job, session().id)
    progress = current.job.progress
    share = progress.done / progress.total if progress and progress.total else 0.0
    st.progress(min(1.0, share), text=literal(progress.stage) if progress else "Getting ready")
    st.button(
        "Stop", key=f"stop_{widget}", icon=":material/stop_circle:",
        on_click=stop_waiting, args=(current, current.job),
    )  # fmt: skip
    return False


def _show_images(result: Imported) -> None:
    classes = plural(result.classes, "class", "classes")
    labels = f" in {classes}" if result.classes else ", without labels"
    spec = dataset_spec(result.dataset)
    drawn = spec.sizes["train"]
    rest = "" if drawn == result.images else (
        f" {drawn:,} are for analysis and training, the rest for validation and testing."
    )  # fmt: skip
    st.success(f"Chosen: {plural(result.images, 'image')}{labels}.{rest}")
    for note in spec.notes:
        st.caption(sentence(note))
    if result.skipped:
        counts = [f"- {literal(phrase)}" for phrase in count_left_out(result.skipped)]
        named = [f"{literal(name)}" for name, _ in result.skipped[:_MOST_NAMED]]
        more = len(result.skipped) - len(named)
        st.caption(
            "\n".join(["Left out:", *counts])
            + f"\n\nThese are {', '.join(named)}"
            + (f" and {more:,} more." if more > 0 else ".")
        )


def _write_upload(upload: UploadedFile) -> Path:
    """Write the upload to a file that a worker can read, and remove old ones."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _FORGOTTEN:
                old.unlink()
    path = folder / f"{uuid4().hex}{Path(upload.name).suffix.lower()}"
    with replacing(path) as file:
        file.write(upload.getbuffer())
    return path


def _forget(current: Import) -> None:
    """Remove the copy of an upload; the user's own folder is not a copy."""
    request = current.job.request
    if isinstance(request, CheckpointRequest | ImportRequest) and request.path.parent == _folder():
        request.path.unlink(missing_ok=True)


def _folder() -> Path:
    return home() / "uploads"
