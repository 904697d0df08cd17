"""When the leader proposes an expiry: once for what is due, and again if the first proposal is never heard of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from cluster.node import ClusterNode
from etcdpy.commands import Sync
from etcdpy.expiry import PATIENCE_TICKS, Expiry
from etcdpy.store.store import Store

SECOND_NS = 1_000_000_000
NOW_NS = 2_000_000_000 * SECOND_NS


class Node:
    def __init__(self) -> None:
        self.is_leader = True
        self.time_ns = NOW_NS
        self.proposed: list[tuple[Any, Callable[[Any], None]]] = []

    def now_ns(self) -> int:
        return self.time_ns

    def propose(self, command: Any, done: Callable[[Any], None]) -> None:
        self.proposed.append((command, done))


def due() -> tuple[Node, Store, Expiry]:
    node, store = Node(), Store()
    store.set("/a", "x", False, SECOND_NS, False, NOW_NS)
    return node, store, Expiry(cast(ClusterNode, node), store)


def test_nothing_is_proposed_before_its_time_or_by_a_follower() -> None:
    node, _, expiry = due()
    node.time_ns += SECOND_NS - 1
    expiry.check()
    node.time_ns += 1
    node.is_leader = False
    expiry.check()
    assert node.proposed == []


def test_what_is_due_is_proposed_once_until_that_is_applied() -> None:
    node, store, expiry = due()
    node.time_ns += SECOND_NS
    expiry.check()
    expiry.check()
    assert [command for command, _ in node.proposed] == [Sync()]
    store.set("/b", "x", False, SECOND_NS, False, NOW_NS)
    node.proposed[0][1](None)
    expiry.check()
    assert len(node.proposed) == 2


def test_a_proposal_that_is_never_answered_is_made_again() -> None:
    node, _, expiry = due()
    node.time_ns += SECOND_NS
    for _ in range(PATIENCE_TICKS + 1):
        expiry.check()
    assert len(node.proposed) == 2
