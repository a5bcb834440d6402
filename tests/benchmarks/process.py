"""Fresh processes with one environment, and the memory of the current process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# torch reads these once. `import analysis` sets them for users; here each process receives them,
# so that every variant has the same huge pages and waits in the same way.
SAME_FOR_ALL = {"THP_MEM_ALLOC_ENABLE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# A neighbour that wants a core all the time, and ends with the benchmark even if that is killed.
_SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def run_python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run `python ARGUMENTS` in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **SAME_FOR_ALL, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise SystemExit(f"python {' '.join(arguments)} failed ({done.returncode}):\n{tail}")
    return done.stdout


def run_module(module: str, *arguments: str, **keywords: Any) -> Any:
    """The JSON that a module prints as its last line."""
    return json.loads(run_python("-m", module, *arguments, **keywords).splitlines()[-1])


@contextmanager
def busy_neighbours() -> Iterator[None]:
    """One other process for each core that does nothing but spin."""
    cores = range(os.cpu_count() or 1)
    neighbours = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in cores]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def resident_bytes() -> int:
    """Resident memory of this process now (`VmRSS`, Linux only)."""
    return _status_field("VmRSS")


def peak_resident_bytes() -> int:
    """The highest resident memory of this process since `forget_peak` (`VmHWM`, Linux only).

    `resource.getrusage` would also count the parent's memory at the fork.
    """
    return _status_field("VmHWM")


def forget_peak() -> None:
    """Reset `VmHWM`: loading a model may have taken more for a moment."""
    _CLEAR_REFS.write_text("5")


def _status_field(name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit(f"{_STATUS} has no {name}: memory is measured on Linux only")
    return int(match[1]) * 1024
