"""Elections (Raft paper, sections 5.2 and 5.4.1; thesis, sections 4.1 and 9.6): a leader has the votes of a majority of
the voters, given in its term by members whose logs, as their disks have them, are no more up to date than its own. Only
a voter stands, and not while it knows of a committed membership change that it has not applied."""

from __future__ import annotations

from typing import Any

from raft.messages import Message, MessageType, Role

from ..quorum import is_majority

FOLLOWER, LEADER = Role.FOLLOWER, Role.LEADER
VOTE, VOTE_RESP, PRE_VOTE = MessageType.VOTE, MessageType.VOTE_RESP, MessageType.PRE_VOTE


class ElectedByMajority:
    """`_claims` has the (last term, last index) with which a candidate asked in a term, `_voters` who voted for it."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._claims: dict[tuple[int, int], tuple[int, int]] = {}
        self._voters: dict[tuple[int, int], set[int]] = {}
        self._led: set[int] = set()

    def moved(self, member: Any, raft: Any, role: int) -> None:
        if raft.role == role:
            return
        if raft.role == LEADER and raft.term not in self._led:
            self._led.add(raft.term)
            self._check_elected(member, raft)
        elif role == FOLLOWER and raft.role != LEADER:
            self._check_may_stand(member, raft)

    def _check_elected(self, member: Any, raft: Any) -> None:
        voters = raft.tracker.conf_state.voters
        votes = set(self._voters.get((member.id, raft.term), ()))
        self._watch.read_disk(member)
        own = member.durable.hard_state
        if (own.term, own.vote) == (raft.term, member.id):
            votes.add(member.id)
        if not is_majority(votes, voters):
            self._fail(member, f"leads in term {raft.term} with {len(votes)} votes on disks, of {len(voters)} voters")
        if member.id not in voters:
            self._fail(member, f"leads in term {raft.term} and is no voter")

    def _check_may_stand(self, member: Any, raft: Any) -> None:
        log = raft.log
        if member.id not in raft.tracker.conf_state.voters:
            self._fail(member, f"stands after term {raft.term} and is no voter")
        if log.unstable.snapshot is not None:
            self._fail(member, "stands while it takes in a snapshot")
        first = max(member.applier.applied_index + 1, log.first_index)
        if any(entry.type for entry in (log.entries(first, log.commit + 1, 1 << 40) if first <= log.commit else ())):
            self._fail(member, "stands with a committed membership change to apply")

    def sending(self, member: Any, message: Message) -> None:
        if message.type == VOTE:
            self._claims[member.id, message.term] = (message.log_term, message.index)
            self._check_claim(member, message)
        elif message.type == PRE_VOTE:
            self._check_claim(member, message)
        elif message.type == VOTE_RESP and not message.reject:
            self._check_vote(member, message)

    def _check_claim(self, member: Any, message: Message) -> None:
        """A candidate that has met a leader meanwhile may have another log by now."""
        raft = member.raw._raft
        if raft.role == FOLLOWER:
            return
        held = member.durable.last_before(message.term)
        if held[0] and held != (message.log_term, message.index):
            self._fail(member, f"asks for votes with {message.log_term}/{message.index}, its disk has {held}")

    def _check_vote(self, member: Any, message: Message) -> None:
        """An entry of this very term has come from the one elected, after the vote."""
        claim = self._claims.get((message.to, message.term))
        if claim is None:
            self._fail(member, f"votes in term {message.term} for one that has not asked")
        elif member.durable.last_before(message.term) > claim:
            held = member.durable.last_before(message.term)
            self._fail(member, f"votes in term {message.term} for a log that ends at {claim}, and its own at {held}")
        self._voters.setdefault((message.to, message.term), set()).add(member.id)

    def _fail(self, member: Any, text: str) -> None:
        self._world.fail("elected by majority", f"{member} {text}")
