"""What `cluster` replicates for: any deterministic machine over commands it does not understand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol


class Position(NamedTuple):
    """Where in the replicated history a batch of commands stands.

    `now_ns` is the cluster's time in nanoseconds since the Unix epoch, stamped by the leader when it appended the
    entry: the same on every member and at every replay, and it never goes back. It is the only clock that `apply`
    may look at.
    """

    raft_index: int
    raft_term: int
    now_ns: int


class StateMachine(Protocol):
    """The contract: the same commands at the same positions give the same state and results on every member."""

    def apply(self, commands: Sequence[Any], position: Position) -> Sequence[Any]:
        """Applies one batch, in order; returns one result for each command. Whatever was accepted for proposal must
        not raise here: a refusal is a result. A command is a msgpack value (an array decodes to a list; text is
        `str` with surrogateescape)."""

    def membership_changed(self, position: Position) -> None:
        """A membership entry was applied. A machine that numbers what happens may give it a number (etcd does)."""

    def dump(self) -> Iterator[bytes]:
        """Yields the whole state as pieces of at most about 1 MiB. The caller applies nothing until the iterator is
        exhausted (a forked child walks it in production)."""

    def load(self, pieces: Iterable[bytes]) -> None:
        """Replaces the whole state by what `dump` once yielded."""
