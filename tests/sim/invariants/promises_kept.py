"""Promises are kept (Raft paper, section 5.1, figure 2: "updated on stable storage before responding to RPCs"): when
a message leaves, what it says about the sender's disk is on that disk: its term, its vote, the entries that it
acknowledges. And one member gives one vote in a term (section 5.2), over all its lives."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, MessageType

APP_RESP, VOTE, VOTE_RESP = MessageType.APP_RESP, MessageType.VOTE, MessageType.VOTE_RESP
FREE = frozenset(
    {
        MessageType.PRE_VOTE,
        MessageType.PRE_VOTE_RESP,
        MessageType.PROP,
        MessageType.READ_INDEX,
        MessageType.TRANSFER_LEADER,
    }
)


class PromisesKept:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._votes: dict[tuple[Any, int], int] = {}

    def sending(self, member: Any, message: Message) -> None:
        kind = message.type
        if kind in FREE or (kind == MessageType.READ_INDEX_RESP and not message.index):
            return
        durable = member.durable
        if durable.hard_state.term < message.term:
            self._fail(member, message, f"its disk is in term {durable.hard_state.term}")
        if kind == VOTE_RESP and not message.reject:
            self._voted(member, message, message.to)
        elif kind == VOTE:
            self._voted(member, message, member.id)
        elif kind == APP_RESP and not message.reject:
            self._acknowledged(member, message)

    def _voted(self, member: Any, message: Message, candidate: int) -> None:
        state = member.durable.hard_state
        if state.term == message.term and state.vote != candidate:
            self._fail(member, message, f"its disk has the vote {state.vote:x}")
        if self._votes.setdefault((member, message.term), candidate) != candidate:
            self._fail(member, message, "it has voted for another one in that term")

    def _acknowledged(self, member: Any, message: Message) -> None:
        durable, index = member.durable, message.index
        if index > durable.last:
            self._fail(member, message, f"its disk ends at {durable.last}")
        held = member.raw._raft.log.term(index)
        if index > durable.base and held is not None and durable.terms.get(index) != held:
            self._fail(
                member, message, f"its disk has {index} of term {durable.terms.get(index)}, its memory of {held}"
            )

    def _fail(self, member: Any, message: Message, text: str) -> None:
        what = f"{MessageType(message.type).name} term {message.term} index {message.index}"
        self._world.fail("promises kept", f"{member} sends {what}, but {text}")
