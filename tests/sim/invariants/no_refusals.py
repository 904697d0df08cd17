"""Honest members understand each other (Raft paper, section 5): whatever any of them says, the other one can take in.
What raft refuses as impossible was said by a member that is wrong, or refused by one."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, MessageType


class NoRefusals:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world

    def refused(self, member: Any, message: Message, refusal: Exception) -> None:
        sender = self._world.members.get(message.sender)
        text = f"{member} refuses {MessageType(message.type).name} of {sender}: {refusal}"
        self._world.fail("no refusals", text)
