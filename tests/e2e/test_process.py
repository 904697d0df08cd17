"""The process: exit codes, signals, one line for each failure, and a disk that fails."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from procfile import ROOT, Member, Processes, environment, eventually, processes

STRACE = shutil.which("strace")
STOP_SECONDS = 5.0


def etcdpy(*arguments: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "etcdpy", *arguments],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data-dri", "x"), "--data-dir"),
        (("--listen-client-urls", "http://127.0.0.1", "--advertise-client-urls", "http://127.0.0.1:1"), "host:port"),
        (("--listen-peer-urls", "127.0.0.1:2380"), "scheme"),
        (("--name", "a", "--initial-cluster", "b=http://127.0.0.1:2380"), '"a"'),
        (("--heartbeat-interval", "100", "--election-timeout", "499"), "499"),
        (("--snapshot-count", "many"), "many"),
        (("--initial-cluster-state", "old"), "old"),
        (("--log-format", "xml"), "xml"),
        (("--heartbeat-interval",), "argument"),
        (("stray",), "stray"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = etcdpy("--data-dir", str(tmp_path / "data"), *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "data" / "member").exists()


def test_a_wrong_value_in_the_environment_is_one_line_and_exit_code_2() -> None:
    code, out, err = etcdpy(ETCD_ELECTION_TIMEOUT="soon")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "ETCD_ELECTION_TIMEOUT" in err


def test_help_and_version() -> None:
    code, out, err = etcdpy("--help")
    assert (code, err) == (0, "")
    assert "--initial-cluster" in out
    code, out, err = etcdpy("--version")
    assert (code, err) == (0, "")
    assert re.search(r"\d+\.\d+\.\d+", out)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("members")) as members:
        yield members


@pytest.fixture
def cluster(started: Processes) -> Processes:
    """All members, healthy, whatever the test before has done to them."""
    started.start()
    return started


def test_a_data_directory_in_use_is_one_line_and_exit_code_2(cluster: Processes) -> None:
    first = cluster.members[0]
    second = subprocess.run(
        first.command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "in use by another process" in second.stderr
    assert first.put("/a", value="1").status in (200, 201)


def test_an_address_in_use_is_exit_code_1_at_once(tmp_path: Path) -> None:
    with processes(tmp_path) as cluster:
        first, second, _ = cluster.members
        first.start()
        eventually(lambda: "listening for clients" in first.log.read_text() or None, "listener")
        at = second.command.index("--listen-client-urls") + 1
        second.command[at] = first.url
        second.start()
        assert second.wait(10) == 1
        assert "address already in use" in second.log.read_text().lower()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_member_quickly_and_cleanly(cluster: Processes, number: signal.Signals) -> None:
    """The leader first, so that the second one that stops may just have been given the lead."""
    cluster.members[0].put("/a", value=number.name)
    for member in [cluster.leader, *cluster.followers]:
        member.send(number)
        assert member.wait(STOP_SECONDS) == 0
    cluster.start()
    assert cluster.members[0].get("/a", quorum="true").node["value"] == number.name


def test_a_member_with_clients_that_wait_stops_quickly(cluster: Processes) -> None:
    follower = cluster.followers[0]
    waiting = [follower.connection() for _ in range(20)]
    try:
        for connection in waiting:
            connection.request("GET", "/v2/keys/w?wait=true&stream=true")
            assert connection.getresponse().status == 200
        follower.send(signal.SIGTERM)
        assert follower.wait(STOP_SECONDS) == 0
    finally:
        for connection in waiting:
            connection.close()


@pytest.mark.skipif(STRACE is None, reason="no `strace` on PATH (apt-get install strace)")
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_failed_fsync_ends_the_member_with_a_clear_line_and_no_acknowledged_write_is_lost(
    cluster: Processes, role: str
) -> None:
    leader = cluster.leader
    victim = leader if role == "leader" else cluster.followers[0]
    with failing_fsync(victim):
        acknowledged = write_until_it_ends(victim, cluster, role)
    assert victim.wait(5) == 1
    last = victim.log.read_text().rstrip().splitlines()[-1]
    assert "sync" in last
    assert "Input/output error" in last
    other = next(member for member in cluster.members if member is not victim)
    eventually(lambda: other.put(f"/after/{role}", value=role).status == 201, "a write")
    cluster.start()
    for key in [*acknowledged, f"/after/{role}"]:
        assert victim.get(key, quorum="true").node["value"] == role


@contextmanager
def failing_fsync(member: Member) -> Iterator[None]:
    """Every sync of the member's files fails, until the member ends."""
    inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    command = [str(STRACE), "-f", "-p", str(member.pid), "-o", "/dev/null", *inject]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        try:
            assert strace.stderr is not None
            assert b"attached" in strace.stderr.readline()
            yield
        finally:
            strace.terminate()


def write_until_it_ends(victim: Member, cluster: Processes, value: str) -> list[str]:
    """Keys that were acknowledged."""
    acknowledged = []
    deadline = time.monotonic() + 10
    i = 0
    while victim.is_running:
        assert time.monotonic() < deadline, f"{victim.name} goes on:\n{victim.log.read_text()}"
        try:
            if cluster.members[i % 3].put(f"/during/{value}/{i}", value=value).status == 201:
                acknowledged.append(f"/during/{value}/{i}")
        except (OSError, http.client.HTTPException):
            pass
        i += 1
    return acknowledged
