"""A message comes in: is it possible at all, which term is it of, and whose handler is asked.

Source: Raft paper, section 5.1 (terms); thesis, sections 4.2.3 and 9.6.
"""

from __future__ import annotations

from collections.abc import Callable

from raft import candidate, follower, leader
from raft.errors import ProposalDropped, StepRefused
from raft.messages import NONE, ConfState, Message, MessageType, Role, Snapshot
from raft.raft import Raft
from raft.read_only import ReadRequest

Handler = Callable[[Raft, Message], None]

APP = MessageType.APP
HEARTBEAT = MessageType.HEARTBEAT
SNAP = MessageType.SNAP
PROP = MessageType.PROP
PRE_VOTE_RESP = MessageType.PRE_VOTE_RESP

MAX_NUMBER = (1 << 63) - 1
"""No honest term or index comes near; beyond it they would not fit on disk or wire."""

FROM_LEADER = frozenset({APP, HEARTBEAT, SNAP})
VOTE_REQUESTS = frozenset({MessageType.VOTE, MessageType.PRE_VOTE})
VOTE_ANSWERS = frozenset({MessageType.VOTE_RESP, PRE_VOTE_RESP})
OF_NO_TERM = frozenset({PROP, MessageType.READ_INDEX, MessageType.TRANSFER_LEADER})
"""Requests from one member to whoever leads: they belong to no term."""


def step(raft: Raft, message: Message) -> None:
    """Takes one message in. Raises StepRefused, or ProposalDropped for a PROP; then nothing has changed but perhaps
    the term, which an honest message may raise too."""
    validate(raft, message)
    if message.type not in OF_NO_TERM and not _enter_term(raft, message):
        return
    if message.type in VOTE_REQUESTS:
        candidate.handle_vote_request(raft, message)
        return
    if message.type in FROM_LEADER:
        _recognise_leader(raft, message)
    elif message.type in VOTE_ANSWERS and raft.role != Role.LEADER:
        candidate.learn_commit(raft, message)
    handler = HANDLERS[raft.role].get(message.type)
    if handler is not None:
        handler(raft, message)


# Terms (section 5.1).


def _enter_term(raft: Raft, message: Message) -> bool:
    """Makes this member's term the message's if that is newer; False for a message that is done with."""
    if message.term == raft.term:
        return True
    if message.term < raft.term:
        _answer_old_term(raft, message)
        return False
    if message.type in VOTE_REQUESTS:
        if message.context != candidate.TRANSFER and candidate.has_lease(raft):
            return False
        if message.type == MessageType.PRE_VOTE:
            return True
    elif message.type == PRE_VOTE_RESP and not message.reject:
        return True  # it carries the term that was asked for, which nobody has entered yet
    raft.become_follower(message.term, NONE)
    return True


def _answer_old_term(raft: Raft, message: Message) -> None:
    """Requests of an old term are refused with the new one, so that whoever is behind finds out: a leader that cannot
    be followed any more, or a candidate that would ask for ever."""
    if message.type in VOTE_REQUESTS:
        candidate.answer_vote(raft, message, raft.term, reject=True)
    elif message.type in FROM_LEADER:
        raft.promise(Message(MessageType.APP_RESP, message.sender, raft.id, raft.term))


def _recognise_leader(raft: Raft, message: Message) -> None:
    """Only the leader of a term sends these; there is one (section 5.2), and candidates give way to it."""
    if raft.lead == message.sender:
        raft.election_elapsed = 0
    elif raft.lead == NONE:
        raft.become_follower(raft.term, message.sender)
    else:
        raise StepRefused(f"{message.sender} and {raft.lead} both lead in term {raft.term}")


# What no honest member would send.


def validate(raft: Raft, message: Message) -> None:
    """Raises StepRefused for a message that is not for this member or contradicts itself. That fields have the right
    types is the codec's to see to."""
    if message.to != raft.id:
        raise StepRefused(f"message for {message.to} reached {raft.id}")
    if message.sender == raft.id or (message.sender == NONE and message.type != PROP):
        raise StepRefused(f"message with sender {message.sender} reached {raft.id}")
    if message.type not in _KNOWN:
        raise StepRefused(f"unknown message type {message.type}")
    if not 0 <= message.log_term <= message.term <= MAX_NUMBER:
        raise StepRefused(f"impossible terms {message.log_term}, {message.term}")
    if not (0 <= message.index <= MAX_NUMBER and 0 <= message.commit <= MAX_NUMBER and message.reject_hint >= 0):
        raise StepRefused(f"impossible indexes {message.index}, {message.commit}, {message.reject_hint}")
    if message.type not in OF_NO_TERM and message.term == 0:
        raise StepRefused("a message of term 0")
    check = _CHECKS.get(message.type)
    if check is not None:
        check(message)


