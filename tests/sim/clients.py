"""Clients: each asks one thing after another of some member, and remembers what it asked and was told."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from cluster.errors import NoSpace, TooManyRequests
from etcdpy.commands import CompareAndDelete, CompareAndSwap, Create, Delete, Get, Set, Update
from etcdpy.errors import COMPARE_FAILED, EtcdError
from etcdpy.store.event import Event

from .member import SimMember

if TYPE_CHECKING:
    from .world import World

OK, REFUSED, UNKNOWN, NOT_DONE = "ok", "refused", "unknown", "not done"

COMMANDS: dict[str, Callable[[Operation], Any]] = {
    "set": lambda asked: Set(asked.key, asked.value, False, asked.ttl_ns or None, False),
    "create": lambda asked: Create(asked.key, asked.value, False, False, asked.ttl_ns or None),
    "update": lambda asked: Update(asked.key, asked.value, None, False),
    "swap": lambda asked: CompareAndSwap(asked.key, asked.prev, 0, asked.value, None, False),
    "swap_index": lambda asked: CompareAndSwap(asked.key, "", asked.prev_index, asked.value, None, False),
    "delete": lambda asked: Delete(asked.key, False, False),
    "compare_and_delete": lambda asked: CompareAndDelete(asked.key, asked.prev, 0),
    "delete_index": lambda asked: CompareAndDelete(asked.key, "", asked.prev_index),
    "refresh": lambda asked: Update(asked.key, "", asked.ttl_ns, True),
    "post": lambda asked: Create(asked.key, asked.value, False, True, None),
    "mkdir": lambda asked: Create(asked.key, "", True, False, asked.ttl_ns or None),
    "touch": lambda asked: Update(asked.key, "", asked.ttl_ns or None, False),
    "rmdir": lambda asked: Delete(asked.key, True, False),
    "prune": lambda asked: Delete(asked.key, True, True),
}
READS = {
    "get": lambda asked: Get(asked.key, False, False, True),
    "list": lambda asked: Get(asked.key, True, True, True),
}

KINDS = [
    *("get", "get", "get", "get", "set", "set", "set", "swap", "swap", "delete", "compare_and_delete"),
    *("create", "update", "swap_index", "delete_index", "ttl", "refresh", "post", "list"),
    *("mkdir", "touch", "branch", "branch", "hide", "rmdir", "prune"),
]
"""What is asked, the frequent more often. `ttl`, `branch` and `hide` are sets in other places."""


class Operation:
    """`asked` and `told` number moments (`told` is None for ever if nobody knows what became of it); `index` is the
    store index of the answer, `floor` the highest one acknowledged to anybody when this was asked; `before` is the
    value that the answer says was there, `answer` the answer itself."""

    __slots__ = (
        *("answer", "asked", "asked_ns", "before", "client", "code", "floor", "index"),
        *("key", "kind", "member", "outcome", "prev", "prev_index", "told", "ttl_ns", "value"),
    )

    def __init__(self, client: int, member: SimMember, kind: str, key: str, value: str, ttl_ns: int = 0) -> None:
        self.client = client
        self.member = member
        self.kind = kind
        self.key = key
        self.value = value
        self.prev = ""
        self.prev_index = 0
        self.ttl_ns = ttl_ns
        self.asked = self.asked_ns = self.floor = self.index = self.code = 0
        self.told: int | None = None
        self.before: str | None = None
        self.answer: Any = None
        self.outcome = UNKNOWN

    def __str__(self) -> str:
        return f"c{self.client} {self.kind} {self.key} {self.value} ({self.prev or self.prev_index}) at {self.member}"

    @property
    def is_read(self) -> bool:
        return self.kind in READS

    @property
    def after(self) -> str | None:
        """The value that a write leaves behind."""
        return None if "delete" in self.kind else self.value

    def command(self) -> Any:
        return (READS if self.is_read else COMMANDS)[self.kind](self)


class Clients:
    def __init__(self, world: World) -> None:
        self._world = world
        self._random = [Random(f"{world.seed}/client/{number}") for number in range(world.plan.clients)]
        self._count = 0
        self._seen: dict[str, tuple[str, int]] = {}  # value and index last seen at a key, as far as clients know
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
        kind = random.choice(KINDS)
        ttl_ns = random.choice((0, plan.ttl_ns))
        match kind:
            case "ttl" | "refresh":
                return Operation(number, member, "set" if kind == "ttl" else kind, f"/t/{number}", value, plan.ttl_ns)
            case "post":
                return Operation(number, member, kind, "/q", value)
            case "mkdir" | "touch" | "rmdir" | "prune":
                return Operation(number, member, kind, f"/d/{random.randrange(3)}", value, ttl_ns)
            case "branch" | "hide":
                name = f"_{random.randrange(2)}/h" if kind == "hide" else f"{random.randrange(2)}"
                return Operation(number, member, "set", f"/d/{random.randrange(3)}/{name}", value, ttl_ns)
            case "list":
                return Operation(number, member, kind, "/d", value)
        operation = Operation(number, member, kind, f"/r/{random.randrange(plan.keys)}", value)
        prev, prev_index = self._seen.get(operation.key, ("none", 1))
        operation.prev = prev if kind in ("swap", "compare_and_delete") else ""
        operation.prev_index = prev_index if kind in ("swap_index", "delete_index") else 0
        return operation

    def ask(self, operation: Operation) -> None:
        """At its member, which must be running."""
        world, member = self._world, operation.member
        operation.asked, operation.asked_ns = world.sequence(), world.now
        operation.floor = world.watch.acknowledged
        world.trace(f"ask {operation}")
        self._waiting[operation.client] = operation
        self.history.append(operation)
        world.watch.asked(operation)
        ask = member.service.read if operation.is_read else member.service.write
        ask(operation.command(), lambda result: self._told(operation, result))
        member.wake()

    def _told(self, operation: Operation, result: Any) -> None:
        if operation.told is not None or operation.answer is not None:
            self._world.fail("answers", f"{operation} is answered twice")
        operation.answer = result
        if self._waiting.get(operation.client) is not operation:
            return
        if isinstance(result, Event):
            operation.outcome = OK
            operation.index = result.store_index if operation.is_read else result.index
            shown = result.node if operation.is_read else result.prev_node
            operation.before = shown.value if shown is not None else None
            self._seen[operation.key] = (result.node.value or "", result.node.modified_index)
        elif isinstance(result, EtcdError):
            operation.outcome, operation.code, operation.index = REFUSED, result.code, result.index
            if result.code == COMPARE_FAILED and operation.prev:
                operation.before = result.cause.strip("[]").split(" != ")[1]
        elif isinstance(result, TooManyRequests | NoSpace):
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
