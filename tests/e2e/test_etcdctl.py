"""Debian's etcdctl against the three members."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from procfile import Processes, environment, eventually, processes

ETCDCTL = shutil.which("etcdctl")
pytestmark = pytest.mark.skipif(ETCDCTL is None, reason="no `etcdctl` on PATH (apt-get install etcd-client)")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("etcdctl")) as members:
        members.start()
        yield members


def etcdctl(cluster: Processes, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        _command(cluster, *arguments), env=_ENV, capture_output=True, text=True, timeout=20, check=False
    )
    return done.returncode, done.stdout, done.stderr


_ENV = {**environment(), "ETCDCTL_API": "2"}


def _command(cluster: Processes, *arguments: str) -> list[str]:
    endpoints = ",".join(member.url for member in cluster.members)
    return [str(ETCDCTL), "--endpoints", endpoints, "--ca-file", str(cluster.members[0].ca_file), *arguments]


def test_keys_and_directories(cluster: Processes) -> None:
    assert etcdctl(cluster, "set", "/message", "Hello") == (0, "Hello\n", "")
    assert etcdctl(cluster, "get", "--quorum", "/message") == (0, "Hello\n", "")
    assert etcdctl(cluster, "mk", "/made", "x") == (0, "x\n", "")
    assert etcdctl(cluster, "mk", "/made", "x")[0] == 4
    assert etcdctl(cluster, "mkdir", "/dir") == (0, "", "")
    assert etcdctl(cluster, "set", "/dir/a", "1") == (0, "1\n", "")
    assert etcdctl(cluster, "ls", "--recursive", "--sort", "/") == (0, "/dir\n/dir/a\n/made\n/message\n", "")
    assert etcdctl(cluster, "rm", "/made") == (0, "PrevNode.Value: x\n", "")
    assert etcdctl(cluster, "rm", "--recursive", "/dir") == (0, "", "")
    assert etcdctl(cluster, "get", "/made")[0] == 4


def test_watch(cluster: Processes) -> None:
    with subprocess.Popen(_command(cluster, "watch", "/w"), env=_ENV, stdout=subprocess.PIPE, text=True) as watching:
        try:
            eventually(lambda: watching.poll() is not None or not cluster.followers[0].put("/w", value="seen"), "event")
            assert watching.communicate(timeout=5)[0] == "seen\n"
        finally:
            watching.kill()


def test_cluster_health_and_members(cluster: Processes) -> None:
    code, out, _ = etcdctl(cluster, "cluster-health")
    assert code == 0
    assert out.count("is healthy: got healthy result from") == 3
    assert out.endswith("cluster is healthy\n")
    code, out, _ = etcdctl(cluster, "member", "list")
    assert code == 0
    assert all(f"name={member.name} " in out and f"clientURLs={member.url} " in out for member in cluster.members)
    assert out.count("isLeader=true") == 1


def test_a_member_that_is_down_is_reported(cluster: Processes) -> None:
    down = cluster.followers[0]
    down.kill()
    try:
        code, out, _ = etcdctl(cluster, "cluster-health")
        assert "is unreachable" in out
        assert out.endswith("cluster is degraded\n")
        assert code == 5
    finally:
        cluster.start()
