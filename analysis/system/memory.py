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
_CGROUP = Path("/sys/fs/cgroup")  # Linux
_OWN_GROUPS = Path("/proc/self/cgroup")
# Files with the limit and what is used, and the entry of memory.stat that can be dropped.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def free_bytes(device: torch.device) -> int:
    """The usable share of the free memory on a device."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * DEVICE_SHARE)
    host = int(host_bytes() * HOST_SHARE)
    if device.type == "mps":  # a share of the host's memory, with its own limit
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(host, int(left * DEVICE_SHARE))
    return host


def host_bytes() -> float:
    """All free memory of this machine, or what is left of it to this process."""
    return min(float(psutil.virtual_memory().available), _left_to_container())


def free_cache(device: torch.device) -> None:
    """Release unused memory that torch caches, and that `free_bytes` counts as used."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _left_to_container() -> float:
    """Bytes left under the control groups' limits, which the machine's numbers ignore.

    Any group from this process's own up to the root may set one, in version 1 or 2.
    """
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        lines = []
    left = math.inf
    for line in [*lines, "0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = _CGROUP / "memory" if controllers else _CGROUP
        files = _VERSION_1 if controllers else _VERSION_2
        inside = Path(path.lstrip("/"))
        # In a container, the path may be the host's, and its own group stands at the root.
        for group in {base, base / inside, *(base / above for above in inside.parents)}:
            left = min(left, _left_to_group(group, files))
    return left


def _left_to_group(group: Path, files: tuple[str, str, str]) -> float:
    limit_file, used_file, cache = files
    try:
        limit, used = (int((group / name).read_text()) for name in (limit_file, used_file))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or the limit is "max"
        return math.inf
    return max(0, limit - used + int(stat.get(cache, 0)))  # the kernel can drop this cache


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
