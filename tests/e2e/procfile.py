"""Members as real processes, started with the Procfile's own command lines on other ports and in another directory,
with certificates of an authority of their own.

Every process that was started is killed when the `with` of its `Processes` ends. Members write their logs to
`<name>.log`, and whatever happens to them, none of them may ever show a traceback.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shlex
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from etcdpy.pki import Kind, Period, issue, make_authority
from etcdpy.pki_files import PairFiles, write_pair

ROOT = Path(__file__).parents[2]
FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Below the kernel's ephemeral ports: while a member is down, no outgoing connection may take its port."""
DEADLINE_SECONDS = 20.0
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")

QUICK = {"ETCD_HEARTBEAT_INTERVAL": "50", "ETCD_ELECTION_TIMEOUT": "500"}
"""Half of etcd's own times."""

Found = TypeVar("Found")


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def node(self) -> Any:
        return self.json["node"]


class Member:
    """One line of the Procfile."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = list(command)
        self.ca_file = directory / "pki" / "ca.pem"
        self.log = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment

    def flag(self, name: str) -> str:
        return self.command[self.command.index(f"--{name}") + 1]

    @property
    def url(self) -> str:
        return self.flag("listen-client-urls")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *prefix: str) -> None:
        """`prefix` may be a command that runs this one, as strace."""
        assert not self.is_running
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command], cwd=ROOT, stdout=log, stderr=log, env=self._environment
            )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def connection(self, seconds: float = DEADLINE_SECONDS) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=seconds, context=client_context(self.ca_file)
        )

    def request(self, method: str, target: str, body: str | None = None, seconds: float = DEADLINE_SECONDS) -> Answer:
        """Raises OSError or HTTPException where there is no answer."""
        connection = self.connection(seconds)
        headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def get(self, key: str, **parameters: str) -> Answer:
        return self.request("GET", f"/v2/keys{quote(key)}?{urlencode(parameters)}")

    def put(self, key: str, **form: str) -> Answer:
        return self.request("PUT", f"/v2/keys{quote(key)}", urlencode(form))

    def leads(self) -> bool:
        try:
            return bool(self.request("GET", "/v2/stats/self", seconds=2).json["state"] == "StateLeader")
        except (OSError, http.client.HTTPException):
            return False


class Processes:
    """The Procfile's members. They do not run until `start`."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        """`variables` are set in the members' environment."""
        lines = read_procfile(ROOT / "Procfile")
        self.directory = directory
        ports = sorted({port for line in lines.values() for port in _PORT.findall(line)})
        moved = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
        self.members = [
            Member(name, _moved(line, moved, directory), directory, {**environment(), **variables})
            for name, line in lines.items()
        ]
        make_certificates(directory / "pki", list(lines))

    def start(self) -> None:
        """Starts those that do not run, and waits until each takes part in a majority."""
        for member in self.members:
            if not member.is_running:
                member.start()
        for member in self.members:
            eventually(lambda member=member: is_healthy(member), f"healthy {member.name}")

    @property
    def leader(self) -> Member:
        try:
            return eventually(lambda: next((m for m in self.members if m.is_running and m.leads()), None), "leader")
        except AssertionError as failure:
            raise AssertionError(f"{failure}:\n{self.logs()[-8000:]}") from None

    @property
    def followers(self) -> list[Member]:
        leader = self.leader
        return [member for member in self.members if member is not leader]

    def kill(self) -> None:
        for member in self.members:
            if member.is_running:
                member.kill()

    def logs(self) -> str:
        return "".join(f"--- {member.name}\n{member.log.read_text()}" for member in self.members if member.log.exists())


@contextmanager
def processes(directory: Path, variables: Mapping[str, str] = QUICK) -> Iterator[Processes]:
    directory.mkdir(parents=True, exist_ok=True)
    members = Processes(directory, variables)
    try:
        yield members
    finally:
        members.kill()
    assert "Traceback" not in members.logs(), members.logs()


def read_procfile(path: Path) -> dict[str, str]:
    """Command lines by name."""
    lines = (line.partition(":") for line in path.read_text().splitlines() if line.strip() and line[0] != "#")
    return {name.strip(): command.strip() for name, _, command in lines}


def _moved(line: str, ports: Mapping[str, int], directory: Path) -> list[str]:
    """The command as a shell would start it, with other ports and data directories."""
    words = shlex.split(_PORT.sub(lambda match: ports[match[0]], line).removeprefix("exec "))
    return [str(directory / word) if word.startswith(("data/", "pki/")) else word for word in words]


def make_certificates(directory: Path, names: Sequence[str]) -> None:
    """As the Makefile makes them with `etcdpyctl pki`."""
    period = Period.from_now(datetime.now(UTC), 60)
    authority = make_authority("e2e", period)
    write_pair(PairFiles.of(directory / "ca.pem"), authority)
    for kind in (Kind.SERVER, Kind.PEER):
        for name in names:
            pair = issue(authority, kind, name, ("127.0.0.1",), period)
            write_pair(PairFiles.of(directory / f"{kind}-{name}.pem"), pair)


@cache
def client_context(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


def environment() -> dict[str, str]:
    """This process's, without what would configure a member or lead requests to a proxy."""
    names = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    return {k: v for k, v in os.environ.items() if not k.startswith("ETCD") and k.upper() not in names}


def is_healthy(member: Member) -> bool:
    assert member.is_running, f"{member.name} ended:\n{member.log.read_text()}"
    try:
        return member.request("GET", "/health", seconds=2).status == 200
    except (OSError, http.client.HTTPException):
        return False


def eventually(condition: Callable[[], Found | None], what: str, seconds: float = DEADLINE_SECONDS) -> Found:
    """What `condition` gives, once it is neither None nor False."""
    deadline = time.monotonic() + seconds
    while (found := condition()) is None or found is False:
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.02)
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(FIRST_PORT, LAST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
