"""The replicated log as one sequence: what is on disk, then what is not yet.

Owns the positions in it. Invariants: `applied <= applying <= commit <= last_index`; `commit` never goes back; an entry
at or before `commit` is never replaced; `applying` never passes what is on this member's own disk.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft.errors import Compacted, StepRefused, StorageError
from raft.messages import Entry, EntryType, HardState, Snapshot
from raft.storage import Storage, limit_bytes
from raft.unstable import Unstable

CONF_CHANGE = EntryType.CONF_CHANGE

_SCANNED_BYTES = 8 << 20


class Log:
    """`applying` is the last index handed out for applying, `applied` the last one reported as applied."""

    __slots__ = ("applied", "applying", "commit", "last_index", "last_term", "storage", "unstable")

    def __init__(self, storage: Storage, hard_state: HardState, applied: int) -> None:
        self.storage = storage
        self.last_index = storage.last_index
        self.last_term = storage.term(self.last_index)
        self.unstable = Unstable(self.last_index + 1)
        before_first = storage.first_index - 1
        # Whatever a snapshot or the state machine holds was committed, even if the note of it did not reach the disk.
        self.commit = max(hard_state.commit, before_first, applied)
        self.applied = self.applying = max(before_first, applied)
        if self.commit > self.last_index:
            raise StorageError(f"commit {self.commit} lies beyond the last entry {self.last_index}")

    # Reading.

    @property
    def first_index(self) -> int:
        snapshot = self.unstable.snapshot
        return self.storage.first_index if snapshot is None else snapshot.index + 1

    @property
    def stable_index(self) -> int:
        """The last index up to which this very log is on disk."""
        return self.unstable.offset - 1 if self.unstable.snapshot is None else 0

    def term(self, index: int) -> int | None:
        """The term at `index`; None if that is unknown, being compacted or beyond the end."""
        if index == self.last_index:
            return self.last_term
        if index > self.last_index:
            return None
        if index >= self.unstable.offset or self.unstable.snapshot is not None:
            return self.unstable.term(index)
        if index < self.storage.first_index - 1:
            return None
        return self.storage.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether this log holds exactly that entry (section 5.3, the consistency check)."""
        return self.term(index) == term

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends so is at least as up to date as this one: term first, then length (section 5.4.1)."""
        return term > self.last_term or (term == self.last_term and index >= self.last_index)

    def entries(self, lo: int, hi: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries `lo..hi-1`, at least one, then as many as fit in `max_bytes`. Raises Compacted."""
        if lo < self.first_index:
            raise Compacted(f"index {lo} is before the first entry {self.first_index}")
        unstable = self.unstable
        if lo >= unstable.offset:
            return tuple(limit_bytes(unstable.entries[lo - unstable.offset : hi - unstable.offset], max_bytes))
        stable_end = min(hi, unstable.offset)
        entries = tuple(self.storage.entries(lo, stable_end, max_bytes))
        if stable_end < hi and len(entries) == stable_end - lo:
            rest = unstable.entries[: hi - unstable.offset]
            entries = tuple(limit_bytes(entries + tuple(rest), max_bytes))
        return entries

    def has_conf_change(self, after: int, last: int) -> bool:
        """Whether a membership change is among the entries after `after` up to `last`, as far back as the log goes."""
        lo = max(after + 1, self.first_index)
        while lo <= last:
            entries = self.entries(lo, last + 1, _SCANNED_BYTES)
            if any(entry.type == CONF_CHANGE for entry in entries):
                return True
            lo += len(entries)
        return False

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The last entry at or before `index` whose term is not above `term`, as (index, its term).

        Terms never decrease along a log, so it can be searched by halves. Where the log does not reach back far
        enough the term is 0, which says "unknown".
        """
        low, high = self.first_index - 1, min(index, self.last_index)
        if high < low or (self.term(low) or 0) > term:
            return max(0, min(high, low - 1)), 0
        while low < high:
            middle = (low + high + 1) // 2
            if (self.term(middle) or 0) <= term:
                low = middle
            else:
                high = middle - 1
        return low, self.term(low) or 0

    # Growing.

    def append(self, entry: Entry) -> None:
        """A leader adds to its own log and never replaces anything in it (section 5.3, Leader Append-Only)."""
        self.unstable.append(entry)
        self.last_index, self.last_term = entry.index, entry.term

    def maybe_append(self, prev_index: int, prev_term: int, entries: Sequence[Entry]) -> bool:
        """Takes the leader's entries if this log holds the one before them; says whether it did.

        Only a real conflict cuts the log: entries that are here already stay, and so does what follows them, because a
        late message knows less than the log (section 5.3). Raises StepRefused if a committed entry would go.
        """
        if not self.matches(prev_index, prev_term):
            return False
        new = self._from_conflict(entries)
        if new:
            if new[0].index <= self.commit:
                raise StepRefused(f"entry {new[0].index} conflicts with a committed one (commit {self.commit})")
            self.unstable.replace_from(new)
            self.last_index, self.last_term = new[-1].index, new[-1].term
        return True

    def _from_conflict(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                return entries[position:]
        return ()

    def commit_to(self, index: int) -> None:
        self.commit = max(self.commit, index)

    def restore(self, snapshot: Snapshot) -> None:
        """The snapshot replaces everything (section 7)."""
        self.unstable.restore(snapshot)
        self.commit = snapshot.index
        self.last_index, self.last_term = snapshot.index, snapshot.term

    # Handing out.

    @property
    def has_committed_entries(self) -> bool:
        """Whether something is committed, on this disk and not handed out yet."""
        return self.applying < self.commit and self.applying < self.stable_index

    def hand_out_committed(self, max_bytes: int) -> tuple[Entry, ...]:
        """The next committed entries that are on this disk; `max_bytes` bounds one portion."""
        if not self.has_committed_entries:
            return ()
        hi = min(self.commit, self.stable_index) + 1
        entries = self.entries(self.applying + 1, hi, max_bytes)
        self.applying = entries[-1].index
        return entries

    def applied_to(self, index: int) -> None:
        self.applied = max(self.applied, index)
        self.applying = max(self.applying, index)

    def snapshot_stable(self, snapshot: Snapshot) -> None:
        """The snapshot is on disk and the caller's state comes from it."""
        self.unstable.snapshot_stable(snapshot)
        self.applied_to(snapshot.index)
