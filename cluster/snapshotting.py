"""When a snapshot is made, and how: of the state just applied, by a forked child, with the log shortened behind it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from cluster.applier import Applier
from cluster.forked import ChildFailed
from cluster.snapshotter import Snapshotter
from cluster.state_machine import StateMachine
from raft.messages import ConfState, Snapshot

log = logging.getLogger(__name__)

MAX_LOG_BYTES = 256 << 20
"""However few the commands: more log than this since the last snapshot calls for one."""

RETRY_SECONDS = 30.0


def head_start(member_id: int, conf_state: ConfState, snapshot_count: int) -> int:
    """How many commands earlier than after `snapshot_count` a member makes its first snapshot: all apply the same
    commands, and so would fork and flush at the same moment ever after."""
    members = conf_state.voters + conf_state.learners
    rank = sum(member < member_id for member in members)
    return snapshot_count * rank // max(len(members), rank + 1)


class SnapshottedLog(Protocol):
    """What this needs of the storage."""

    bytes_since_snapshot: int

    def create_snapshot(self, snapshot: Snapshot) -> None: ...


class Snapshotting:
    """Call `check` when everything committed so far is applied."""

    def __init__(
        self,
        applier: Applier,
        state_machine: StateMachine,
        storage: SnapshottedLog,
        snapshotter: Snapshotter,
        conf_state: Callable[[], ConfState],
        snapshot_count: int,
        run_in_child: Callable[[Callable[[], None]], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], Awaitable[None]],
        monotonic: Callable[[], float],
        head_start: int = 0,
    ) -> None:
        """`snapshot_count` is the number of applied commands after which a snapshot is due, the first one `head_start`
        commands earlier. `spawn` begins a task."""
        self._applier = applier
        self._state_machine = state_machine
        self._storage = storage
        self._snapshotter = snapshotter
        self._conf_state = conf_state
        self._snapshot_count = snapshot_count
        self._run_in_child = run_in_child
        self._spawn = spawn
        self._monotonic = monotonic
        self._commands_at_last = -head_start
        self._not_before = 0.0
        self._task: Awaitable[None] | None = None

    def check(self) -> None:
        if self._task is None and self._is_due():
            self._begin()

    def _is_due(self) -> bool:
        commands = self._applier.applied_commands - self._commands_at_last
        return commands >= self._snapshot_count or self._storage.bytes_since_snapshot >= MAX_LOG_BYTES

    def _begin(self) -> None:
        if self._monotonic() < self._not_before:
            return
        snapshot = Snapshot(self._applier.applied_index, self._applier.applied_term, self._conf_state())
        header, dump = self._applier.header(), self._state_machine.dump
        self._commands_at_last = self._applier.applied_commands
        try:
            written = self._run_in_child(lambda: self._snapshotter.write(snapshot, header, dump()))
        except OSError as failure:  # no memory or no process left for a child: members run out of them together
            self._try_again_later(snapshot, failure)
        else:
            self._task = self._spawn(self._finish(snapshot, written))

    async def _finish(self, snapshot: Snapshot, written: Coroutine[Any, Any, None]) -> None:
        try:
            await written
            self._storage.create_snapshot(snapshot)
            log.info("snapshot made", extra={"fields": {"raft_index": snapshot.index}})
        except ChildFailed as failure:  # a full disk, most likely
            self._try_again_later(snapshot, failure)
        finally:
            self._task = None

    def _try_again_later(self, snapshot: Snapshot, failure: Exception) -> None:
        """The log simply stays long until it works."""
        self._commands_at_last -= self._snapshot_count
        self._not_before = self._monotonic() + RETRY_SECONDS
        fields = {"raft_index": snapshot.index, "reason": str(failure)}
        log.warning("snapshot not made", extra={"fields": fields})

    async def stop(self) -> None:
        """Waits for a snapshot under way."""
        if self._task is not None:
            await self._task
