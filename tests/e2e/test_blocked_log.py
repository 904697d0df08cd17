"""A member whose log nobody reads: everything else goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 20.0


def fill(pipe: int) -> None:
    """Writes to the pipe until not one byte more goes in."""
    os.set_blocking(pipe, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, b"x" * size)
    os.set_blocking(pipe, True)


def call(url: str, method: str, data: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=5) as response:
        return json.load(response)


@contextlib.contextmanager
def member(directory: Path, stderr: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        client, peer = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    flags = [
        *("--name", "quiet", "--data-dir", str(directory / "data"), "--log-level", "debug"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"quiet={peer}"),
    ]
    process = subprocess.Popen([sys.executable, "-m", "etcdpy", *flags], stderr=stderr)
    try:
        yield process, client
    finally:
        process.kill()
        process.wait()


def wait_for_write(url: str, value: bytes) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            call(url, "PUT", b"value=" + value)
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_blocked_log_blocks_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    fill(writer)
    with member(tmp_path, stderr=writer) as (process, url):
        wait_for_write(f"{url}/v2/keys/a", b"first")
        for number in range(50):  # each garbled request is a line of the debug log
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5) as garbled:
                garbled.sendall(b"\x00\x01\r\n\r\n")
                garbled.recv(1)
            assert call(f"{url}/v2/keys/a", "PUT", b"value=%d" % number)["action"] == "set"
        assert call(f"{url}/v2/keys/a?quorum=true", "GET")["node"]["value"] == "49"

        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    os.close(reader)
    os.close(writer)
