"""Terms (Raft paper, section 5.1; thesis, sections 4.2.3 and 9.6): what an old term says changes nothing; a newer term
is entered, but not on the word of somebody who only thinks of standing, or who stands while a leader is heard. Within a
term a vote is given once. Only a leader's word and a vote given put off the own election (section 5.2)."""

from __future__ import annotations

from typing import Any, NamedTuple

from raft.messages import NONE, Message, MessageType, Role

FOLLOWER, LEADER = Role.FOLLOWER, Role.LEADER
VOTE, PRE_VOTE, PRE_VOTE_RESP = MessageType.VOTE, MessageType.PRE_VOTE, MessageType.PRE_VOTE_RESP
OF_NO_TERM = frozenset({MessageType.PROP, MessageType.READ_INDEX, MessageType.TRANSFER_LEADER})
FROM_LEADER = frozenset({MessageType.APP, MessageType.HEARTBEAT, MessageType.SNAP})
TRANSFER = b"CampaignTransfer"


class _State(NamedTuple):
    term: int
    vote: int
    role: int
    lead: int
    last_index: int
    last_term: int
    commit: int
    elapsed: int
    votes: int


class TermsObeyed:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._before = _State(0, 0, 0, 0, 0, 0, 0, 0, 0)
        self._known: Any = None

    def stepping(self, member: Any, raft: Any, message: Message) -> None:
        self._before = _state(raft)
        if message.term < raft.term and raft.role == LEADER and message.type not in OF_NO_TERM:
            self._known = _known(raft)

    def stepped(self, member: Any, raft: Any, message: Message) -> None:
        before, now = self._before, _state(raft)
        if message.term < before.term and before.role == LEADER and message.type not in OF_NO_TERM:
            self._check_known(member, raft, message)
        if now == before and message.term <= now.term:
            return
        if message.type not in OF_NO_TERM:
            self._check_term(member, raft, message, before, now)
        if before.term == now.term:
            self._check_within_term(member, message, before, now)
        elif now.vote not in (NONE, member.id) and (message.type != VOTE or message.sender != now.vote):
            self._fail(member, message, f"comes to term {now.term} with a vote")

    def _check_known(self, member: Any, raft: Any, message: Message) -> None:
        if self._known != _known(raft):
            self._fail(member, message, f"holds of the others {_known(raft)}, before {self._known}")

    def _check_term(self, member: Any, raft: Any, message: Message, before: _State, now: _State) -> None:
        if message.type == PRE_VOTE or message.term < before.term:
            if now != before:
                self._fail(member, message, f"goes from {before} to {now}")
        elif message.term > before.term and not _may_be_ignored(raft, message, before) and now.term < message.term:
            self._fail(member, message, f"stays in term {now.term}")
        elif message.term > before.term and _is_shielded(raft, message, before) and now != before:
            self._fail(member, message, f"hears a leader and goes from {before} to {now}")

    def _check_within_term(self, member: Any, message: Message, before: _State, now: _State) -> None:
        if before.vote not in (NONE, now.vote):
            self._fail(member, message, f"had voted for {before.vote:x} and now for {now.vote:x}")
        granted = message.type == VOTE and now.vote == message.sender
        put_off = before.role == now.role == FOLLOWER and now.elapsed < before.elapsed
        if put_off and not granted and message.type not in FROM_LEADER:
            self._fail(member, message, "puts its election off")

    def _fail(self, member: Any, message: Message, text: str) -> None:
        what = f"{MessageType(message.type).name} of term {message.term}"
        self._world.fail("terms obeyed", f"{member} takes {what} and {text}")


def _state(raft: Any) -> _State:
    log = raft.log
    return _State(
        raft.term,
        raft.vote,
        raft.role,
        raft.lead,
        log.last_index,
        log.last_term,
        log.commit,
        raft.election_elapsed,
        len(raft.tracker.votes),
    )


def _known(raft: Any) -> Any:
    """What a leader holds of the others, and who has confirmed its reads."""
    peers = [
        (peer.id, peer.match, peer.next, peer.state, peer.probe_sent, peer.due, peer.recent_active, peer.commit)
        for peer in raft.tracker.peers
    ]
    return peers, dict(raft.read_rounds._confirmed)


def _is_shielded(raft: Any, message: Message, before: _State) -> bool:
    heard = before.lead != NONE and before.elapsed < raft.config.election_ticks
    return message.type == VOTE and message.context != TRANSFER and heard


def _may_be_ignored(raft: Any, message: Message, before: _State) -> bool:
    return _is_shielded(raft, message, before) or (message.type == PRE_VOTE_RESP and not message.reject)
