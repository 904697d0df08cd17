"""`--force-new-cluster`: one surviving member's data becomes a cluster of that one member.

For when the majority is lost for good. Everything in the member's log counts as committed from now on: some of it
was acknowledged by a leader that had the majority, and from here nobody can tell which. The other members are
removed, so that one that comes back after all is told so. The cluster's id and the member's stay.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from cluster.applier import Applier, SnapshotContent
from cluster.data_dir import DataDir
from cluster.disk import Disk
from cluster.membership import Member, Membership
from cluster.pending import Pending
from cluster.snapshotter import Snapshotter
from cluster.state_machine import StateMachine
from cluster.storage import StorageConfig, open_storage
from cluster.syncer import Syncer
from raft import confchange
from raft.messages import ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Snapshot

log = logging.getLogger(__name__)

_ALL = 1 << 62


async def force_new_cluster(
    disk: Disk,
    directory: DataDir,
    syncer: Syncer,
    pause: Callable[[], Awaitable[object]],
    config: StorageConfig,
    state_machine: StateMachine,
) -> None:
    """Rewrites the data directory of a member that does not run. Does nothing if it is alone already. Uses up
    `state_machine` and `syncer`. Raises what opening and saving raise."""
    opened = open_storage(disk, directory.wal_dir, directory.snap_dir, syncer, pause, config)
    storage, own_id = opened.storage, opened.metadata.member_id
    membership = Membership(opened.metadata.cluster_id)
    applier = Applier(
        state_machine,
        membership,
        Pending(),
        lambda change: ConfState(),
        lambda snapshot: SnapshotContent(opened.snapshot.header, opened.snapshot.pieces()),
    )
    applier.restore(opened.snapshot.snapshot)
    if storage.last_index >= storage.first_index:
        entries = storage.entries(storage.first_index, storage.last_index + 1, _ALL)
        applier.apply([entry for entry in entries if not _removes(own_id, entry)])
    if [member.id for member in membership.members] != [own_id]:
        _leave_only(membership, own_id)
        term = storage.initial_state()[0].term + 1
        snapshot = Snapshot(storage.last_index + 1, term, ConfState((own_id,)))
        Snapshotter(disk, directory.snap_dir).write(snapshot, applier.header(), state_machine.dump())
        await storage.save(HardState(term, 0, snapshot.index), (), snapshot, must_sync=True)
        log.warning("this member is a new cluster of its own", extra={"fields": {"raft_index": snapshot.index}})
    storage.close()


def _removes(member_id: int, entry: Entry) -> bool:
    """What the others decided of this member, perhaps without ever committing it, no longer counts: it is the last."""
    if entry.type != EntryType.CONF_CHANGE:
        return False
    change = confchange.decode(entry.data)
    return change.type == ConfChangeType.REMOVE and change.node_id == member_id


def _leave_only(membership: Membership, own_id: int) -> None:
    for member in membership.members:
        if member.id != own_id:
            membership.apply(ConfChange(ConfChangeType.REMOVE, member.id), Member(member.id, "", ()))
        elif member.is_learner:
            membership.apply(ConfChange(ConfChangeType.ADD_VOTER, own_id), member)
