"""What a leader knows of one other member's log, and how much it may send there.

Probing, one message at a time, finds out where the logs agree; replicating sends ahead of the acknowledgements, within
a window; a member that needs a snapshot gets nothing else until it has it. Invariant: `match < next`.
Source: the idea of etcd-io/raft tracker/progress.go.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum


class ProgressState(IntEnum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class Inflights:
    """Messages sent and not acknowledged: (last index, bytes) of each, oldest first."""

    __slots__ = ("bytes", "max_bytes", "max_messages", "sent")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.bytes = 0
        self.sent: deque[tuple[int, int]] = deque()

    @property
    def full(self) -> bool:
        return len(self.sent) >= self.max_messages or self.bytes >= self.max_bytes

    def add(self, last_index: int, size: int) -> None:
        self.sent.append((last_index, size))
        self.bytes += size

    def free_to(self, index: int) -> None:
        """Everything up to `index` has arrived."""
        sent = self.sent
        while sent and sent[0][0] <= index:
            self.bytes -= sent.popleft()[1]

    def free_first(self) -> None:
        """Gives up on the oldest one, so that a window of lost messages does not stay shut."""
        if self.sent:
            self.bytes -= self.sent.popleft()[1]

    def clear(self) -> None:
        self.sent.clear()
        self.bytes = 0


class Progress:
    """`due` asks for a message even if there is nothing new to say; `sent_commit` is the commit index last told,
    `commit` the one that the member has confirmed to know, and `proposed` the last entry that it asked for itself."""

    __slots__ = (
        "commit",
        "due",
        "id",
        "inflights",
        "match",
        "next",
        "pending_snapshot",
        "probe_sent",
        "proposed",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, member: int, next_index: int, inflights: Inflights) -> None:
        self.id = member
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.inflights = inflights
        self.probe_sent = False
        self.pending_snapshot = 0
        self.recent_active = False
        self.sent_commit = 0
        self.commit = 0
        self.proposed = 0
        self.due = False

    @property
    def is_paused(self) -> bool:
        if self.state == ProgressState.REPLICATE:
            return self.inflights.full
        return self.probe_sent or self.state == ProgressState.SNAPSHOT

    def wants_append(self, last_index: int, commit: int, announce: bool) -> bool:
        """Whether there is something to say and room to say it. That `commit` has grown is a reason to `announce` it,
        or for a member that waits for an entry of its own."""
        told = commit if announce else min(commit, self.proposed)
        return (self.due or self.next <= last_index or self.sent_commit < told) and not self.is_paused

    def sent_append(self, last_index: int, size: int, commit: int) -> None:
        """An append that ends at `last_index` is on its way; `last_index` is `next - 1` if it carries no entries."""
        self.due = False
        self.sent_commit = max(self.sent_commit, commit)
        if self.state == ProgressState.PROBE:
            self.probe_sent = True
        elif last_index >= self.next:
            self.next = last_index + 1
            self.inflights.add(last_index, size)

    def maybe_update(self, index: int) -> bool:
        """The member has the log up to `index`; says whether that is news. A late message is not."""
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        self.probe_sent = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """The member refused an append that follows `rejected`; its log may agree at `hint`. Says whether this is news
        and `next` moved: a refusal of something sent long ago is not."""
        if self.state == ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.state != ProgressState.PROBE or rejected != self.next - 1:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.probe_sent = False
        return True

    def become_probe(self) -> None:
        """Feels the way forward from what is known for sure."""
        self.next = max(self.match, self.pending_snapshot) + 1
        self._enter(ProgressState.PROBE)
        self.sent_commit = 0
        self.due = True

    def become_replicate(self) -> None:
        self.next = self.match + 1
        self._enter(ProgressState.REPLICATE)

    def become_snapshot(self, index: int) -> None:
        """A snapshot at `index` is on its way."""
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = max(self.match, index) + 1

    def snapshot_failed(self) -> None:
        self.pending_snapshot = 0
        self.become_probe()

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.pending_snapshot = 0
        self.inflights.clear()
