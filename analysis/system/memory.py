"""Free and used memory of this machine and its GPU. Importing this module needs no torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch


# The rest is for other processes, and for memory that grows while an analysis runs.
HOST_SHARE, DEVICE_SHARE = 0.6, 0.8
_CGROUP = Path("/sys/fs/cgroup")  # Linux, version 2


def free_bytes(device: torch.device) -> int:
    """The usable share of the free memory on a device."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * DEVICE_SHARE)
    host = int(min(psutil.virtual_memory().available, _left_to_container()) * HOST_SHARE)
    if device.type == "mps":  # a share of the host's memory, with its own limit
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(host, int(left * DEVICE_SHARE))
    return host


def free_cache(device: torch.device) -> None:
    """Release unused memory that torch caches, and that `free_bytes` counts as used."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _left_to_container() -> float:
    """Bytes left under the control group's limit, which the machine's numbers ignore."""
    try:
        limit, used = (int((_CGROUP / f"memory.{n}").read_text()) for n in ("max", "current"))
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or the limit is "max"
        return math.inf
    return max(
        0, limit - used + int(stat.get("inactive_file", 0))
    )  # the kernel can drop this cache


def resident_bytes() -> int:
    """Memory of this whole process (RSS), libraries included."""
    return int(psutil.Process().memory_info().rss)


def reset_allocator_peak(device: torch.device) -> None:
    """Restart the measurement of `allocator_peak`."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def allocator_peak(device: torch.device) -> int | None:
    """Peak bytes allocated by torch's CUDA allocator; None on other devices."""
    if device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(device)
