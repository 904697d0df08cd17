"""Logs are repaired by whole terms, not entry by entry (Raft paper, section 5.3: "reduce the number of rejected
AppendEntries RPCs"; openraft 6d53aa12): between two acknowledgements a follower that is probed makes its leader go back
no more often than there are terms in their two logs after that."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, MessageType, Role
from raft.progress import ProgressState

APP_RESP, LEADER, PROBE = MessageType.APP_RESP, Role.LEADER, ProgressState.PROBE
MORE = 3
"""The first guess, the start of the log, and one that was too late."""


class QuickRepair:
    """`_steps` has how often a leader, in a term, went back for a member that has acknowledged so much."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._steps: dict[tuple[Any, int, int], tuple[int, int]] = {}
        self._next = 0

    def stepping(self, member: Any, raft: Any, message: Message) -> None:
        peer = raft.progress_of(message.sender) if message.type == APP_RESP and raft.role == LEADER else None
        self._next = peer.next if peer is not None and peer.state == PROBE else 0

    def stepped(self, member: Any, raft: Any, message: Message) -> None:
        peer = raft.progress_of(message.sender) if self._next and raft.role == LEADER else None
        if peer is None or peer.next >= self._next:
            return
        key = (member, raft.term, peer.id)
        match, steps = self._steps.get(key, (0, 0))
        steps = steps + 1 if match == peer.match else 1
        self._steps[key] = peer.match, steps
        follower = self._world.members.get(peer.id)
        if follower is None:
            return
        agreed = max(peer.match, follower.durable.hard_state.commit)
        terms = _terms_after(agreed, member) + _terms_after(agreed, follower)
        if steps > terms + MORE:
            text = f"{member} goes back {steps} times for {follower}, and there are {terms} terms in their logs"
            self._world.fail("quick repair", text)


def _terms_after(index: int, member: Any) -> int:
    return len({term for position, term in member.durable.terms.items() if position > index})
