"""Clients: each asks one thing after another of some member, and remembers what it asked and was told."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from cluster.errors import TooManyRequests
from etcdpy.commands import CompareAndDelete, CompareAndSwap, Delete, Get, Set, Update
from etcdpy.errors import COMPARE_FAILED, EtcdError
from etcdpy.store.event import Event

from .member import SimMember

if TYPE_CHECKING:
    from .world import World

OK, REFUSED, UNKNOWN, NOT_DONE = "ok", "refused", "unknown", "not done"


class Operation:
    """`asked` and `told` number moments (`told` is None for ever if nobody knows what became of it); `index` is the
    store index of the answer, `floor` the highest one acknowledged to anybody when this was asked; `before` is the
    value that the answer says was there."""

    __slots__ = (
        *("asked", "asked_ns", "before", "client", "code", "floor", "index"),
        *("key", "kind", "member", "outcome", "prev", "told", "ttl_ns", "value"),
    )

    def __init__(self, client: int, member: SimMember, kind: str, key: str, value: str, prev: str, ttl_ns: int) -> None:
        self.client = client
        self.member = member
        self.kind = kind
        self.key = key
        self.value = value
        self.prev = prev
        self.ttl_ns = ttl_ns
        self.asked = self.asked_ns = self.floor = self.index = self.code = 0
        self.told: int | None = None
        self.before: str | None = None
        self.outcome = UNKNOWN

    def __str__(self) -> str:
        return f"c{self.client} {self.kind} {self.key} {self.value} ({self.prev}) at {self.member}"

    def command(self) -> Any:
        match self.kind:
            case "set":
                return Set(self.key, self.value, False, self.ttl_ns or None, False)
            case "swap":
                return CompareAndSwap(self.key, self.prev, 0, self.value, None, False)
            case "delete":
                return Delete(self.key, False, False)
            case "compare_and_delete":
                return CompareAndDelete(self.key, self.prev, 0)
            case "refresh":
                return Update(self.key, "", self.ttl_ns, True)
        raise AssertionError(self.kind)


class Clients:
    def __init__(self, world: World) -> None:
        self._world = world
        self._random = [Random(f"{world.seed}/client/{number}") for number in range(world.plan.clients)]
        self._count = 0
        self._seen: dict[str, str] = {}  # what was last read or written there, as far as clients know
        self._waiting: dict[int, Operation] = {}
        self.history: list[Operation] = []

    def begin(self, number: int) -> None:
        think = self._world.plan.think_ns
        delay = 1 + int(self._random[number].expovariate(1.0) * think)
        self._world.after(delay, "client", None, self._ask, number)

    def _ask(self, number: int) -> None:
        if self._world.healing_since is not None:
            return
        running = self._world.running()
        if not running:
            self.begin(number)
            return
        random = self._random[number]
        leaders = self._world.leaders()
        member = random.choice(leaders if leaders and random.random() < 0.3 else running)
        self._ask_of(number, member, self._draw(number, member))

    def _ask_of(self, number: int, member: SimMember, operation: Operation) -> None:
        if self._world.hold(member, self._ask_of, number, member, operation):
            return
        if member.state != "running":
            self.begin(number)
            return
        self.ask(operation)

    def _draw(self, number: int, member: SimMember) -> Operation:
        random, plan = self._random[number], self._world.plan
        self._count += 1
        value = f"{number}.{self._count}"
        kind = random.choices(
            ("get", "set", "swap", "delete", "compare_and_delete", "ttl", "refresh"), (8, 7, 5, 2, 1, 1, 2)
        )[0]
        if kind in ("ttl", "refresh"):
            key = f"/t/{number}"
            return Operation(number, member, "set" if kind == "ttl" else kind, key, value, "", plan.ttl_ns)
        key = f"/r/{random.randrange(plan.keys)}"
        prev = self._seen.get(key, "none")
        return Operation(number, member, kind, key, value, prev, 0)

    def ask(self, operation: Operation) -> None:
        """At its member, which must be running."""
        world, member = self._world, operation.member
        operation.asked, operation.asked_ns = world.sequence(), world.now
        operation.floor = world.watch.acknowledged
        world.trace(f"ask {operation}")
        self._waiting[operation.client] = operation
        self.history.append(operation)
        world.watch.asked(operation)
        if operation.kind == "get":
            get = Get(operation.key, False, False, True)
            member.service.read(get, lambda result: self._told(operation, result))
        else:
            member.service.write(operation.command(), lambda result: self._told(operation, result))
        member.wake()

    def _told(self, operation: Operation, result: Any) -> None:
        if self._waiting.get(operation.client) is not operation:
            return
        if isinstance(result, Event):
            operation.outcome = OK
            operation.index = max(result.index if operation.kind != "get" else 0, result.store_index)
            if operation.kind == "get":
                operation.value = operation.before = result.node.value or ""
            else:
                operation.before = result.prev_node.value if result.prev_node is not None else None
            self._seen[operation.key] = operation.value
        elif isinstance(result, EtcdError):
            operation.outcome, operation.code, operation.index = REFUSED, result.code, result.index
            if result.code == COMPARE_FAILED:
                operation.before = result.cause.strip("[]").split(" != ")[1]
        elif isinstance(result, TooManyRequests):
            operation.outcome = NOT_DONE
        self._end(operation, type(result).__name__)

    def _end(self, operation: Operation, how: str) -> None:
        world = self._world
        del self._waiting[operation.client]
        if operation.outcome != UNKNOWN:
            operation.told = world.sequence()
        world.trace(f"told c{operation.client} {how} {operation.code} {operation.index}")
        if operation.outcome in (OK, REFUSED):
            world.watch.answered(operation)
        if operation.client < len(self._random):
            self.begin(operation.client)

    def is_waiting(self, operation: Operation) -> bool:
        return self._waiting.get(operation.client) is operation

    def connection_lost(self, member: SimMember) -> None:
        for operation in list(self._waiting.values()):
            if operation.member is member:
                self._end(operation, "connection lost")
