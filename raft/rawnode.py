"""The door to the consensus machine: things happen, then one Ready says what the caller owes.

`RawNode` has no clock, no randomness and no I/O of its own, and is not thread-safe: one task owns it. The caller's
duties, in a loop:

1. feed it: `tick()` at a steady pace, `step()` for each message from a peer, `propose()` and `read_index()`;
2. while `has_ready()`: take `ready()`; send `messages`; save `hard_state`, `entries` and `snapshot` in one go, durably
   if `must_sync`; then send `persisted_messages`; restore `snapshot` if there is one; apply `committed_entries` in
   order, calling `apply_conf_change()` for each CONF_CHANGE entry; answer `read_states`; call `advance()` with it;
3. after a crash, build a new one from the same storage. If a save failed, stop for good: the promises are void.
"""

from __future__ import annotations

from typing import NamedTuple

from raft import candidate, confchange, follower, leader
from raft.config import Config
from raft.errors import ProposalDropped, ReadyOutstanding
from raft.messages import (
    NONE,
    ConfChange,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    ReadState,
    Ready,
    Role,
    SoftState,
)
from raft.progress import ProgressState
from raft.raft import Raft
from raft.read_only import ReadRequest
from raft.step import step
from raft.storage import Storage

PROP = MessageType.PROP
LEADER = Role.LEADER


class ProgressStatus(NamedTuple):
    """What a leader knows of one member. A learner is caught up when `match` is near the leader's last index."""

    match: int
    next: int
    state: ProgressState
    recent_active: bool
    pending_snapshot: int
    is_learner: bool


class Status(NamedTuple):
    """Everything worth showing; `progress` is empty but on a leader, and has no entry for the leader itself."""

    id: int
    term: int
    vote: int
    lead: int
    role: Role
    commit: int
    applied: int
    last_index: int
    lead_transferee: int
    conf_state: ConfState
    progress: dict[int, ProgressStatus]


