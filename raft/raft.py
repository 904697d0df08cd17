"""The state of one consensus machine and the ways it changes role.

Owns term, vote, role, log, members and the messages not yet handed out. What a role does with a message is in
`follower`, `candidate` and `leader`; which of them is asked is in `step`; nothing here knows them.

Invariants: the term never goes back; a vote changes only with the term, or from nobody to somebody (section 5.2); the
leader's term and vote are on disk, because its own vote counts only from then on.
"""

from __future__ import annotations

import sys
from collections import deque

from raft.config import Config
from raft.errors import StorageError
from raft.log import Log
from raft.messages import NONE, ConfState, Entry, EntryType, HardState, Message, MessageType, ReadState, Role, Snapshot
from raft.progress import Progress
from raft.read_only import ForwardedReads, ReadRequest, ReadRounds
from raft.storage import Storage
from raft.tracker import Tracker

READ_INDEX_RESP = MessageType.READ_INDEX_RESP


class Raft:
    """Plain state; `RawNode` is the door for callers."""

    __slots__ = (
        "appends_due",
        "commit_told",
        "config",
        "election_elapsed",
        "election_timeout",
        "forwarded_reads",
        "heartbeat_due",
        "heartbeat_elapsed",
        "id",
        "lead",
        "lead_transferee",
        "leaving_at",
        "log",
        "messages",
        "pending_conf_index",
        "persisted_messages",
        "read_rounds",
        "read_states",
        "role",
        "saved",
        "term",
        "term_start",
        "tracker",
        "transfer_elapsed",
        "uncommitted_bytes",
        "uncommitted_sizes",
        "vote",
    )

    def __init__(self, config: Config, storage: Storage) -> None:
        hard_state, conf_state = storage.initial_state()
        self.config = config
        self.id = config.id
        self.log = Log(storage, hard_state, config.applied)
        self.term, self.vote = hard_state.term, hard_state.vote
        if self.term < self.log.last_term:
            raise StorageError(f"term {self.term} is older than the last entry's {self.log.last_term}")
        self.saved = HardState(self.term, self.vote, hard_state.commit)
        self.role = Role.FOLLOWER
        self.lead = NONE
        self.commit_told = 0  # the highest commit index that another leader has told
        self.tracker = Tracker(config)
        self.tracker.configure(conf_state, self.log.last_index + 1)
        self.messages: list[Message] = []
        self.persisted_messages: list[Message] = []
        self.read_states: list[ReadState] = []
        self.forwarded_reads = ForwardedReads(config.random.getrandbits(64))
        self.election_elapsed = 0
        self._draw_election_timeout()
        self._reset_leadership()

    def _reset_leadership(self) -> None:
        """What only a leader uses, empty."""
        self.term_start = 0
        self.pending_conf_index = 0
        self.heartbeat_elapsed = 0
        self.heartbeat_due = False
        self.appends_due = False
        self.lead_transferee = NONE
        self.transfer_elapsed = 0
        self.leaving_at = 0
        self.uncommitted_bytes = 0
        self.uncommitted_sizes: deque[int] = deque()
        self.read_rounds = ReadRounds()

    def _draw_election_timeout(self) -> None:
        ticks = self.config.election_ticks
        self.election_timeout = self.config.random.randrange(ticks, 2 * ticks)

    # What it is.

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.commit)

    @property
    def is_promotable(self) -> bool:
        """Whether this member may ask for votes: a voter, and not in the middle of taking in a snapshot."""
        return self.tracker.is_voter(self.id) and self.log.unstable.snapshot is None

    @property
    def committed_in_term(self) -> bool:
        """Whether a leader has committed an entry of its own term, so that it knows what is committed (section 8)."""
        return self.log.commit >= self.term_start

    # How it changes (section 5.1, 5.2).

    def become_follower(self, term: int, lead: int) -> None:
        self._reset(term)
        self.role = Role.FOLLOWER
        self.lead = lead

    def become_pre_candidate(self) -> None:
        """Asks whether an election could be won before disturbing anybody: no new term, no vote (thesis, 9.6)."""
        self._reset(self.term)
        self.role = Role.PRE_CANDIDATE

    def become_candidate(self) -> None:
        self._reset(self.term + 1)
        self.role = Role.CANDIDATE
        self.vote = self.id

    def become_leader(self) -> None:
        """Leads from here on, with an entry of the own term as its first act (section 8)."""
        self._reset(self.term)
        self.role = Role.LEADER
        self.lead = self.id
        log = self.log
        self.tracker.reset(log.last_index + 1)
        self._count_uncommitted()
        self.term_start = self.pending_conf_index = log.last_index + 1
        self.append(EntryType.NORMAL, b"")
        self.acknowledge_own()

    def _reset(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = NONE
        self.lead = NONE
        self.election_elapsed = 0
        self._draw_election_timeout()
        self.tracker.votes = {}
        self._drop_reads()
        self._reset_leadership()

    def forget_leader(self) -> None:
        """The leader was not heard for too long, and this member may not stand for election itself."""
        self.lead = NONE
        self.election_elapsed = 0
        self._drop_reads()

    # Messages out.

    def send(self, message: Message) -> None:
        """Queues what says nothing about this disk."""
        self.messages.append(message)

    def promise(self, message: Message) -> None:
        """Queues what is true only once this member's term, vote and entries are on its disk."""
        self.persisted_messages.append(message)

    # A leader's log.

    def append(self, entry_type: int, data: bytes) -> None:
        """Adds one entry of this term; followers get it with the next Ready."""
        entry = Entry(self.term, self.log.last_index + 1, entry_type, data)
        self.log.append(entry)
        self.uncommitted_sizes.append(len(data))
        self.uncommitted_bytes += len(data)
        self.appends_due = True

    def _count_uncommitted(self) -> None:
        """Entries of earlier terms count as well, one size for each entry after `commit`."""
        lo, hi = self.log.commit + 1, self.log.last_index + 1
        if lo < hi:
            entries = self.log.entries(lo, hi, sys.maxsize)
            self.uncommitted_sizes.extend(len(entry.data) for entry in entries)
            self.uncommitted_bytes = sum(self.uncommitted_sizes)

    def maybe_commit(self) -> bool:
        """Commits what a majority has on disk, but by counting only entries of the own term (section 5.4.2)."""
        index = self.tracker.committed_index()
        if index <= self.log.commit or index < self.term_start:
            return False
        for _ in range(index - self.log.commit):
            self.uncommitted_bytes -= self.uncommitted_sizes.popleft()
        self.log.commit_to(index)
        self.appends_due = True
        return True

    def acknowledge_own(self) -> bool:
        """Counts what this leader has on its own disk, nothing more; says whether that committed something."""
        own = self.tracker.progress.get(self.id)
        return own is not None and own.maybe_update(self.log.stable_index) and self.maybe_commit()

    # Members.

    def configure(self, conf_state: ConfState) -> None:
        self.tracker.configure(conf_state, max(1, self.log.last_index))

    def restore(self, snapshot: Snapshot) -> None:
        """The snapshot replaces log and members."""
        self.log.restore(snapshot)
        self.tracker.conf_state = snapshot.conf_state
        self.tracker.reset(snapshot.index + 1)

    # Reads.

    def answer_read(self, request: ReadRequest, read_index: int) -> None:
        """Gives a read its index; 0 says that it was dropped."""
        if request.sender == self.id:
            self.read_states.append(ReadState(read_index, request.context))
        else:
            self.send(
                Message(READ_INDEX_RESP, request.sender, self.id, self.term, index=read_index, context=request.context)
            )

    def drop_contexts(self, contexts: list[bytes]) -> None:
        self.read_states.extend(ReadState(0, context) for context in contexts)

    def _drop_reads(self) -> None:
        """A read that an old leader was to confirm will not be; each caller is told at once. Followers that asked this
        member find out by themselves."""
        self.drop_contexts(self.forwarded_reads.take_all())
        if self.role == Role.LEADER:
            requests = self.read_rounds.take_all()
            self.drop_contexts([request.context for request in requests if request.sender == self.id])

    # Progress of others, for the leader.

    def progress_of(self, member: int) -> Progress | None:
        """What this leader knows of another member; None for itself and for strangers."""
        return None if member == self.id else self.tracker.progress.get(member)
