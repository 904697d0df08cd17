"""Elections: who may stand, how votes are asked for and counted, and how every member answers such a request.

Source: Raft paper, sections 5.2 and 5.4.1; thesis, sections 4.2.3 (leases against disruption), 9.6 (pre-vote).
"""

from __future__ import annotations

from raft.messages import NONE, Message, MessageType, Role
from raft.quorum import VoteResult
from raft.raft import Raft

TRANSFER = b"CampaignTransfer"
"""The context of a vote request that the old leader itself asked for: leases do not stop it."""


def tick(raft: Raft) -> None:
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.election_timeout:
        stand(raft)


def stand(raft: Raft, *, transfer: bool = False) -> None:
    """Starts an election, unless this member may not: a leader, a learner, a stranger, or a member that has not yet
    applied a committed membership change, and so may count the wrong majority."""
    log = raft.log
    if raft.role == Role.LEADER or not raft.is_promotable or log.has_conf_change(log.applied, log.commit):
        raft.election_elapsed = 0
        return
    if raft.config.pre_vote and not transfer:
        _ask_first(raft)
    else:
        _ask_for_votes(raft, TRANSFER if transfer else b"")


def _ask_first(raft: Raft) -> None:
    raft.become_pre_candidate()
    _request_votes(raft, MessageType.PRE_VOTE, raft.term + 1, b"")
    # A pre-vote promises nothing, so the own one counts at once.
    _count_vote(raft, raft.id, granted=True)


def _ask_for_votes(raft: Raft, context: bytes) -> None:
    raft.become_candidate()
    _request_votes(raft, MessageType.VOTE, raft.term, context)


def count_own_vote(raft: Raft) -> None:
    """The own vote counts once it is on disk, if it still is the vote of this term."""
    saved = raft.saved
    if raft.role == Role.CANDIDATE and saved.term == raft.term and saved.vote == raft.id:
        _count_vote(raft, raft.id, granted=True)


def _request_votes(raft: Raft, request: MessageType, term: int, context: bytes) -> None:
    log = raft.log
    for voter in raft.tracker.conf_state.voters:
        if voter != raft.id:
            raft.promise(
                Message(request, voter, raft.id, term, log_term=log.last_term, index=log.last_index, context=context)
            )


def _count_vote(raft: Raft, voter: int, *, granted: bool) -> None:
    result = raft.tracker.record_vote(voter, granted)
    if result == VoteResult.LOST:
        raft.become_follower(raft.term, NONE)
    elif result == VoteResult.WON and raft.role == Role.PRE_CANDIDATE:
        _ask_for_votes(raft, b"")
    elif result == VoteResult.WON:
        raft.become_leader()


def handle_pre_vote_resp(raft: Raft, message: Message) -> None:
    """A granted pre-vote carries the term asked for; a refused one the voter's own."""
    if message.reject or message.term == raft.term + 1:
        _count_vote(raft, message.sender, granted=not message.reject)


def handle_vote_resp(raft: Raft, message: Message) -> None:
    _count_vote(raft, message.sender, granted=not message.reject)


# What every member, in whatever role, answers.


def has_lease(raft: Raft) -> bool:
    """Whether this member has heard a leader so recently that nobody should be campaigning (thesis, 4.2.3)."""
    return raft.config.check_quorum and raft.lead != NONE and raft.election_elapsed < raft.config.election_ticks


def handle_vote_request(raft: Raft, message: Message) -> None:
    """Section 5.2: one vote in a term, first come, first served; section 5.4.1: never for a log older than this one.

    A member that believes to be a learner votes too: whoever asks may know better (etcd-io/raft abb533c).
    """
    free = raft.vote == message.sender or (raft.vote == NONE and raft.lead == NONE)
    is_pre_vote = message.type == MessageType.PRE_VOTE
    may_vote = free or (is_pre_vote and message.term > raft.term)
    if not may_vote or not raft.log.is_up_to_date(message.index, message.log_term):
        answer_vote(raft, message, raft.term, reject=True)
        return
    if not is_pre_vote:
        raft.election_elapsed = 0
        raft.vote = message.sender
    answer_vote(raft, message, message.term, reject=False)


def answer_vote(raft: Raft, message: Message, term: int, *, reject: bool) -> None:
    """A refusal says what this member knows to be committed. Whoever asks may count a removed member among the voters
    because that very news got lost, and without it never win (two members, and the leader removes itself)."""
    is_pre_vote = message.type == MessageType.PRE_VOTE
    answer = MessageType.PRE_VOTE_RESP if is_pre_vote else MessageType.VOTE_RESP
    commit = raft.log.commit if reject else 0
    commit_term = raft.log.term(commit) or 0
    raft.promise(Message(answer, message.sender, raft.id, term, log_term=commit_term, commit=commit, reject=reject))


def learn_commit(raft: Raft, message: Message) -> None:
    """What is committed is so for good, whoever says it; it counts here if this log has that very entry."""
    if message.commit and raft.log.matches(message.commit, message.log_term):
        raft.log.commit_to(message.commit)
