"""wrk, the load generator of the rows with a number of connections: one thread, closed loop, no think time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from .address import Address
from .errors import BenchError
from .requests import DIRECTORY
from .scale import KEYS

_SCRIPT = Path(__file__).with_name("load.lua")
_ANSWER_TIMEOUT_SECONDS = 10


class Load(NamedTuple):
    """What wrk saw: answers per second, and how long they took."""

    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def put(address: Address, connections: int, seconds: int, stride: int = 1, authorization: str = "") -> Load:
    """PUT 100-byte values to 1,000 keys, `stride` apart."""
    return _run(address, connections, seconds, "PUT", stride, authorization=authorization)


def get(address: Address, connections: int, seconds: int, query: str = "") -> Load:
    """GET 1,000 keys."""
    return _run(address, connections, seconds, "GET", 1, query)


def check_installed() -> None:
    """BenchError, saying how to install it, where wrk is missing."""
    if shutil.which("wrk") is None:
        raise BenchError("no `wrk` on PATH, the load generator: apt-get install wrk")


def _run(
    address: Address,
    connections: int,
    seconds: int,
    method: str,
    stride: int,
    query: str = "",
    authorization: str = "",
) -> Load:
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s"]
    command += [f"--timeout={_ANSWER_TIMEOUT_SECONDS}s", f"--script={_SCRIPT}", address.url + DIRECTORY, "--"]
    command += [method, str(KEYS), str(stride), query, authorization]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if ended.returncode != 0:
        raise BenchError(f"wrk ended with {ended.returncode}: {ended.stderr.strip() or ended.stdout.strip()}")
    return parse(ended.stdout)


def parse(output: str) -> Load:
    """Read the line that load.lua's `done` writes. BenchError if any request failed, or none was answered."""
    found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    if found["failed"] or not found["requests"]:
        raise BenchError(f"{found['failed']} of {found['requests']} requests failed under wrk")
    rate = found["requests"] / found["duration_us"] * 1e6
    return Load(rate, found["p50_us"] / 1e3, found["p99_us"] / 1e3, found["max_us"] / 1e3)
