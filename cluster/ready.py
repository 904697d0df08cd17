"""The heart: one `Ready`, five effects, in the order that makes Raft's promises true.

Nothing here decides anything. It awaits only its ports, so a simulator can drive this very code one step at a time with
`coroutine.send(None)` and crash it at each await.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

from raft.messages import Entry, HardState, Message, Ready, Snapshot


class StoragePort(Protocol):
    @property
    def has_room(self) -> bool:
        """False while the disk is full: then nothing new should be proposed."""

    def save(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None, *, must_sync: bool
    ) -> Awaitable[None]:
        """Begins to make all three durable, at once; the awaitable ends when they are on disk."""


class TransportPort(Protocol):
    def send(self, messages: Iterable[Message]) -> None:
        """Queues messages for their members; never blocks, drops what does not fit (raft repeats what matters)."""

    def active_since(self, member_id: int) -> float | None:
        """Since when that member can be reached, on the transport's clock; None while it cannot."""


class ApplierPort(Protocol):
    def apply(self, committed_entries: Sequence[Entry]) -> None:
        """Applies entries in order and hands each result to whoever waits for it."""

    def restore(self, snapshot: Snapshot | None) -> None:
        """Replaces the whole state by the snapshot just saved, if there is one."""


async def process_ready(ready: Ready, storage: StoragePort, transport: TransportPort, applier: ApplierPort) -> None:
    overlaps = ready.must_sync
    if not overlaps:
        applier.apply(ready.committed_entries)  # there is no disk to wait for: those who wait for answers come first
    transport.send(ready.messages)  # may leave before our own fsync (Raft thesis, 10.2.1)
    saved = storage.save(ready.hard_state, ready.entries, ready.snapshot, must_sync=ready.must_sync)
    if overlaps:
        applier.apply(ready.committed_entries)  # committed AND on our own disk since an earlier Ready: no need to wait
    await saved
    transport.send(ready.persisted_messages)  # only now are these promises true
    applier.restore(ready.snapshot)
