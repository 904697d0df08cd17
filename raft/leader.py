"""What a leader does: takes proposals, decides when what goes to whom, counts answers, and steps down in time.

Messages to followers are composed when a Ready is taken, not when the reason for them turns up: what came in between
travels together, so one append carries new entries and the news of what is committed. Whether that news alone is worth
a message, the caller says (`announce`); those who wait for their own proposal are told at once.

Source: Raft paper, sections 5.3, 5.4, 8; thesis, sections 3.10 (transfer), 4.2 (membership), 6.4 (reads).
"""

from __future__ import annotations

from collections.abc import Callable

from raft import confchange
from raft.errors import ConfChangeRefused, ProposalDropped, StepRefused
from raft.messages import NONE, Entry, EntryType, Message, MessageType, Role
from raft.progress import Progress, ProgressState
from raft.raft import Raft
from raft.read_only import ReadRequest, unpack_number

APP = MessageType.APP
HEARTBEAT = MessageType.HEARTBEAT
LEADER = Role.LEADER
CONF_CHANGE = EntryType.CONF_CHANGE
PROBE = ProgressState.PROBE
REPLICATE = ProgressState.REPLICATE

# Time.


def tick(raft: Raft) -> None:
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.lead_transferee != NONE:
        raft.transfer_elapsed += 1
        if raft.transfer_elapsed >= raft.config.election_ticks:
            raft.lead_transferee = NONE
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        if raft.config.check_quorum and not raft.tracker.quorum_active():
            raft.become_follower(raft.term, NONE)
            return
    if raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        raft.heartbeat_due = True


# Proposals.


def handle_proposal(raft: Raft, message: Message) -> None:
    """All entries of the message, or none. Raises ProposalDropped. The sender, if another member, waits for them."""
    entries = message.entries
    _check_room(raft, entries)
    for entry in entries:
        if entry.type == CONF_CHANGE:
            _check_conf_change(raft, entries)
    for entry in entries:
        raft.append(entry.type, entry.data)
        if entry.type == CONF_CHANGE:
            raft.pending_conf_index = raft.log.last_index
    progress = raft.progress_of(message.sender)
    if progress is not None:
        progress.proposed = raft.log.last_index


def _check_room(raft: Raft, entries: tuple[Entry, ...]) -> None:
    if not raft.tracker.is_voter(raft.id):
        raise ProposalDropped("this leader is being removed")
    if raft.lead_transferee != NONE:
        raise ProposalDropped("leadership is being transferred")
    size = sum([len(entry.data) for entry in entries])
    if raft.uncommitted_bytes and raft.uncommitted_bytes + size > raft.config.max_uncommitted_bytes:
        raise ProposalDropped(f"{raft.uncommitted_bytes} bytes are waiting to be committed")


def _check_conf_change(raft: Raft, entries: tuple[Entry, ...]) -> None:
    """One change at a time, and none before this leader has applied an entry of its own term: until then a change of
    an earlier leader may still be on its way (Ongaro, raft-dev, July 2015)."""
    if len(entries) > 1:
        raise ConfChangeRefused("a membership change is proposed alone")
    if raft.log.applied < raft.pending_conf_index:
        raise ConfChangeRefused(f"an earlier membership change or term may be pending at {raft.pending_conf_index}")
    confchange.check(raft.tracker.conf_state, confchange.decode(entries[0].data))


# Answers.


def handle_append_resp(raft: Raft, message: Message) -> None:
    progress = raft.progress_of(message.sender)
    if progress is None:
        return
    if message.index > raft.log.last_index:
        raise StepRefused(f"index {message.index} acknowledged beyond the last entry {raft.log.last_index}")
    _heard_from(raft, progress, message)
    if raft.role != LEADER:
        return
    if message.reject:
        _handle_rejection(raft, progress, message)
    else:
        _handle_acknowledgement(raft, progress, message.index)


def _heard_from(raft: Raft, progress: Progress, message: Message) -> None:
    progress.recent_active = True
    if message.commit > progress.commit:
        progress.commit = message.commit
        _maybe_leave(raft)


def _handle_rejection(raft: Raft, progress: Progress, message: Message) -> None:
    """The hint is the last place where the follower's term is not above the one sent; this log may know that the two
    part even earlier."""
    hint = message.reject_hint
    if message.log_term:
        hint, _ = raft.log.find_conflict_by_term(hint, message.log_term)
    if progress.maybe_decrease(message.index, hint):
        if progress.state == REPLICATE:
            progress.become_probe()
        progress.due = True
        raft.appends_due = True


