"""The load generators against a server that does nothing: what they reach there is their own limit.

A row's figure close to the limit of its generator would be the generator's, not the server's.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Generator, Iterator

from . import paced, watchers, wrk
from .address import Address
from .errors import BenchError
from .loader import load
from .scale import PACE, WATCHERS, Scale
from .servers import free_ports
from .workloads import USUAL_CONNECTIONS, Figure

_START_SECONDS = 10.0
_LOADED_KEYS = 20_000
_PACED_SECONDS = 3


def limits(scale: Scale) -> Generator[Figure, None, None]:
    """What each generator reaches alone."""
    with _responder() as address:
        for connections in scale.connections:
            yield f"wrk.put.{connections}.rate", wrk.put(address, connections, 1).rate
        yield "wrk.get.rate", wrk.get(address, USUAL_CONNECTIONS, 1).rate
        yield "loader.rate", load(address, 0, _LOADED_KEYS)
        yield "watchers.fan_out.ms", watchers.fan_out(address, WATCHERS, scale.fan_out_writes)
        found = paced.put(address, PACE, lambda seconds: seconds >= _PACED_SECONDS)
        yield "paced.rate", found.answers / found.seconds
        yield "paced.p99.ms", found.p99_ms
        yield "paced.longest.ms", found.longest_ms
        yield "paced.generator_late.ms", found.latest_send_ms


@contextlib.contextmanager
def _responder() -> Iterator[Address]:
    [port] = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "bench.responder", str(port)])
    try:
        address = Address(port)
        _wait_until_answering(address)
        yield address
    finally:
        process.kill()
        process.wait()


def _wait_until_answering(address: Address) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            address.get_json("/")
            return
        time.sleep(0.05)
    raise BenchError("the fixed responder doesn't answer")
