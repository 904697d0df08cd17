"""What a follower does: takes the leader's log over, answers, and stands for election when the leader falls silent.

Source: Raft paper, section 5.3, figure 2 (AppendEntries), section 7; thesis, section 6.4 for forwarded reads.
"""

from __future__ import annotations

from raft import candidate
from raft.errors import StepRefused
from raft.messages import NONE, Message, MessageType, ReadState, Snapshot
from raft.raft import Raft

APP_RESP = MessageType.APP_RESP
HEARTBEAT_RESP = MessageType.HEARTBEAT_RESP


def tick(raft: Raft) -> None:
    raft.election_elapsed += 1
    raft.drop_contexts(raft.forwarded_reads.tick(raft.config.election_ticks))
    if raft.election_elapsed < raft.election_timeout:
        return
    if raft.is_promotable:
        candidate.stand(raft)
    elif raft.lead != NONE:
        raft.forget_leader()


def handle_append(raft: Raft, message: Message) -> None:
    """Figure 2, AppendEntries. The answer says where the logs agree, or a place at which they may."""
    log = raft.log
    prev_index = message.index
    raft.commit_told = max(raft.commit_told, message.commit)
    if prev_index < log.commit:
        # Everything up to `commit` is the leader's log already, and may be compacted here.
        _acknowledge(raft, message.sender, log.commit)
        return
    if not log.maybe_append(prev_index, message.log_term, message.entries):
        _reject_append(raft, message)
        return
    last_new = prev_index + len(message.entries)
    log.commit_to(min(message.commit, last_new))
    _acknowledge(raft, message.sender, last_new)


def _acknowledge(raft: Raft, leader: int, index: int) -> None:
    raft.promise(Message(APP_RESP, leader, raft.id, raft.term, 0, index, (), raft.log.commit))


def _reject_append(raft: Raft, message: Message) -> None:
    """The hint skips a whole term of disagreement at once, so that a long divergent tail costs few round trips."""
    hint = min(message.index, raft.log.last_index)
    hint, hint_term = raft.log.find_conflict_by_term(hint, message.log_term)
    raft.promise(
        Message(
            APP_RESP,
            message.sender,
            raft.id,
            raft.term,
            log_term=hint_term,
            index=message.index,
            reject=True,
            reject_hint=hint,
        )
    )


def handle_heartbeat(raft: Raft, message: Message) -> None:
    """A heartbeat commits nothing that this log does not hold: the leader sends at most what it knows is here."""
    if message.commit > raft.log.last_index:
        raise StepRefused(f"commit {message.commit} lies beyond the last entry {raft.log.last_index}")
    raft.log.commit_to(message.commit)
    raft.commit_told = max(raft.commit_told, message.commit)
    commit = raft.saved.commit  # the leader may leave once a majority knows for good that it was removed
    answer = Message(HEARTBEAT_RESP, message.sender, raft.id, raft.term, commit=commit, context=message.context)
    if raft.saved.term == raft.term:
        raft.send(answer)
    else:
        raft.promise(answer)


def handle_snapshot(raft: Raft, message: Message) -> None:
    assert message.snapshot is not None
    raft.commit_told = max(raft.commit_told, message.snapshot.index)
    restored = _maybe_restore(raft, message.snapshot)
    _acknowledge(raft, message.sender, raft.log.last_index if restored else raft.log.commit)


def _maybe_restore(raft: Raft, snapshot: Snapshot) -> bool:
    """A snapshot that says nothing new is ignored, and one that this log already contains costs no log (section 7)."""
    log = raft.log
    if snapshot.index <= log.commit:
        return False
    if log.matches(snapshot.index, snapshot.term):
        log.commit_to(snapshot.index)
        return False
    raft.restore(snapshot)
    return True


def handle_timeout_now(raft: Raft, message: Message) -> None:
    """The leader hands over: stand at once, without asking first (thesis, section 3.10)."""
    if message.sender == raft.lead:
        candidate.stand(raft, transfer=True)


def forward_proposal(raft: Raft, message: Message) -> None:
    raft.send(message._replace(to=raft.lead, sender=raft.id, term=0))


def forward_reads(raft: Raft) -> None:
    """Everything that waits goes as one request."""
    if raft.forwarded_reads.waiting:
        context = raft.forwarded_reads.begin()
        raft.send(Message(MessageType.READ_INDEX, raft.lead, raft.id, context=context))


def handle_read_index_resp(raft: Raft, message: Message) -> None:
    if message.sender != raft.lead:
        return
    for context in raft.forwarded_reads.take(message.context):
        raft.read_states.append(ReadState(message.index, context))
