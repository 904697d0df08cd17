"""One-member servers as real processes on ephemeral loopback ports: the real etcd (the oracle) and etcdpy.

Both take etcd's flags. A server is ready when its cluster version is decided, so that its store index stands still.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .wire import Answer, Closed, Wire

START_SECONDS = 20.0
ETCD = shutil.which("etcd")
NO_ETCD = "no `etcd` on PATH (apt-get install etcd-server): the live comparison with the real server can't run"


class Server(NamedTuple):
    """A running member: where it listens and the ids it gave itself."""

    address: tuple[str, int]
    peer_address: tuple[str, int]
    member_id: str
    cluster_id: str

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def peer_url(self) -> str:
        return "http://{}:{}".format(*self.peer_address)


@contextlib.contextmanager
def etcd(*flags: str) -> Iterator[Server]:
    """Run the real etcd with the v2 API on."""
    if ETCD is None:
        raise FileNotFoundError(NO_ETCD)
    with _running([ETCD, "--enable-v2=true", *flags]) as server:
        yield server


@contextlib.contextmanager
def etcdpy(*flags: str) -> Iterator[Server]:
    """Run etcdpy from this checkout."""
    with _running([sys.executable, "-m", "etcdpy", *flags]) as server:
        yield server


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory, contextlib.ExitStack() as stack:
        client, peer = (("127.0.0.1", port) for port in _free_ports(2))
        log = Path(directory, "log")
        arguments = [*command, *_flags(directory, client, peer)]
        with log.open("wb") as output:
            process = subprocess.Popen(arguments, stdout=output, stderr=output)
        stack.callback(_stop, process)
        _wait_until_ready(client, process, log)
        yield _describe(client, peer)


def _flags(directory: str, client: tuple[str, int], peer: tuple[str, int]) -> list[str]:
    client_url, peer_url = ("http://{}:{}".format(*address) for address in (client, peer))
    return [
        *("--name", "member"),
        *("--data-dir", f"{directory}/data"),
        *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"member={peer_url}"),
        *("--heartbeat-interval", "20", "--election-timeout", "200"),
    ]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(address: tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server is not up:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.02)


def _is_ready(address: tuple[str, int]) -> bool:
    try:
        version = json.loads(get(address, "/version").body)
        # Its name and URLs take an index when they are told; nobody may count before.
        return version["etcdcluster"] != "not_decided" and b'"clientURLs":["' in get(address, "/v2/members/leader").body
    except (ConnectionError, Closed):
        return False


def _describe(client: tuple[str, int], peer: tuple[str, int]) -> Server:
    answer = get(client, "/v2/members")
    member_id = json.loads(answer.body)["members"][0]["id"]
    return Server(client, peer, member_id, answer.header("X-Etcd-Cluster-Id") or "")


def get(address: tuple[str, int], target: str) -> Answer:
    """Send one GET on a connection of its own."""
    with contextlib.closing(Wire(address)) as wire:
        wire.send(f"GET {target} HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode())
        return wire.read_answer()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