def _handle_acknowledgement(raft: Raft, progress: Progress, index: int) -> None:
    news = progress.maybe_update(index)
    if progress.state == REPLICATE:
        progress.inflights.free_to(index)
    elif progress.state == PROBE:
        if index == progress.match:
            progress.become_replicate()
    elif progress.match + 1 >= raft.log.first_index:
        progress.become_replicate()
    if news:
        raft.maybe_commit()
    if progress.wants_append(raft.log.last_index, raft.log.commit, announce=True):
        raft.appends_due = True
    _maybe_hand_over(raft, progress)


def handle_heartbeat_resp(raft: Raft, message: Message) -> None:
    """The member lives: probe it again, open a shut window by one, and count it for the reads that asked."""
    progress = raft.progress_of(message.sender)
    if progress is None:
        return
    _heard_from(raft, progress, message)
    if raft.role != LEADER:
        return
    progress.probe_sent = False
    if progress.state == REPLICATE and progress.inflights.full:
        progress.inflights.free_first()
    if progress.match < raft.log.last_index or progress.state == PROBE:
        progress.due = True
        raft.appends_due = True
    if message.context:
        raft.read_rounds.confirm(message.sender, unpack_number(message.context))
        _answer_confirmed_reads(raft)


def report_unreachable(raft: Raft, member: int) -> None:
    """Sending ahead is of no use while messages get lost."""
    progress = raft.progress_of(member)
    if progress is not None and progress.state == REPLICATE:
        progress.become_probe()
        progress.probe_sent = True  # the next heartbeat answer says when to try again


def report_snapshot(raft: Raft, member: int, *, ok: bool) -> None:
    progress = raft.progress_of(member)
    if progress is None or progress.state != ProgressState.SNAPSHOT:
        return
    if ok:
        progress.become_probe()
    else:
        progress.snapshot_failed()
    progress.probe_sent = True  # the member's own word, or the next heartbeat answer, says when to go on


# Reads.


def handle_read_index(raft: Raft, message: Message) -> None:
    ask_read(raft, ReadRequest(message.sender, message.context))


def ask_read(raft: Raft, request: ReadRequest) -> None:
    """A read that comes before this leader knows what is committed waits for that (section 8)."""
    if len(raft.read_rounds) >= raft.config.max_waiting_reads:
        raft.answer_read(request, 0)
    else:
        raft.read_rounds.waiting.append(request)


def _answer_confirmed_reads(raft: Raft) -> None:
    for round_ in raft.read_rounds.take_confirmed(raft.tracker.conf_state.voters, raft.id):
        for request in round_.requests:
            raft.answer_read(request, round_.read_index)


# Handing over (thesis, section 3.10).


def handle_transfer(raft: Raft, message: Message) -> None:
    """A follower asks for the leadership itself."""
    transfer(raft, message.sender)


def transfer(raft: Raft, to: int) -> None:
    """Refuses proposals until `to` has caught up and taken over, or an election timeout has passed."""
    progress = raft.progress_of(to)
    if progress is None or not raft.tracker.is_voter(to) or raft.lead_transferee == to:
        return
    raft.lead_transferee = to
    raft.transfer_elapsed = 0
    if progress.match < raft.log.last_index:
        progress.due = raft.appends_due = True
    _maybe_hand_over(raft, progress)


def _maybe_hand_over(raft: Raft, progress: Progress) -> None:
    if progress.id == raft.lead_transferee and progress.match == raft.log.last_index:
        raft.send(Message(MessageType.TIMEOUT_NOW, progress.id, raft.id, raft.term))


# Members.


def conf_changed(raft: Raft) -> None:
    """The members are others now: a majority may be reached already."""
    if not raft.tracker.is_voter(raft.lead_transferee):
        raft.lead_transferee = NONE
    raft.appends_due = True
    raft.maybe_commit()
    _answer_confirmed_reads(raft)
    raft.leaving_at = 0 if raft.tracker.is_voter(raft.id) else raft.log.applying
    _maybe_leave(raft)


