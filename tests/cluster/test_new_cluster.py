"""`--force-new-cluster`: whatever its log holds, the survivor can go on alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from fake_disk import FakeDisk
from node_harness import Ledger
from storage_harness import SNAP_DIR, WAL_DIR, Pause, finish

from cluster.codec import pack_commands, pack_value, unpack_value, with_prefix
from cluster.membership import Member, Membership
from cluster.new_cluster import force_new_cluster
from cluster.storage import StorageConfig, create_storage, open_storage
from cluster.syncer import InlineSyncer
from cluster.wal.repair import Metadata
from raft import confchange
from raft.messages import ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Snapshot

DIRECTORY = SimpleNamespace(wal_dir=WAL_DIR, snap_dir=SNAP_DIR)
CONFIG = StorageConfig()
OWN = 2


def member(member_id: int) -> Member:
    return Member(member_id, f"m{member_id}", (f"http://m{member_id}:1",))


def command(index: int, value: str) -> Entry:
    return Entry(1, index, EntryType.NORMAL, with_prefix(5, pack_commands(index, [pack_value(value)])))


def change(index: int, kind: ConfChangeType, whom: int) -> Entry:
    context = pack_value([index, member(whom)])
    return Entry(1, index, EntryType.CONF_CHANGE, confchange.encode(ConfChange(kind, whom, context)))


def begun(*entries: Entry, commit: int) -> FakeDisk:
    """Member 2 of three, with that log."""
    disk = FakeDisk()
    header = pack_value([Membership(7, map(member, (1, 2, 3))).pack(), 0])
    first = Snapshot(1, 1, ConfState((1, 2, 3)))
    create_storage(disk, WAL_DIR, SNAP_DIR, Metadata(7, OWN), first, header, Ledger().dump())
    storage = open_storage(disk, WAL_DIR, SNAP_DIR, InlineSyncer(), Pause, CONFIG).storage
    finish(storage.save(HardState(1, 1, commit), entries, None, must_sync=True))
    storage.close()
    return disk


def force(disk: FakeDisk) -> tuple[Snapshot, Membership, list[str]]:
    asyncio.run(force_new_cluster(disk, DIRECTORY, InlineSyncer(), Pause, CONFIG, Ledger()))  # type: ignore[arg-type]
    opened = open_storage(disk, WAL_DIR, SNAP_DIR, InlineSyncer(), Pause, CONFIG)
    assert opened.storage.last_index == opened.snapshot.snapshot.index
    membership, ledger = Membership(7), Ledger()
    membership.load(unpack_value(opened.snapshot.header)[0])
    ledger.load(opened.snapshot.pieces())
    return opened.snapshot.snapshot, membership, ledger.commands


def test_it_keeps_all_of_its_log_and_the_others_are_removed():
    disk = begun(command(2, "committed"), command(3, "perhaps committed"), commit=2)
    snapshot, membership, commands = force(disk)
    assert snapshot == Snapshot(4, 2, ConfState((OWN,)))
    assert (membership.members, membership.removed) == ([member(OWN)], {1, 3})
    assert commands == ["committed", "perhaps committed"]
    assert force(disk)[0] == snapshot, "a second time changes nothing"


@pytest.mark.parametrize("commit", [1, 2, 3])
def test_even_if_the_others_were_about_to_remove_it(commit: int):
    """Else it would stop at its next start, and with it the last copy."""
    disk = begun(command(2, "a"), change(3, ConfChangeType.REMOVE, OWN), command(4, "b"), commit=commit)
    snapshot, membership, commands = force(disk)
    assert snapshot.conf_state == ConfState((OWN,))
    assert (membership.members, membership.removed) == ([member(OWN)], {1, 3})
    assert commands == ["a", "b"]
