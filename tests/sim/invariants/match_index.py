"""What a leader knows of a follower is true (Raft paper, section 5.3, figure 2, matchIndex and nextIndex): a follower
acknowledges an index when its disk has the leader's own entry there, a leader counts what was acknowledged to it in its
term and nothing else, and what it sends next lies beyond that. What it has not got committed, it counts rightly."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, MessageType, Role

APP_RESP, LEADER = MessageType.APP_RESP, Role.LEADER


class MatchIndex:
    """`_acknowledged` is by (follower, leader, term)."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._acknowledged: dict[tuple[int, int, int], int] = {}

    def sending(self, member: Any, message: Message) -> None:
        if message.type != APP_RESP or message.reject:
            return
        key = (member.id, message.to, message.term)
        self._acknowledged[key] = max(self._acknowledged.get(key, 0), message.index)
        leader = self._world.members.get(message.to)
        if leader is None or not leader.is_leader or leader.raw.term != message.term:
            return
        log = leader.raw._raft.log
        if message.index > log.last_index:
            self._fail(member, f"acknowledges {message.index} to {leader}, which has {log.last_index}")
        theirs = log.term(message.index)
        if theirs is not None and not member.durable.holds(message.index, theirs):
            held = member.durable.terms.get(message.index)
            self._fail(member, f"acknowledges {message.index} of term {theirs} to {leader}, its disk has one of {held}")

    def moved(self, member: Any, raft: Any, role: int) -> None:
        if raft.role != LEADER:
            return
        log = raft.log
        for peer in raft.tracker.peers:
            if peer.match and peer.match > self._acknowledged.get((peer.id, member.id, raft.term), 0):
                self._fail(member, f"counts {peer.match} for {peer.id:x}, which has not acknowledged that")
            if not peer.match < peer.next <= log.last_index + 1 and peer.next != peer.pending_snapshot + 1:
                self._fail(member, f"would send {peer.next} to {peer.id:x}, which has {peer.match} of {log.last_index}")
        if len(raft.uncommitted_sizes) != log.last_index - log.commit:
            self._fail(member, f"counts {len(raft.uncommitted_sizes)} entries after {log.commit} as not committed")

    def ticked(self, member: Any, raft: Any) -> None:
        if raft.role != LEADER:
            return
        if raft.uncommitted_bytes != sum(raft.uncommitted_sizes):
            self._fail(member, f"counts {raft.uncommitted_bytes} bytes as not committed")
        for peer in raft.tracker.peers:
            inflights = peer.inflights
            if inflights.bytes != sum(size for _, size in inflights.sent):
                self._fail(member, f"counts {inflights.bytes} bytes as on their way to {peer.id:x}")
            if inflights.sent and inflights.sent[0][0] <= peer.match:
                self._fail(member, f"waits for {peer.id:x} to acknowledge {inflights.sent[0][0]}, it has {peer.match}")

    def _fail(self, member: Any, text: str) -> None:
        self._world.fail("match index", f"{member} {text}")
