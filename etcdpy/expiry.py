"""Proposes the expiry of what is due. Only the leader does; the expiry itself is in the log, on every member alike."""

from __future__ import annotations

from typing import Any

from cluster.node import ClusterNode
from etcdpy.commands import Sync
from etcdpy.store.store import Store


class Expiry:
    """Call `check` at each tick: a key expires at most a tick, and the time of one write, after its time."""

    def __init__(self, node: ClusterNode, store: Store) -> None:
        self._node = node
        self._store = store
        self._under_way = False

    def check(self) -> None:
        if self._under_way or not self._node.is_leader:
            return
        deadline = self._store.next_deadline_ns()
        if deadline is not None and deadline <= self._node.now_ns():
            self._under_way = True
            self._node.propose(Sync(), self._done)

    def _done(self, result: Any) -> None:
        self._under_way = False
