"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import re
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

_SYNCS = 300
_BLOCK = b"\0" * 4096


class Machine(NamedTuple):
    """Hardware, kernel and interpreter; `fdatasync_p50_ms` is for 4 KiB appended to a file in the data directory."""

    cores: int
    cpu: str
    memory_gib: float
    kernel: str
    fdatasync_p50_ms: float
    python: str
    uvloop: str


def describe(directory: Path) -> Machine:
    """The machine, with the disk that holds `directory`."""
    return Machine(
        cores=os.cpu_count() or 1,
        cpu=_cpu(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        fdatasync_p50_ms=round(_fdatasync_p50_ms(directory), 3),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        uvloop=metadata.version("uvloop"),
    )


def _cpu() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def _fdatasync_p50_ms(directory: Path) -> float:
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        return statistics.median(_one_sync(file.fileno()) for _ in range(_SYNCS)) * 1e3


def _one_sync(descriptor: int) -> float:
    os.write(descriptor, _BLOCK)
    started = time.perf_counter()
    os.fdatasync(descriptor)
    return time.perf_counter() - started
