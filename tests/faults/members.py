"""Members over plain HTTP as real processes, each with its data in a directory of its own."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from procfile import ROOT, environment, eventually, free_ports

DEADLINE_SECONDS = 20.0
QUICK = {"ETCD_HEARTBEAT_INTERVAL": "50", "ETCD_ELECTION_TIMEOUT": "500"}
"""Half of etcd's own times."""


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
    """A cluster's member, started and ended as often as one likes. `variables` are its environment and may be changed
    between two starts."""

    def __init__(self, name: str, directory: Path, peer_url: str, url: str, initial_cluster: str) -> None:
        self.name = name
        self.url = url
        self.peer_url = peer_url
        self.data_dir = directory / name
        self.log_file = directory / f"{name}.log"
        self.variables: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.command = [sys.executable, "-m", "etcdpy", "--name", name, "--data-dir", str(self.data_dir)]
        self.command += ["--listen-client-urls", url, "--advertise-client-urls", url]
        self.command += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
        self.command += ["--initial-cluster", initial_cluster]

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def segments(self) -> list[Path]:
        return sorted((self.data_dir / "member" / "wal").glob("*.wal"))

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        assert not self.is_running
        with self.log_file.open("ab") as log:
            variables = {**environment(), **self.variables}
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log, env=variables)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def request(self, method: str, target: str, body: str | None = None, seconds: float = DEADLINE_SECONDS) -> Answer:
        """Raises OSError or HTTPException where there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.url.rpartition(":")[2]), timeout=seconds)
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
        return self._says("/v2/stats/self", lambda answer: answer.json["state"] == "StateLeader")

    def is_healthy(self) -> bool:
        assert self.is_running, f"{self.name} ended:\n{self.log}"
        return self._says("/health", lambda answer: True)

    def _says(self, target: str, judge: Any) -> bool:
        try:
            answer = self.request("GET", target, seconds=2)
        except (OSError, http.client.HTTPException):
            return False
        return answer.status == 200 and bool(judge(answer))


class Members(list[Member]):
    """A cluster's."""

    def start(self) -> None:
        """Starts those that do not run, and waits until each takes part in a majority."""
        for member in self:
            if not member.is_running:
                member.start()
        for member in self:
            eventually(member.is_healthy, f"healthy {member.name}")

    @property
    def leader(self) -> Member:
        return eventually(lambda: next((each for each in self if each.is_running and each.leads()), None), "leader")

    @property
    def followers(self) -> list[Member]:
        leader = self.leader
        return [member for member in self if member is not leader]

    def kill(self) -> None:
        for member in self:
            member.kill()

    @property
    def tracebacks(self) -> list[str]:
        return [member.log for member in self if "Traceback" in member.log]


@contextmanager
def members(
    directory: Path, count: int = 3, variables: Mapping[str, str] = QUICK, flags: Sequence[str] = ()
) -> Iterator[Members]:
    """Not started. At the end they are killed, and none may ever have shown a traceback."""
    ports = free_ports(2 * count)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    initial_cluster = ",".join(f"m{i}={urls[2 * i]}" for i in range(count))
    cluster = Members(Member(f"m{i}", directory, urls[2 * i], urls[2 * i + 1], initial_cluster) for i in range(count))
    for member in cluster:
        member.variables.update(variables)
        member.command += flags
    try:
        yield cluster
    finally:
        cluster.kill()
    assert not cluster.tracebacks, cluster.tracebacks[0]
