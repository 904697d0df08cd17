"""Raft happening, in words: one line for each message, entry and Ready, for logs and for transcripts in tests."""

from __future__ import annotations

from collections.abc import Sequence

from raft import confchange
from raft.messages import ConfChangeType, ConfState, Entry, EntryType, Message, MessageType, Ready, Role
from raft.rawnode import Status


def describe_entry(entry: Entry) -> str:
    """As `term/index what`."""
    where = f"{entry.term}/{entry.index}"
    if entry.type == EntryType.CONF_CHANGE:
        change = confchange.decode(entry.data)
        return f"{where} {ConfChangeType(change.type).name} {change.node_id}"
    return f"{where} {entry.data!r}" if entry.data else f"{where} no-op"


def describe_entries(entries: Sequence[Entry]) -> str:
    return "[" + ", ".join(describe_entry(entry) for entry in entries) + "]"


def describe_conf_state(conf_state: ConfState) -> str:
    voters = " ".join(map(str, conf_state.voters))
    learners = " ".join(map(str, conf_state.learners))
    return f"voters {voters}" + (f" learners {learners}" if learners else "")


def describe_message(message: Message) -> str:
    """As `1->2 APP term 1 ...`: fields that are zero or empty are left out."""
    fields = [f"{message.sender}->{message.to}", MessageType(message.type).name]
    if message.term:
        fields.append(f"term {message.term}")
    if message.log_term:
        fields.append(f"at {message.log_term}/{message.index}")
    elif message.index:
        fields.append(f"index {message.index}")
    if message.entries:
        fields.append(describe_entries(message.entries))
    if message.commit:
        fields.append(f"commit {message.commit}")
    if message.reject:
        fields.append(f"rejected, hint {message.reject_hint}")
    if message.context:
        fields.append(f"context {message.context!r}")
    if message.snapshot is not None:
        fields.append(f"snapshot {message.snapshot.term}/{message.snapshot.index}")
        fields.append(describe_conf_state(message.snapshot.conf_state))
    return " ".join(fields)


def describe_ready(ready: Ready) -> list[str]:
    """One line for each thing that the caller owes, in the order in which it is due."""
    lines = []
    if ready.soft_state is not None:
        lines.append(f"now {Role(ready.soft_state.role).name}, leader {ready.soft_state.lead or 'unknown'}")
    lines += [f"send {describe_message(message)}" for message in ready.messages]
    if ready.hard_state is not None:
        term, vote, commit = ready.hard_state
        lines.append(f"save term {term} vote {vote or 'nobody'} commit {commit}" + (" sync" * ready.must_sync))
    if ready.snapshot is not None:
        lines.append(f"save snapshot {ready.snapshot.term}/{ready.snapshot.index}")
    if ready.entries:
        lines.append(f"save {describe_entries(ready.entries)}")
    lines += [f"then send {describe_message(message)}" for message in ready.persisted_messages]
    if ready.committed_entries:
        lines.append(f"apply {describe_entries(ready.committed_entries)}")
    lines += [f"read {state.context!r} at {state.index or 'dropped'}" for state in ready.read_states]
    return lines


def describe_status(status: Status) -> list[str]:
    """The member, and what it knows of the others if it leads."""
    lines = [
        f"{status.id}: {status.role.name} term {status.term} leader {status.lead or 'unknown'} commit {status.commit} "
        f"applied {status.applied} last {status.last_index} {describe_conf_state(status.conf_state)}"
    ]
    for member, progress in status.progress.items():
        active = "" if progress.recent_active else " silent"
        lines.append(f"   {member}: {progress.state.name} match {progress.match} next {progress.next}{active}")
    return lines
