"""TTLs are never early (etcd's documentation: a TTL is a lower bound), whatever happens to leaders, members and
clocks: no key expires before its TTL has passed, in true time since its last renewal was asked for. Only a majority
that has forgotten the time asks wall clocks again, and then nothing can be promised. In the end, with a leader,
nothing stays overdue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.state_machine import Position

SECOND = 1_000_000_000
OVERDUE_NS = SECOND
TOLERANCE_NS = 1_000_000


class Ttl:
    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._asked: dict[str, int] = {}  # by value, when it was asked for
        self._set: dict[str, int] = {}  # by key, when the value that it has was asked for
        self._renewed: dict[str, int] = {}  # by key, when the last acknowledged renewal was asked for
        self._seen = 0

    def asked(self, operation: Any) -> None:
        if operation.ttl_ns and operation.kind == "set":
            self._asked[operation.value] = operation.asked_ns

    def answered(self, operation: Any) -> None:
        if operation.ttl_ns and operation.kind == "refresh" and operation.outcome == "ok":
            self._renewed[operation.key] = max(self._renewed.get(operation.key, 0), operation.asked_ns)

    def applied(self, member: Any, commands: Sequence[Any], position: Position, results: Sequence[Any]) -> None:
        store = member.store
        if store.index <= self._seen:
            return
        history = store.history
        slots = list(history.slots())[-(store.index - self._seen) :]
        self._seen = store.index
        for event in slots:
            if event is not None and event.node.key.startswith("/t/"):
                self._look(member, event)

    def _look(self, member: Any, event: Any) -> None:
        key = event.node.key
        if event.action != "expire":
            self._set[key] = self._asked.get(event.node.value, self._set.get(key, 0))
            return
        renewed = max(self._set.get(key, 0), self._renewed.get(key, 0))
        if renewed <= self._watch.time_lost_at:
            return
        ttl, rate = self._world.plan.ttl_ns, self._world.plan.rate_ppm
        allowed = renewed + ttl - ttl * 2 * rate // 1_000_000 - TOLERANCE_NS
        if self._world.now < allowed:
            early = (allowed - self._world.now) / 1e9
            self._world.fail("ttl", f"{key} expired {early:.3f} s early, as {member} applies it")

    def at_end(self) -> None:
        for leader in self._world.leaders():
            deadline = leader.store.next_deadline_ns()
            if deadline is not None and deadline + OVERDUE_NS < leader.node.now_ns():
                self._world.fail("ttl", f"a key is {(leader.node.now_ns() - deadline) / 1e9:.3f} s overdue at {leader}")
