"""`etcdpyctl member rebuild`: a member whose log is damaged in the middle gets its data from its peers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from members import Member, Members, members
from procfile import environment, eventually

KEYS = 40


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Members]:
    with members(tmp_path) as started:
        started.start()
        for i in range(KEYS):
            assert started[i % 3].put(f"/k/{i}", value=str(i)).status == 201
        yield started


def rebuild(member: Member, others: list[Member], *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("etcdpyctl")), "member", "rebuild"]
    command += ["--data-dir", str(member.data_dir), "--endpoints", ",".join(other.url for other in others), *options]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=40, check=False)


def damage_in_the_middle(path: Path) -> int:
    """Turns one bit of a record over. Returns where."""
    data = path.read_bytes()
    offset = data.index(b"/k/20")
    path.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
    return offset


def ids_by_name(member: Member) -> dict[str, str]:
    return {each["name"]: each["id"] for each in member.request("GET", "/v2/members").json["members"]}


def test_a_damaged_log_is_refused_and_one_command_rebuilds_the_member(cluster: Members) -> None:
    victim, *others = cluster.followers[0], cluster.leader, cluster.followers[1]
    before = ids_by_name(others[0])
    victim.kill()
    damaged = victim.segments[-1]
    damaged_at = damage_in_the_middle(damaged)
    victim.start()
    assert victim.wait() == 1
    refusal = victim.log.splitlines()[-1]
    assert str(damaged) in refusal
    assert f"offset {damaged_at // 512 * 512}" in refusal

    done = rebuild(victim, others)
    assert done.returncode == 0, done.stderr
    cluster.start()

    assert all(victim.get(f"/k/{i}", quorum="true").node["value"] == str(i) for i in range(KEYS))
    assert victim.put("/after", value="rebuilt").status == 201
    after = eventually(lambda: ids_by_name(victim) if victim.name in ids_by_name(victim) else None, "published name")
    assert {name: after[name] for name in before if name != victim.name} == {
        name: before[name] for name in before if name != victim.name
    }
    assert after[victim.name] != before[victim.name]
    assert b"/k/" in (victim.data_dir / "member.aside-1" / "wal" / damaged.name).read_bytes()

    # It votes: with it, one of the others can be missed.
    others[0].kill()
    eventually(lambda: victim.put("/without", value="one").status == 201, "write with the rebuilt member's vote")
    others[0].start()
    cluster.start()
    victim.kill()
    cluster.start()
    assert victim.get("/after", quorum="true").node["value"] == "rebuilt"


def test_a_member_that_lost_its_disk_is_rebuilt_by_its_name(cluster: Members, tmp_path: Path) -> None:
    victim, *others = cluster.leader, *cluster.followers
    victim.kill()
    data_dir = victim.data_dir
    data_dir.rename(tmp_path / "lost")
    data_dir.mkdir()
    eventually(lambda: next((other for other in others if other.leads()), None), "leader")

    nameless = rebuild(victim, others)
    assert nameless.returncode == 1
    assert "--name is needed" in nameless.stderr
    done = rebuild(victim, others, "--name", victim.name)
    assert done.returncode == 0, done.stderr
    cluster.start()
    assert victim.get("/k/1", quorum="true").node["value"] == "1"


def test_a_running_member_is_left_alone(cluster: Members) -> None:
    victim, *others = cluster
    done = rebuild(victim, others)
    assert done.returncode == 1
    assert "in use by another process" in done.stderr
    assert victim.name in ids_by_name(victim)


def test_without_a_majority_nothing_is_changed(cluster: Members) -> None:
    victim, second, third = cluster
    before = ids_by_name(second)
    victim.kill()
    third.kill()
    done = rebuild(victim, [second])
    assert done.returncode == 1, done.stdout
    assert "refuses" in done.stderr
    assert victim.segments[-1].exists()
    cluster.start()
    assert ids_by_name(second) == before
    assert json.loads(victim.get("/k/1", quorum="true").body)["node"]["value"] == "1"
