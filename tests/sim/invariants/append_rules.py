"""What a follower does with entries and snapshots (Raft paper, figure 2, AppendEntries RPC, "Receiver implementation",
and section 7): what it acknowledges is in its log as it came, what did not conflict stays, it commits no more than what
the leader sent or what it held for committed, and it acknowledges no more than that."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, MessageType

APP, SNAP, APP_RESP = MessageType.APP, MessageType.SNAP, MessageType.APP_RESP


class AppendRules:
    """`_before` has term, last index, commit index and whether an entry of the message conflicts."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._before = (0, 0, 0, False)

    def stepping(self, member: Any, raft: Any, message: Message) -> None:
        if message.type == APP:
            log = raft.log
            held = [(log.term(entry.index), entry.term) for entry in message.entries if entry.index > log.commit]
            conflicts = any(term not in (None, sent) for term, sent in held)
            self._before = raft.term, log.last_index, log.commit, conflicts
        elif message.type == SNAP:
            self._before = raft.term, raft.log.last_index, raft.log.commit, True

    def stepped(self, member: Any, raft: Any, message: Message) -> None:
        if message.type not in (APP, SNAP) or message.term != raft.term:
            return
        _, last_index, commit, conflicts = self._before
        end = self._end(message)
        log, answer = raft.log, raft.persisted_messages[-1] if raft.persisted_messages else None
        if log.commit > max(commit, end):
            self._fail(member, message, f"commits {log.commit}, it held {commit} for committed and got up to {end}")
        if log.last_index < last_index and not conflicts:
            self._fail(member, message, f"ends at {log.last_index} and had no conflict up to {last_index}")
        if answer is None or answer.type != APP_RESP or answer.to != message.sender:
            self._fail(member, message, "gives no answer")
        elif answer.reject:
            self._check_hint(member, raft, message, answer.reject_hint)
        else:
            self._check_taken(member, raft, message, answer.index, max(commit, end))

    @staticmethod
    def _end(message: Message) -> int:
        if message.type == SNAP:
            return message.snapshot.index if message.snapshot is not None else 0
        return message.index + len(message.entries)

    def _check_hint(self, member: Any, raft: Any, message: Message, hint: int) -> None:
        """All entries of terms later than the leader's are skipped at once, and no others."""
        log = raft.log
        index = min(message.index, log.last_index)
        while index >= log.first_index and (log.term(index) or 0) > message.log_term:
            index -= 1
        if hint < min(index, log.last_index) and index >= log.first_index:
            self._fail(member, message, f"sends the leader back to {hint}, and may agree at {index}")

    def _check_taken(self, member: Any, raft: Any, message: Message, acknowledged: int, most: int) -> None:
        if acknowledged > most:
            self._fail(member, message, f"acknowledges {acknowledged}, of which it knows up to {most}")
        for entry in message.entries:
            held = raft.log.term(entry.index)
            if entry.index <= acknowledged and held != entry.term and entry.index >= raft.log.first_index:
                self._fail(member, message, f"has {entry.index} of term {held}, and was sent one of {entry.term}")

    def _fail(self, member: Any, message: Message, text: str) -> None:
        what = f"{MessageType(message.type).name} {message.index} +{len(message.entries)}"
        self._world.fail("append rules", f"{member} takes {what} and {text}")
