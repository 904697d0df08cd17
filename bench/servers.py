"""Clusters of three members on loopback, of either product: both are programs that take etcd's flags.

Owns the processes: they end when the `with` ends, whatever happens in it. A plan can be run again over the same data,
which is a restart.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .address import HOST, Address
from .errors import BenchError
from .tls import Certificates

MEMBERS = 3
START_SECONDS = 20.0
RESTART_SECONDS = 120.0
"""The longest start over data that is there already."""

_POLL_SECONDS = 0.01


class Product(NamedTuple):
    """A server program and what to call it."""

    name: str
    program: str

    def version(self) -> str:
        """The version that the program itself states."""
        stated = subprocess.run([self.program, "--version"], capture_output=True, text=True, timeout=30, check=False)
        found = re.search(r"\d+\.\d+\.\d+\S*", stated.stdout)
        return found.group() if found else "unknown"


class Plan(NamedTuple):
    """A cluster that can be run, again and again over the same data. Each member has a client and a peer port."""

    product: Product
    directory: Path
    client_ports: tuple[int, ...]
    peer_ports: tuple[int, ...]
    certificates: Certificates | None = None


class Member(NamedTuple):
    """A running member."""

    name: str
    address: Address
    data_dir: Path
    process: subprocess.Popen[bytes]

    def resident_bytes(self) -> int:
        """Resident memory of the process (VmRSS of proc(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        if found is None:
            raise BenchError(f"{self.name} has no resident memory: it has ended")
        return int(found.group(1)) * 1024

    def is_leader(self) -> bool:
        return bool(self.address.get_json("/v2/stats/self")["state"] == "StateLeader")

    def is_healthy(self) -> bool:
        try:
            health = self.address.get_json("/health", timeout_seconds=1.0)
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return isinstance(health, dict) and health.get("health") in ("true", True)

    def snapshots(self) -> frozenset[str]:
        """Names of the snapshot files that lie in the data directory now."""
        return frozenset(f"{self.name}/{path.name}" for path in self.data_dir.rglob("*.snap"))


class Cluster(NamedTuple):
    """A running cluster, all members healthy `start_seconds` after the first was started."""

    members: tuple[Member, ...]
    start_seconds: float

    def leader(self) -> Member:
        for member in self.members:
            if member.is_leader():
                return member
        raise BenchError("no member calls itself the leader")

    def follower(self) -> Member:
        for member in self.members:
            if not member.is_leader():
                return member
        raise BenchError("every member calls itself the leader")

    def resident_bytes(self) -> int:
        """Resident memory of the largest member."""
        return max(member.resident_bytes() for member in self.members)


def plan(product: Product, directory: Path, certificates: Certificates | None = None) -> Plan:
    """A cluster with its data in `directory`, which need not exist, on ports that are free now."""
    ports = free_ports(2 * MEMBERS)
    return Plan(product, directory, ports[:MEMBERS], ports[MEMBERS:], certificates)


@contextlib.contextmanager
def run(planned: Plan, *flags: str) -> Iterator[Cluster]:
    """Run a cluster until the `with` ends. BenchError if a member doesn't become healthy."""
    planned.directory.mkdir(parents=True, exist_ok=True)
    limit = RESTART_SECONDS if _log(planned.directory, "m0").exists() else START_SECONDS
    members: list[Member] = []
    started = time.monotonic()
    try:
        members.extend(_start(planned, number, flags) for number in range(MEMBERS))
        _wait_until_healthy(members, started + limit)
        yield Cluster(tuple(members), time.monotonic() - started)
    finally:
        _stop([member.process for member in members])


def _start(planned: Plan, number: int, flags: Sequence[str]) -> Member:
    name = f"m{number}"
    data_dir = planned.directory / name
    certificates = planned.certificates
    address = Address(planned.client_ports[number], certificates.client_context() if certificates else None)
    command = [planned.product.program, *_flags(planned, number, address), "--data-dir", str(data_dir), *flags]
    with _log(planned.directory, name).open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    return Member(name, address, data_dir, process)


def _flags(planned: Plan, number: int, address: Address) -> list[str]:
    peers = [f"http://{HOST}:{port}" for port in planned.peer_ports]
    flags = [
        "--enable-v2=true",
        "--log-level=error",
        *("--name", f"m{number}"),
        *("--listen-client-urls", address.url, "--advertise-client-urls", address.url),
        *("--listen-peer-urls", peers[number], "--initial-advertise-peer-urls", peers[number]),
        *("--initial-cluster", ",".join(f"m{i}={peer}" for i, peer in enumerate(peers))),
        *("--initial-cluster-token", "bench"),
    ]
    if planned.certificates:
        flags += ["--cert-file", str(planned.certificates.certificate), "--key-file", str(planned.certificates.key)]
    return flags


def _wait_until_healthy(members: Sequence[Member], deadline: float) -> None:
    waiting = list(members)
    while waiting:
        for member in members:
            if member.process.poll() is not None:
                raise BenchError(f"{member.name} ended with {member.process.returncode}:\n{_tail(member)}")
        if time.monotonic() > deadline:
            raise BenchError(f"{waiting[0].name} is not healthy in time:\n{_tail(waiting[0])}")
        time.sleep(_POLL_SECONDS)
        waiting = [member for member in waiting if not member.is_healthy()]


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill the process groups: what was acknowledged is on disk, and the next start recovers it."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for process in processes:
        process.wait()


def _log(directory: Path, name: str) -> Path:
    return directory / f"{name}.log"


def _tail(member: Member) -> str:
    lines = _log(member.data_dir.parent, member.name).read_text(errors="replace").splitlines()
    return "\n".join(lines[-8:])


def free_ports(count: int) -> tuple[int, ...]:
    """Ports on loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return tuple(each.getsockname()[1] for each in sockets)
