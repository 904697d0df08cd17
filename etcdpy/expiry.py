"""Proposes the expiry of what is due. Only the leader does; the expiry itself is in the log, on every member alike."""

from __future__ import annotations

from typing import Any

from cluster.node import ClusterNode
from etcdpy.commands import Sync
from etcdpy.store.store import Store

PATIENCE_TICKS = 10
"""A proposal that has not been applied by then is made again: what a snapshot jumped over is never answered."""


class Expiry:
    """Call `check` at each tick: a key expires at most a tick, and the time of one write, after its time."""

    def __init__(self, node: ClusterNode, store: Store) -> None:
        self._node = node
        self._store = store
        self._ticks_to_wait = 0

    def check(self) -> None:
        if self._ticks_to_wait:
            self._ticks_to_wait -= 1
        if self._ticks_to_wait or not self._node.is_leader:
            return
        deadline = self._store.next_deadline_ns()
        if deadline is not None and deadline <= self._node.now_ns():
            self._ticks_to_wait = PATIENCE_TICKS
            self._node.propose(Sync(), self._done)

    def _done(self, result: Any) -> None:
        self._ticks_to_wait = 0
