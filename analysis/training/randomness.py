"""Random numbers of a training, apart from those of its caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Randomness:
    """A separate stream of random numbers, on the CPU and on the model's device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device if device.type in ("cuda", "mps") else None
        caller_states = self._get()
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        self._states = self._get()
        self._set(caller_states)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        caller_states, deterministic = self._get(), torch.backends.cudnn.deterministic
        self._set(self._states)
        torch.backends.cudnn.deterministic = True  # its fastest kernels add in any order
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = deterministic
            self._states = self._get()
            self._set(caller_states)

    def _get(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device is not None:
            states.append(torch.get_device_module(self._device).get_rng_state(self._device))
        return states

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device is not None:
            torch.get_device_module(self._device).set_rng_state(states[1], self._device)
