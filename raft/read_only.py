"""Linearizable reads without a log entry: ReadIndex (thesis, section 6.4).

A leader may name its commit index as a read index once a majority has confirmed, *after* the read came in, that it
still leads. Reads that wait together share one round of heartbeats. Rounds are numbered; a heartbeat carries the number
of the last round begun, and its answer confirms that round and all before it, never one begun later.

A follower sends the reads that wait together as one request, under a number of its own making that is never used
again, so a late answer to an old request confirms nothing, whatever contexts the callers choose (etcd-io/raft 397).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from raft.quorum import committed_index

_NUMBER_BYTES = 8
_NUMBER_MASK = (1 << 64) - 1


def pack_number(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big")


def unpack_number(context: bytes) -> int:
    """0 for a context that is no number."""
    return int.from_bytes(context, "big") if len(context) == _NUMBER_BYTES else 0


class ReadRequest(NamedTuple):
    """One read as the leader sees it: `sender` gets `context` back."""

    sender: int
    context: bytes


class Round(NamedTuple):
    number: int
    read_index: int
    requests: list[ReadRequest]


class ReadRounds:
    """The leader's side. `number` is the last round begun in this leadership."""

    __slots__ = ("_confirmed", "_open", "_open_requests", "number", "waiting")

    def __init__(self) -> None:
        self.number = 0
        self.waiting: list[ReadRequest] = []
        self._open: deque[Round] = deque()
        self._open_requests = 0
        self._confirmed: dict[int, int] = {}  # what each member has confirmed last

    def __len__(self) -> int:
        """How many reads have no answer yet."""
        return len(self.waiting) + self._open_requests

    @property
    def context(self) -> bytes:
        """What a heartbeat carries: empty when no round is open."""
        return pack_number(self.number) if self._open else b""

    def begin(self, commit: int) -> None:
        """Starts a round for everything that waits. No heartbeat sent before may count for it."""
        self.number += 1
        self._open.append(Round(self.number, commit, self.waiting))
        self._open_requests += len(self.waiting)
        self.waiting = []

    def confirm(self, member: int, number: int) -> None:
        """`member` answered a heartbeat that carried `number`. A number not given out yet is nobody's answer."""
        if self._confirmed.get(member, 0) < number <= self.number:
            self._confirmed[member] = number

    def take_confirmed(self, voters: Sequence[int], own: int) -> list[Round]:
        """Removes and returns the rounds that a majority has confirmed; `own` confirms itself by being asked."""
        confirmed = self._confirmed
        number = committed_index([self.number if voter == own else confirmed.get(voter, 0) for voter in voters])
        rounds = []
        while self._open and self._open[0].number <= number:
            rounds.append(self._open.popleft())
            self._open_requests -= len(rounds[-1].requests)
        return rounds

    def take_all(self) -> list[ReadRequest]:
        """Removes and returns every request: this leadership is over."""
        requests = [request for round_ in self._open for request in round_.requests] + self.waiting
        self.number = 0
        self.waiting = []
        self._open.clear()
        self._open_requests = 0
        self._confirmed.clear()
        return requests


class ForwardedReads:
    """A follower's side: contexts that wait for the next Ready, and those that are with the leader.

    `first_number` has to differ from one life of the member to the next; a random one does.
    """

    __slots__ = ("_number", "_old", "_sent", "_ticks", "waiting")

    def __init__(self, first_number: int) -> None:
        self._number = first_number
        self.waiting: list[bytes] = []
        self._sent: dict[int, list[bytes]] = {}
        self._old: dict[int, list[bytes]] = {}
        self._ticks = 0

    def begin(self) -> bytes:
        """The number under which everything that waits now goes to the leader, packed."""
        self._number = (self._number + 1) & _NUMBER_MASK
        self._sent[self._number] = self.waiting
        self.waiting = []
        return pack_number(self._number)

    def take(self, context: bytes) -> Sequence[bytes]:
        """The contexts that went under this number; none if it was answered or given up before."""
        number = unpack_number(context)
        return self._sent.pop(number, None) or self._old.pop(number, None) or ()

    def tick(self, patience: int) -> list[bytes]:
        """Removes and returns what was sent one to two `patience` ticks ago: it or its answer was lost on the way."""
        self._ticks += 1
        if self._ticks % patience:
            return []
        return self._take_old()

    def _take_old(self) -> list[bytes]:
        overdue = [context for contexts in self._old.values() for context in contexts]
        self._old, self._sent = self._sent, {}
        return overdue

    def take_all(self) -> list[bytes]:
        """Removes and returns every context: the leader they went to is gone."""
        overdue = self._take_old() + self._take_old() + self.waiting
        self.waiting = []
        return overdue