class RawNode:
    """One member's consensus. See the head of this file for what its caller owes."""

    __slots__ = ("_handed", "_outstanding", "_raft", "_soft_state")

    def __init__(self, config: Config, storage: Storage) -> None:
        """Starts as a follower, from what `storage` holds. Raises StorageError if that contradicts itself."""
        self._raft = Raft(config, storage)
        self._handed = self._raft.saved
        self._soft_state = SoftState(NONE, Role.FOLLOWER)
        self._outstanding: Ready | None = None

    # What it is.

    @property
    def id(self) -> int:
        return self._raft.id

    @property
    def term(self) -> int:
        return self._raft.term

    @property
    def lead(self) -> int:
        return self._raft.lead

    @property
    def role(self) -> Role:
        return self._raft.role

    @property
    def commit(self) -> int:
        return self._raft.log.commit

    @property
    def commit_told(self) -> int:
        """The highest commit index that another member, as leader, has told this one. A member that was removed may
        stop once this reaches its removal: others know of it."""
        return self._raft.commit_told

    @property
    def applied(self) -> int:
        return self._raft.log.applied

    @property
    def conf_state(self) -> ConfState:
        return self._raft.tracker.conf_state

    def status(self) -> Status:
        raft, log = self._raft, self._raft.log
        return Status(
            id=raft.id,
            term=raft.term,
            vote=raft.vote,
            lead=raft.lead,
            role=raft.role,
            commit=log.commit,
            applied=log.applied,
            last_index=log.last_index,
            lead_transferee=raft.lead_transferee,
            conf_state=raft.tracker.conf_state,
            progress=self._progress() if raft.role == LEADER else {},
        )

    def _progress(self) -> dict[int, ProgressStatus]:
        learners = self._raft.tracker.conf_state.learners
        return {
            peer.id: ProgressStatus(
                peer.match, peer.next, peer.state, peer.recent_active, peer.pending_snapshot, peer.id in learners
            )
            for peer in self._raft.tracker.peers
        }

    # What happens to it.

    def tick(self) -> None:
        """One unit of time has passed."""
        raft = self._raft
        if raft.role == LEADER:
            leader.tick(raft)
        elif raft.role == Role.FOLLOWER:
            follower.tick(raft)
        else:
            candidate.tick(raft)

    def campaign(self) -> None:
        """Stands for election now, if this member may; a no-op otherwise."""
        candidate.stand(self._raft)

    def step(self, message: Message) -> None:
        """Takes in a message from a peer, or a PROP without sender as an own proposal. Raises StepRefused for what no
        honest peer sends, ProposalDropped for a PROP that enters no log; both leave the state sound."""
        step(self._raft, message)

    def propose(self, data: bytes) -> None:
        """Asks for `data` to be replicated. It is not known to be committed until it comes back in a Ready; on a
        follower it goes to the leader and may get lost. Raises ProposalDropped if it cannot enter the log now: no
        leader, a transfer, too much uncommitted, or this member is not one any more."""
        self._propose(Entry(0, 0, EntryType.NORMAL, data))

    def propose_conf_change(self, change: ConfChange) -> None:
        """Asks for a membership change; the entry's data is `confchange.encode(change)`. Raises ProposalDropped, and of
        those ConfChangeRefused if another change is pending or this one makes no sense. A leader that gets a forwarded
        one refuses it silently, so whoever waits must ask again."""
        confchange.check(self.conf_state, change)
        self._propose(Entry(0, 0, EntryType.CONF_CHANGE, confchange.encode(change)))

    def _propose(self, entry: Entry) -> None:
        raft = self._raft
        if raft.id not in raft.tracker.progress:
            raise ProposalDropped("not a member")
        step(raft, Message(PROP, raft.id, entries=(entry,)))

    def apply_conf_change(self, change: ConfChange | None) -> ConfState:
        """The caller has applied a CONF_CHANGE entry; None if its state machine refuses that change. Every member must
        decide alike. Returns the members from here on."""
        raft = self._raft
        if change is not None:
            raft.configure(confchange.apply(raft.tracker.conf_state, change))
            if raft.role == LEADER:
                leader.conf_changed(raft)
            elif raft.role != Role.FOLLOWER and not raft.tracker.is_voter(raft.id):
                raft.become_follower(raft.term, NONE)
        return raft.tracker.conf_state

    def read_index(self, context: bytes) -> None:
        """Asks for a linearizable read. A ReadState with this context follows; index 0 says: ask again."""
        raft = self._raft
        if raft.role == LEADER:
            leader.ask_read(raft, ReadRequest(raft.id, context))
        elif raft.lead != NONE and len(raft.forwarded_reads.waiting) < raft.config.max_waiting_reads:
            raft.forwarded_reads.waiting.append(context)
        else:
            raft.read_states.append(ReadState(0, context))

    def transfer_leader(self, to: int) -> None:
        """Hands leadership to `to`, a voter, within an election timeout or not at all. A follower may ask so for
        itself; anything else is a no-op."""
        raft = self._raft
        if raft.role == LEADER:
            leader.transfer(raft, to)
        elif to == raft.id and raft.lead != NONE:
            raft.send(Message(MessageType.TRANSFER_LEADER, raft.lead, raft.id))

    def report_unreachable(self, member: int) -> None:
        """The transport could not deliver to `member`."""
        if self._raft.role == LEADER:
            leader.report_unreachable(self._raft, member)

    def report_snapshot(self, member: int, ok: bool) -> None:
        """A snapshot sent to `member` has arrived or failed. Each SNAP message owes one such report."""
        if self._raft.role == LEADER:
            leader.report_snapshot(self._raft, member, ok=ok)

    # What it wants done.

    def has_ready(self, *, announce: bool = True) -> bool:
        """Whether `ready()` would carry anything."""
        raft = self._raft
        log, handed = raft.log, self._handed
        return bool(
            raft.messages
            or raft.persisted_messages
            or raft.read_states
            or log.has_committed_entries
            or log.unstable.has_more
            or (leader.has_messages_due(raft, announce) if raft.role == LEADER else raft.forwarded_reads.waiting)
            or (announce and log.commit != handed.commit)
            or (raft.term, raft.vote) != handed[:2]
            or (raft.lead, raft.role) != self._soft_state
        )

    def ready(self, *, announce: bool = True) -> Ready:
        """What the caller owes now, taken out. Raises ReadyOutstanding if the last one was not given back.

        That the commit index has grown is news for the disk and for followers, which travels at no cost with the next
        entries. Without `announce` nothing is saved or sent for it alone; a caller that makes use of this calls once
        more, with it, when no entries have followed soon."""
        if self._outstanding is not None:
            raise ReadyOutstanding("the last Ready was not given to advance()")
        raft = self._raft
        if raft.role == LEADER:
            leader.compose_messages(raft, announce)
        else:
            follower.forward_reads(raft)
        entries, snapshot = raft.log.unstable.hand_out()
        hard_state, must_sync = self._hand_out_hard_state(announce or bool(entries) or snapshot is not None)
        self._outstanding = Ready(
            self._hand_out_soft_state(),
            hard_state,
            entries,
            snapshot,
            raft.log.hand_out_committed(raft.config.max_committed_bytes_per_ready),
            tuple(raft.messages),
            tuple(raft.persisted_messages),
            tuple(raft.read_states),
            must_sync or bool(entries) or snapshot is not None,
        )
        raft.messages.clear()
        raft.persisted_messages.clear()
        raft.read_states.clear()
        return self._outstanding

    def _hand_out_hard_state(self, with_commit: bool) -> tuple[HardState | None, bool]:
        """The hard state if it is news, and whether it must be on disk before a promise: term and vote must. The commit
        index is only a help at the next start, and can wait unless `with_commit`. But if it decides a membership change
        it must be there too: the member that goes stops when it hears of that, and one that forgot it over a power cut
        might need its vote for ever."""
        old, new = self._handed, self._raft.hard_state
        if new == old:
            return None, False
        decides = new.commit != old.commit and self._raft.log.has_conf_change(old.commit, new.commit)
        must_sync = decides or new.term != old.term or new.vote != old.vote
        if not must_sync and not with_commit:
            return None, False
        self._handed = new
        return new, must_sync

    def _hand_out_soft_state(self) -> SoftState | None:
        raft = self._raft
        if (raft.lead, raft.role) == self._soft_state:
            return None
        self._soft_state = SoftState(raft.lead, raft.role)
        return self._soft_state

    def advance(self, ready: Ready) -> None:
        """The caller has done everything `ready` asked for: what it carried is on disk and applied. Only now do this
        member's own vote and own log count."""
        if ready is not self._outstanding:
            raise ReadyOutstanding("not the Ready that ready() gave last")
        self._outstanding = None
        raft, log = self._raft, self._raft.log
        if ready.hard_state is not None:
            raft.saved = ready.hard_state
            candidate.count_own_vote(raft)
        if ready.snapshot is not None:
            log.snapshot_stable(ready.snapshot)
        if ready.entries:
            last = ready.entries[-1]
            log.unstable.stable_to(last.index, last.term)
            if raft.role == LEADER:
                raft.acknowledge_own()
        if ready.committed_entries:
            log.applied_to(ready.committed_entries[-1].index)
