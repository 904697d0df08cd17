"""`etcdpyctl member rebuild`, interrupted at each step and run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.bootstrap import InitialCluster, create_first_member
from cluster.data_dir import DataDir
from cluster.disk import RealDisk
from cluster.membership import Member, Membership
from cluster.wal.identity import read_metadata
from etcdpy.members_api import ClusterMembers
from etcdpy.rebuild import CannotRebuild, rebuild
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store

URLS = {f"m{i}": (f"http://127.0.0.1:{i}",) for i in range(1, 4)}
INITIAL = InitialCluster("m3", URLS, "token")


class Interrupted(Exception):
    pass


class FakeApi:
    """A cluster's members. The call number `fails_at` is carried out, and its answer never comes."""

    def __init__(self, fails_at: int = -1) -> None:
        known = Membership.bootstrap(URLS, INITIAL.token)
        self.cluster_id = known.cluster_id
        self.known = {member.id: member for member in known.members}
        self.removed: list[int] = []
        self.fails_at = fails_at
        self.calls = 0

    def members(self) -> ClusterMembers:
        known = ClusterMembers(self.cluster_id, list(self.known.values()))
        self._called()
        return known

    def remove(self, member_id: int) -> None:
        if self.known.pop(member_id, None) is not None:
            self.removed.append(member_id)
        self._called()

    def add(self, peer_urls: Sequence[str]) -> Member:
        assert not any(set(peer_urls) & set(each.peer_urls) for each in self.known.values())
        member = Member(1000 + self.calls, "", tuple(peer_urls))
        self.known[member.id] = member
        self._called()
        return member

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise Interrupted


def id_of(name: str) -> int:
    return next(each.id for each in Membership.bootstrap(URLS, INITIAL.token).members if each.name == name)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = DataDir.open(str(tmp_path / "m3"))
    create_first_member(RealDisk(), directory, INITIAL, EtcdStateMachine(Store()).dump())
    directory.close()
    return tmp_path / "m3"


def run(data_dir: Path, api: FakeApi, name: str | None = None) -> Member:
    directory = DataDir.open(str(data_dir))
    try:
        return rebuild(RealDisk(), directory, api, name, lambda line: None)  # type: ignore[arg-type]
    finally:
        directory.close()


def wal(data_dir: Path) -> Path:
    return data_dir / "member" / "wal"


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_a_rebuild_that_was_interrupted_anywhere_ends_well_when_run_again(data_dir: Path, fails_at: int) -> None:
    api, old_id = FakeApi(fails_at), id_of("m3")
    with pytest.raises(Interrupted):
        run(data_dir, api)
    added = run(data_dir, api)
    metadata = read_metadata(RealDisk(), str(wal(data_dir)))
    assert metadata is not None
    assert (metadata.member_id, metadata.cluster_id) == (added.id, api.cluster_id)
    assert sorted(api.known) == sorted([id_of("m1"), id_of("m2"), added.id])
    assert old_id in api.removed
    assert not (data_dir / "rebuild.json").exists()
    kept = [read_metadata(RealDisk(), str(path / "wal")) for path in data_dir.glob("member.aside-*")]
    assert old_id in [each.member_id for each in kept if each is not None]


def test_a_plan_of_an_earlier_id_does_not_spare_the_member_of_now(data_dir: Path) -> None:
    api = FakeApi()
    plan = data_dir / "rebuild.json"
    first = run(data_dir, api)
    plan.write_text('{"member_id": "5", "name": "m3", "peer_urls": ["http://127.0.0.1:9"]}')
    second = run(data_dir, api)
    assert first.id in api.removed
    assert second.peer_urls == URLS["m3"]


def test_a_member_of_another_cluster_is_left_alone(data_dir: Path) -> None:
    api = FakeApi()
    api.cluster_id += 1
    with pytest.raises(CannotRebuild, match="is of cluster"):
        run(data_dir, api)
    assert not api.removed
    assert list(wal(data_dir).glob("*.wal"))


def test_the_only_member_is_left_alone(data_dir: Path) -> None:
    api = FakeApi()
    api.known = {id_of("m3"): api.known[id_of("m3")]}
    with pytest.raises(CannotRebuild, match="no other member"):
        run(data_dir, api)
    assert not api.removed


def test_a_log_elsewhere_is_set_aside_within_its_directory(tmp_path: Path, data_dir: Path) -> None:
    moved = tmp_path / "wal-disk"
    wal(data_dir).rename(moved)
    directory = DataDir.open(str(data_dir), str(moved))
    try:
        added = rebuild(RealDisk(), directory, FakeApi(), None, lambda line: None)  # type: ignore[arg-type]
    finally:
        directory.close()
    assert len(list((moved / "aside-1").glob("*.wal"))) == 1
    metadata = read_metadata(RealDisk(), str(moved))
    assert metadata is not None
    assert metadata.member_id == added.id
