"""ReadIndex (thesis, section 6.4): a read gets its index only after a majority of the voters has shown, later than the
read was asked for, that it still follows the leader that names it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from raft.messages import Message, MessageType

from ..quorum import is_majority
from .one_change import OneChange

ANSWERS = frozenset({MessageType.HEARTBEAT_RESP, MessageType.APP_RESP})
CONFIGURATIONS = 3
"""A membership change may come between a confirmation and now; so many last ones count."""


class ReadsConfirmed:
    """`_followed` has, by leader and term, when each member last said so; moments are numbered here."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._moment = 0
        self._asked: dict[tuple[Any, int, bytes], int] = {}
        self._followed: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)

    def read_asked(self, member: Any, context: bytes) -> None:
        self._moment += 1
        self._asked[member, member.life, context] = self._moment

    def sending(self, member: Any, message: Message) -> None:
        if message.type in ANSWERS:
            self._moment += 1
            self._followed[message.to, message.term][member.id] = self._moment

    def read_confirmed(self, member: Any, state: Any) -> None:
        asked = self._asked.pop((member, member.life, state.context), None)
        if asked is None:
            self._world.fail("reads confirmed", f"{member} gets an index for a read that it has not asked, or twice")
            return
        for configuration in self._configurations():
            if any(is_majority(self._since(asked, lead, term), configuration) for lead, term in self._followed):
                return
            if tuple(configuration) == (member.id,):
                return
        text = f"{member} gets index {state.index} for a read, without a majority since it was asked"
        self._world.fail("reads confirmed", text)

    def _since(self, asked: int, lead: int, term: int) -> set[int]:
        return {lead, *(member for member, moment in self._followed[lead, term].items() if moment > asked)}

    def _configurations(self) -> list[Any]:
        known = self._watch.get(OneChange).configurations
        latest = [known[index].voters for index in sorted(known)[-CONFIGURATIONS:]]
        return latest + [member.raw.conf_state.voters for member in self._world.running()]
