"""A leader that does not hear a majority for an election timeout steps down (thesis, section 6.2): it could commit
nothing, and its clients would wait for ever."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, Role

from ..quorum import is_majority

LEADER = Role.LEADER


class QuorumHeard:
    """`_ticks` counts a leader's own ticks in its term; `_heard` has when it heard each member last, by those, and
    `_asked` its voters and since when it has had them."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._ticks: dict[tuple[Any, int], int] = {}
        self._heard: dict[tuple[Any, int], dict[int, int]] = {}
        self._asked: dict[tuple[Any, int], tuple[tuple[int, ...], int]] = {}

    def stepped(self, member: Any, raft: Any, message: Message) -> None:
        if raft.role == LEADER and message.term == raft.term:
            key = (member, raft.term)
            self._heard.setdefault(key, {})[message.sender] = self._ticks.get(key, 0)

    def ticked(self, member: Any, raft: Any) -> None:
        """The question is asked once in an election timeout, so nearly two may pass, or one with new voters. Who has
        just joined counts."""
        if raft.role != LEADER:
            return
        key = (member, raft.term)
        ticks = self._ticks[key] = self._ticks.get(key, 0) + 1
        heard = self._heard.setdefault(key, {})
        voters = raft.tracker.conf_state.voters
        if self._asked.get(key, ((), 0))[0] != voters:
            self._asked[key] = voters, ticks
        if ticks <= self._asked[key][1] + raft.config.election_ticks:
            return
        since = ticks - 2 * raft.config.election_ticks
        lively = [voter for voter in voters if voter == member.id or heard.setdefault(voter, ticks) >= since]
        if not is_majority(lively, voters):
            self._world.fail("quorum heard", f"{member} leads on, and hears {len(lively)} of {len(voters)} voters")
