"""What the API means: requests answered from the store, the cluster and its membership. No HTTP in here.

The bottom is made of callbacks, so that the hot path needs no task and no future per request; the `await`-able forms
stand on them. Knows the cluster only by the `Node` protocol below. A callback gets a result or an exception and is
called exactly once, possibly before the call that takes it returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cluster.errors import NotEnoughStartedMembers
from cluster.membership import Member, Membership, compute_member_id
from etcdpy.commands import Command, Get, Watch
from etcdpy.errors import EtcdError
from etcdpy.store.event import Event
from etcdpy.store.store import Store
from etcdpy.store.watcher import Watcher
from raft.messages import ConfChangeType, Role

log = logging.getLogger(__name__)

Done = Callable[[Any], None]
"""Takes an `Event`, an `EtcdError` (a refusal), or another exception (nobody knows what became of the request)."""


class NodeStatus(Protocol):
    """This member's raft now. `lead` is 0 while nobody leads; `raft_index` is the highest index known to be
    committed."""

    @property
    def member_id(self) -> int: ...
    @property
    def lead(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def role(self) -> int: ...
    @property
    def raft_index(self) -> int: ...
    @property
    def applied_index(self) -> int: ...


class Node(Protocol):
    """What the service needs of the running member (`cluster.node.ClusterNode`)."""

    @property
    def status(self) -> NodeStatus: ...

    @property
    def term(self) -> int: ...
    @property
    def raft_index(self) -> int: ...
    @property
    def membership(self) -> Membership: ...

    @property
    def leader_changes(self) -> int: ...
    @property
    def proposals_pending(self) -> int: ...
    @property
    def proposals_failed(self) -> int: ...

    def now_ns(self) -> int:
        """Cluster time."""

    def propose(self, command: Any, done: Callable[[Any], None]) -> None:
        """`done` gets what the state machine returned, or a `ClusterError`."""

    def read_index(self, done: Callable[[Any], None]) -> None:
        """`done` gets None once the local state is at least as new as this call, or a `ClusterError`."""

    def change_membership(self, change_type: ConfChangeType, member: Member, done: Callable[[Any], None]) -> None:
        """`done` gets None once the change is in force, or a `MembershipError` or `ClusterError`. Raises
        NotImplementedError where changes are not supported."""


class Service:
    def __init__(self, node: Node, store: Store, wall_seconds: Callable[[], float]) -> None:
        """`wall_seconds` is the Unix time; it makes the ids of members that join later unlike all others."""
        self.node = node
        self.store = store
        self.cluster_id = f"{node.membership.cluster_id:x}"
        self._wall_seconds = wall_seconds

    # Keys

    def write(self, command: Command, done: Done) -> None:
        """Replicates the command; `done` gets its result when this member has applied it."""
        self.node.propose(command, done)

    def get(self, get: Get) -> Event:
        """This member's own state, possibly stale. Raises `EtcdError`."""
        return self.store.get(get.path, get.recursive, get.sorted, self.node.now_ns())

    def read(self, get: Get, done: Done) -> None:
        """A read as it was asked for: at once from the own state, or with `quorum` linearizable."""
        if get.quorum:
            self.node.read_index(lambda failure: done(failure if failure is not None else self.read_now(get)))
        else:
            done(self.read_now(get))

    def read_now(self, get: Get) -> Event | Exception:
        """This member's own answer, possibly stale."""
        try:
            return self.get(get)
        except EtcdError as error:
            return error
        except Exception as mistake:  # the node calls this, and must not pay for a mistake of ours
            log.exception("a read failed")
            return mistake

    def watch(
        self, watch: Watch, on_event: Callable[[Event], object], on_closed: Callable[[], object]
    ) -> tuple[Watcher, Callable[[], None]]:
        """A paused watcher (see `etcdpy/store/watcher.py`) and what ends it. Raises `EtcdError` 401."""
        watcher = self.store.watch(watch.path, watch.recursive, watch.stream, watch.since, on_event, on_closed)
        return watcher, lambda: self.store.unwatch(watcher)

    # The cluster

    @property
    def members(self) -> list[Member]:
        """In etcd's order: by their first peer URL."""
        return sorted(self.node.membership.members, key=lambda member: member.peer_urls[:1])

    @property
    def leader(self) -> Member | None:
        return self.node.membership.get(self.node.status.lead)

    @property
    def is_leader(self) -> bool:
        return self.node.status.role == Role.LEADER

    async def add_member(self, peer_urls: Sequence[str]) -> Member:
        """Raises `MembershipError`, `ClusterError` or NotImplementedError, as do the other two."""
        urls = tuple(peer_urls)
        member = Member(compute_member_id(urls, "", int(self._wall_seconds())), "", urls)
        await self._change(ConfChangeType.ADD_LEARNER, member)  # it will vote once it has caught up
        return member

    async def update_member(self, member_id: int, peer_urls: Sequence[str]) -> None:
        await self._change(ConfChangeType.UPDATE, Member(member_id, "", tuple(peer_urls)))

    async def remove_member(self, member_id: int) -> None:
        if [member.id for member in self.node.membership.members] == [member_id]:
            raise NotEnoughStartedMembers  # nobody would be left to know of it
        await self._change(ConfChangeType.REMOVE, Member(member_id, "", ()))

    async def _change(self, change_type: ConfChangeType, member: Member) -> None:
        await awaited(lambda done: self.node.change_membership(change_type, member, done))

    async def check_linearizable(self) -> None:
        """Returns once this member has seen everything that was committed before the call. Raises `ClusterError`."""
        await awaited(self.node.read_index)


async def awaited(start: Callable[[Callable[[Any], None]], None]) -> Any:
    """What `start`'s callback is given; raised if it is an exception. Cancelling only forgets the answer: the request
    itself goes on."""
    results: list[Any] = []
    future: asyncio.Future[None] | None = None

    def done(result: Any) -> None:
        results.append(result)
        if future is not None and not future.done():
            future.set_result(None)

    start(done)
    if not results:
        future = asyncio.get_running_loop().create_future()
        await future
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]