def _maybe_leave(raft: Raft) -> None:
    """A leader that is no voter any more manages a majority that it is no part of (thesis, section 4.2.2), until that
    majority knows that its removal is committed. Were it gone before, the others might count on its vote for ever. The
    member that has everything may take over at once."""
    if not raft.leaving_at or raft.tracker.known_committed_index() < raft.leaving_at:
        return
    for progress in raft.tracker.peers:
        if progress.match == raft.log.last_index and raft.tracker.is_voter(progress.id):
            raft.send(Message(MessageType.TIMEOUT_NOW, progress.id, raft.id, raft.term))
            break
    raft.become_follower(raft.term, NONE)


# Messages out, when a Ready is taken.


def has_messages_due(raft: Raft, announce: bool) -> bool:
    if raft.heartbeat_due or (raft.read_rounds.waiting and raft.committed_in_term):
        return True
    return raft.appends_due and _any_wants_append(raft, announce)


def _any_wants_append(raft: Raft, announce: bool) -> bool:
    last_index, commit = raft.log.last_index, raft.log.commit
    return any(progress.wants_append(last_index, commit, announce) for progress in raft.tracker.peers)


def compose_messages(raft: Raft, announce: bool) -> None:
    if raft.appends_due:
        _send_appends(raft, announce)
    reads_begun = _begin_reads(raft)
    if raft.heartbeat_due:
        raft.heartbeat_due = False
        _send_heartbeats(raft, learners_too=True)
    elif reads_begun:
        _send_heartbeats(raft, learners_too=False)


def _begin_reads(raft: Raft) -> bool:
    if not raft.read_rounds.waiting or not raft.committed_in_term:
        return False
    raft.read_rounds.begin(raft.log.commit)
    _answer_confirmed_reads(raft)  # a leader that is the only voter is its own majority
    return True


def _announce(raft: Raft) -> Callable[[Message], None]:
    """How the others hear of the commit index: once it is on this disk, if it decides a membership change."""
    saved = raft.saved.commit
    decides = saved < raft.pending_conf_index and raft.log.has_conf_change(saved, raft.log.commit)
    return raft.promise if decides else raft.send


def _send_heartbeats(raft: Raft, *, learners_too: bool) -> None:
    """Section 5.2. A follower is told to commit no more than it is known to have."""
    context = raft.read_rounds.context
    commit = raft.log.commit
    announce = _announce(raft)
    for progress in raft.tracker.peers:
        if learners_too or raft.tracker.is_voter(progress.id):
            told = min(progress.match, commit)
            announce(Message(HEARTBEAT, progress.id, raft.id, raft.term, commit=told, context=context))


_Shared = dict[int, tuple[tuple[Entry, ...], int]]
"""Entries from an index on, with their bytes: followers at the same place get the same tuple."""


def _send_appends(raft: Raft, announce: bool) -> None:
    """At most one message for each follower; what does not fit goes with the next Ready."""
    raft.appends_due = False
    log = raft.log
    shared: _Shared = {}
    for progress in raft.tracker.peers:
        if progress.wants_append(log.last_index, log.commit, announce):
            _send_append(raft, progress, shared)
        if progress.wants_append(log.last_index, log.commit, announce=True):
            raft.appends_due = True


def _send_append(raft: Raft, progress: Progress, shared: _Shared) -> None:
    log = raft.log
    prev_index = progress.next - 1
    prev_term = log.term(prev_index)
    if prev_term is None or (progress.next < log.first_index):
        _send_snapshot(raft, progress)
        return
    entries, size = shared.get(progress.next) or _entries_from(raft, progress.next, shared)
    announce = _announce(raft)
    announce(Message(APP, progress.id, raft.id, raft.term, prev_term, prev_index, entries, log.commit))
    progress.sent_append(prev_index + len(entries), size, log.commit)


def _entries_from(raft: Raft, index: int, shared: _Shared) -> tuple[tuple[Entry, ...], int]:
    log = raft.log
    entries: tuple[Entry, ...] = ()
    if index <= log.last_index:
        entries = log.entries(index, log.last_index + 1, raft.config.max_entries_bytes_per_message)
    shared[index] = entries, sum([len(entry.data) for entry in entries])
    return shared[index]


def _send_snapshot(raft: Raft, progress: Progress) -> None:
    """Section 7: what the follower needs is compacted. Without a snapshot at hand, the next heartbeat answer tries
    again."""
    snapshot = raft.log.storage.snapshot()
    if snapshot is None or not progress.recent_active:
        progress.probe_sent = True
        return
    progress.become_snapshot(snapshot.index)
    raft.send(Message(MessageType.SNAP, progress.id, raft.id, raft.term, snapshot=snapshot))