_KNOWN = frozenset(MessageType)


def _check_append(message: Message) -> None:
    index, term = message.index, message.log_term
    if (index == 0) != (term == 0):
        raise StepRefused(f"no entry is at index {index} of term {term}")
    for entry in message.entries:
        index += 1
        if entry.index != index or not max(term, 1) <= entry.term <= message.term or entry.type not in _ENTRY_TYPES:
            raise StepRefused(f"entry {entry.index} of term {entry.term} cannot follow {index - 1} of term {term}")
        term = entry.term


_ENTRY_TYPES = (0, 1)


def _check_snapshot(message: Message) -> None:
    snapshot = message.snapshot
    if snapshot is None or not _is_possible_snapshot(snapshot, message.term):
        raise StepRefused(f"impossible snapshot {snapshot}")


def _is_possible_snapshot(snapshot: Snapshot, term: int) -> bool:
    in_range = 0 < snapshot.index <= MAX_NUMBER and 0 < snapshot.term <= term
    return in_range and _is_possible_conf_state(snapshot.conf_state)


def _is_possible_conf_state(conf_state: ConfState) -> bool:
    members = set(conf_state.voters) | set(conf_state.learners)
    distinct = len(members) == len(conf_state.voters) + len(conf_state.learners)
    return distinct and bool(conf_state.voters) and NONE not in members


def _check_proposal(message: Message) -> None:
    if not message.entries or any(entry.type not in _ENTRY_TYPES for entry in message.entries):
        raise StepRefused("a proposal of nothing, or of something unknown")


_CHECKS: dict[int, Callable[[Message], None]] = {APP: _check_append, SNAP: _check_snapshot, PROP: _check_proposal}


# Who does what.


def drop_proposal(raft: Raft, message: Message) -> None:
    raise ProposalDropped("no leader")


def follower_proposal(raft: Raft, message: Message) -> None:
    """A member's own proposal goes to the leader. One that was forwarded once is not forwarded again: with two members
    that take each other for the leader it would travel for ever."""
    if raft.lead == NONE or message.sender != NONE:
        raise ProposalDropped("no leader" if raft.lead == NONE else "forwarded to a member that does not lead")
    follower.forward_proposal(raft, message)


def refuse_read(raft: Raft, message: Message) -> None:
    raft.answer_read(ReadRequest(message.sender, message.context), 0)


_FOLLOWER: dict[int, Handler] = {
    APP: follower.handle_append,
    HEARTBEAT: follower.handle_heartbeat,
    SNAP: follower.handle_snapshot,
    PROP: follower_proposal,
    MessageType.READ_INDEX: refuse_read,
    MessageType.READ_INDEX_RESP: follower.handle_read_index_resp,
    MessageType.TIMEOUT_NOW: follower.handle_timeout_now,
}
_PRE_CANDIDATE: dict[int, Handler] = {
    PRE_VOTE_RESP: candidate.handle_pre_vote_resp,
    PROP: drop_proposal,
    MessageType.READ_INDEX: refuse_read,
}
_CANDIDATE: dict[int, Handler] = {
    MessageType.VOTE_RESP: candidate.handle_vote_resp,
    PROP: drop_proposal,
    MessageType.READ_INDEX: refuse_read,
}
_LEADER: dict[int, Handler] = {
    PROP: leader.handle_proposal,
    MessageType.APP_RESP: leader.handle_append_resp,
    MessageType.HEARTBEAT_RESP: leader.handle_heartbeat_resp,
    MessageType.READ_INDEX: leader.handle_read_index,
    MessageType.TRANSFER_LEADER: leader.handle_transfer,
}
HANDLERS: dict[int, dict[int, Handler]] = {
    Role.FOLLOWER: _FOLLOWER,
    Role.PRE_CANDIDATE: _PRE_CANDIDATE,
    Role.CANDIDATE: _CANDIDATE,
    Role.LEADER: _LEADER,
}
