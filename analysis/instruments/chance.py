"""The generators of random numbers that a network's code may use."""

from __future__ import annotations

import pickle
import random

import numpy as np
import torch


def random_states() -> tuple[object, ...]:
    """The CPU's generators. On GPUs some kernels reserve numbers that they do not use."""
    numpy = pickle.dumps(np.random.get_state())  # noqa: NPY002
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), numpy
