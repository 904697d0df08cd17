"""Leadership transfer (thesis, section 3.10): it ends within an election timeout, one way or the other; while it goes
on, the leader takes nothing new in; only a voter that has everything is told to take over."""

from __future__ import annotations

from typing import Any

from raft.messages import NONE, Message, MessageType, Role

LEADER, TIMEOUT_NOW = Role.LEADER, MessageType.TIMEOUT_NOW


class TransferEnds:
    """`_since` has (term, to whom, ticks until now, the log's end when it began) of each leader that hands over."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._since: dict[Any, tuple[int, int, int, int]] = {}

    def moved(self, member: Any, raft: Any, role: int) -> None:
        to = raft.lead_transferee
        if raft.role != LEADER or to == NONE:
            self._since.pop(member, None)
            return
        known = self._since.get(member)
        if known is None or known[:2] != (raft.term, to):
            self._since[member] = (raft.term, to, 0, raft.log.last_index)
        elif raft.log.last_index != known[3]:
            self._world.fail("transfer ends", f"{member} appends {raft.log.last_index} while it hands over")

    def ticked(self, member: Any, raft: Any) -> None:
        if raft.role != LEADER or raft.lead_transferee == NONE or member not in self._since:
            return
        term, to, ticks, end = self._since[member]
        self._since[member] = (term, to, ticks + 1, end)
        if (term, to) == (raft.term, raft.lead_transferee) and ticks + 1 > raft.config.election_ticks:
            self._world.fail("transfer ends", f"{member} hands over to {to:x} for {ticks + 1} ticks")

    def sending(self, member: Any, message: Message) -> None:
        if message.type != TIMEOUT_NOW:
            return
        raft = member.raw._raft
        if raft.role == LEADER and raft.lead_transferee == message.to:
            match, end = raft.tracker.progress[message.to].match, raft.log.last_index
            if match != end:
                self._world.fail("transfer ends", f"{member} hands over to {message.to:x}, which has {match} of {end}")
        if message.to not in member.raw.conf_state.voters:
            self._world.fail("transfer ends", f"{member} hands over to {message.to:x}, which is no voter")
