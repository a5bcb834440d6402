"""Read pre-trained weights: the pocket zoo's from assets/, torchvision's over the network."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import safetensors.torch
import torch
from torch import Tensor

from analysis.asset_files import verified
from analysis.errors import AssetError
from analysis.models.registry import ModelSpec
from analysis.torchvision_guard import torchvision

ANSWER_SECONDS = 8.0  # for the server to answer at all, name look-up included
STALL_SECONDS = 20.0  # without a byte, then a download is given up

StateDict = dict[str, Tensor]


def pocket_state(spec: ModelSpec) -> StateDict:
    """Weights from assets/, from the very bytes whose checksum was verified."""
    state = safetensors.torch.load(verified(spec.weights_name))
    # Copies: what safetensors gives may share memory with the bytes it was given.
    return {name: tensor.clone() for name, tensor in state.items()}


def torchvision_weights(spec: ModelSpec) -> Any:
    """The member of torchvision's weights enumeration."""
    return torchvision.models.get_model_weights(spec.name)[spec.weights_name]


def torchvision_state(spec: ModelSpec) -> StateDict:
    """Weights from torch hub's cache, fetched into it first if they are not there.

    Raises
    ------
    AssetError
        If the weights cannot be fetched, or the file is damaged.
    """
    weights = torchvision_weights(spec)
    cached = Path(torch.hub.get_dir(), "checkpoints", spec.weights_file)
    if not cached.exists():
        _require_answer(spec, weights.url)
    try:
        # torch hub announces a download on stdout, which may be carrying JSON.
        with redirect_stdout(sys.stderr), _socket_timeout(STALL_SECONDS):
            state: StateDict = weights.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
        return state
    except (OSError, HTTPException) as error:
        raise AssetError(
            f"The pre-trained weights of {spec.name} could not be fetched into {cached.parent} "
            f"({error}). {_INSTEAD}"
        ) from error
    except (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise damaged(spec) from error


def damaged(spec: ModelSpec) -> AssetError:
    """The error to raise when a file was read, but does not hold this network's weights."""
    if spec.source == "pocket":
        return AssetError(
            f"assets/{spec.weights_file} does not hold the weights of {spec.name}: "
            "run `make assets` or restore it with git"
        )
    cached = Path(torch.hub.get_dir(), "checkpoints", spec.weights_file)
    return AssetError(
        f"The pre-trained weights of {spec.name} are damaged. Delete {cached} if it is there, "
        "and they are fetched again."
    )


_INSTEAD = "Use weights = random, or a pocket model, which ships with BettiScope."


def _require_answer(spec: ModelSpec, url: str) -> None:
    """Ask for the file's header first: no timeout covers the name look-up of a download."""
    failures = ["no answer in time"]

    def ask() -> None:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=ANSWER_SECONDS):
                failures.clear()
        except (OSError, HTTPException) as error:
            failures.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if failures:
        raise AssetError(
            f"The pre-trained weights of {spec.name} could not be fetched from "
            f"{urlsplit(url).hostname} (no network?). {_INSTEAD}"
        )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
