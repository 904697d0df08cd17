"""`make run` on a terminal: three members, the key Ctrl-C, and the same data the next time."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 20.0
PORTS = ("2379", "22379", "32379", "12380", "22380", "32380")


class Terminal:
    """`make run` with a terminal of its own; `screen` is all that it showed."""

    def __init__(self, directory: Path) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            ["make", "--old-file=.venv/ready", "--old-file=compiled", "run"],
            cwd=directory,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self._output = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def screen(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self._output.decode(errors="replace"))

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def wait(self) -> int:
        code = self._process.wait(DEADLINE_SECONDS)
        self._reader.join(DEADLINE_SECONDS)
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(DEADLINE_SECONDS)
        self._reader.join(DEADLINE_SECONDS)
        os.close(self._master)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last of them is gone
            while data := os.read(self._master, 65_536):
                self._output += data


def _take_terminal() -> None:
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # a session's first terminal becomes its own


@contextlib.contextmanager
def make_run(directory: Path) -> Iterator[Terminal]:
    terminal = Terminal(directory)
    try:
        yield terminal
    finally:
        terminal.close()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder with the Makefile and the Procfile on ports that are free here, and the clients' URLs."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    procfile = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: ports[found.group()], (CHECKOUT / "Procfile").read_text())
    (tmp_path / "Procfile").write_text(procfile)
    (tmp_path / "Makefile").symlink_to(CHECKOUT / "Makefile")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    return tmp_path, [f"https://127.0.0.1:{ports[port]}" for port in PORTS[:3]]


def call(directory: Path, url: str, method: str = "GET", **form: str) -> Any:
    """Raises OSError, also while the certificates are not made yet."""
    context = ssl.create_default_context(cafile=str(directory / "pki" / "ca.pem"))
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data, method=method)
    with urllib.request.urlopen(request, timeout=10, context=context) as response:
        return json.load(response)


def is_healthy(directory: Path, url: str) -> bool:
    try:
        return bool(call(directory, f"{url}/health")["health"] == "true")
    except OSError:
        return False


def wait_until_healthy(directory: Path, urls: list[str], terminal: Terminal) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not all(is_healthy(directory, url) for url in urls):
        assert time.monotonic() < deadline, terminal.screen
        time.sleep(0.05)


def stop(terminal: Terminal, directory: Path, urls: list[str]) -> None:
    terminal.press_ctrl_c()
    assert terminal.wait() == -signal.SIGINT, terminal.screen  # as make ends at Ctrl-C
    assert "***" not in terminal.screen
    assert "Traceback" not in terminal.screen
    for url in urls:
        with pytest.raises(urllib.error.URLError, match="refused"):
            call(directory, f"{url}/health")


@pytest.mark.timeout(120)
def test_three_members_that_stop_at_ctrl_c_and_keep_their_data(checkout: tuple[Path, list[str]]) -> None:
    directory, urls = checkout
    with make_run(directory) as terminal:
        wait_until_healthy(directory, urls, terminal)
        for number, url in enumerate(urls):
            call(directory, f"{url}/v2/keys/number/{number}", "PUT", value=f"written {number}")
        stop(terminal, directory, urls)
        assert terminal.screen.count("stopped (rc=0)") == 3, terminal.screen
    assert sorted(path.name for path in (directory / "data").iterdir()) == ["infra1", "infra2", "infra3"]

    with make_run(directory) as terminal:
        wait_until_healthy(directory, urls, terminal)
        nodes = call(directory, f"{urls[2]}/v2/keys/number?quorum=true&sorted=true")["node"]["nodes"]
        assert [node["value"] for node in nodes] == ["written 0", "written 1", "written 2"]
        stop(terminal, directory, urls)
