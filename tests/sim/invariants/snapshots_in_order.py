"""Snapshots (Raft paper, section 7): one that says nothing new is ignored, and one that the log already contains costs
no log. The log counts on a snapshot only when that is on disk, name and content: the mark comes later, never earlier.
What is taken in is what the maker had."""

from __future__ import annotations

import zlib
from typing import Any

from cluster.codec import pack_value
from raft.messages import Message, MessageType, Snapshot

SNAP = MessageType.SNAP


class SnapshotsInOrder:
    """`_made` has the fingerprint of the state of which a snapshot at that index was made."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._made: dict[int, int] = {}
        self._before: tuple[int, bool, Snapshot | None] = (0, False, None)

    def stepping(self, member: Any, raft: Any, message: Message) -> None:
        if message.type == SNAP and message.snapshot is not None:
            index, term = message.snapshot.index, message.snapshot.term
            self._before = raft.log.commit, raft.log.term(index) == term, raft.log.unstable.snapshot

    def stepped(self, member: Any, raft: Any, message: Message) -> None:
        if message.type != SNAP or raft.log.unstable.snapshot is not message.snapshot or message.snapshot is None:
            return
        commit, matched, pending = self._before
        if pending is message.snapshot:  # delivered twice, and still being saved
            return
        if message.snapshot.index <= commit:
            self._fail(member, f"takes in a snapshot at {message.snapshot.index}, though {commit} is committed there")
        if matched:
            self._fail(member, f"throws its log away for a snapshot at {message.snapshot.index}, which the log holds")

    def sending(self, member: Any, message: Message) -> None:
        self._check_marks(member)

    def after_step(self, member: Any, raft: Any) -> None:
        self._check_marks(member)

    def _check_marks(self, member: Any) -> None:
        if member.durable.unbacked is not None:
            self._fail(member, f"has the mark {member.durable.unbacked} in its log without a snapshot on its disk")

    # What is in it.

    def dumping(self, member: Any) -> None:
        self._made.setdefault(member.applier.applied_index, fingerprint(member))

    def restored(self, member: Any, snapshot: Snapshot) -> None:
        made = self._made.get(snapshot.index)
        if made is not None and made != fingerprint(member):
            self._fail(member, f"takes in a snapshot at {snapshot.index} and has another state than its maker")

    def _fail(self, member: Any, text: str) -> None:
        self._world.fail("snapshots in order", f"{member} {text}")


def fingerprint(member: Any) -> int:
    """Of the whole state, read from the store itself and not from what it would write down."""
    store, parts = member.store, []
    pending = [("", store.root)]
    while pending:
        above, directory = pending.pop()
        for name, node in directory.children.items():
            value = getattr(node, "value", None)
            parts.append((above, name, value, node.created_index, node.modified_index, node.expiration_ns))
            if value is None:
                pending.append((f"{above}/{name}", node))
    slots = [slot and (slot.action, slot.index, slot.node, slot.prev_node) for slot in store.history.slots()]
    whole = [
        *(store.index, store.history.last_index, store.stats.replicated(), parts, store.deadlines.live(), slots),
        *(member.membership.members, sorted(member.membership.removed), member.applier.stamp_ns),
    ]
    return zlib.crc32(pack_value(whole))
