"""The world of one seed: true time, what happens next, and who is in it.

One heap of events decides the order of everything; an event is a step. Nothing here waits, looks at a real clock or
draws from a random number generator that the seed did not make. The network, each disk, each client, each member's
raft and each fault have a stream of random numbers of their own."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from cluster.bootstrap import InitialCluster
from cluster.membership import Member, Membership, compute_member_id
from raft.messages import Message

from .churn import Churn
from .clients import Clients
from .clock import MemberClock
from .faults import Faults
from .healing import Healing
from .member import DOWN, LOST, REMOVED, RUNNING, SimMember
from .network import Network
from .plan import MILLISECOND, SECOND, Plan
from .watch import Violation, Watch

TOKEN = "simulation"

_Event = tuple[int, int, str, SimMember | None, Callable[..., None], tuple[Any, ...]]


class World:
    """`skipped` names faults of the schedule that do not happen: how a failing schedule is shrunk."""

    def __init__(
        self, seed: int, steps: int, skipped: frozenset[int] = frozenset(), *, keep_trace: bool = True
    ) -> None:
        self.seed = seed
        self.plan = Plan(seed, steps)
        self.now = 0
        self.step = 0
        self.lines: list[str] = []
        self.healing_since: int | None = None
        self.members: dict[int, SimMember] = {}
        self._keep_trace = keep_trace
        self._events: list[_Event] = []
        self._sequence = 0
        self._random = Random(f"{seed}/world")
        self._faults = [fault for fault in self.plan.faults if fault.number not in skipped]
        self._slow_disks: dict[SimMember, int] = {}
        self.watch = Watch(self)
        self.network = Network(self)
        self.faults = Faults(self)
        self.churn = Churn(self)
        self.clients = Clients(self)
        self._make_members()

    # Members.

    def _make_members(self) -> None:
        names = [f"m{number}" for number in range(1, self.plan.members + 1)]
        initial_urls = {name: (f"http://{name}:2380",) for name in names}
        for name in names:
            member = self._new_member(Member(compute_member_id(initial_urls[name], TOKEN), name, initial_urls[name]))
            member.create_first(InitialCluster(name, initial_urls, TOKEN))
            member.start()

    def _new_member(self, configured: Member) -> SimMember:
        plan = self.plan
        short = f"m{len(self.members) + 1}"
        clock = MemberClock(
            self._random.randint(-plan.rate_ppm, plan.rate_ppm),
            self._random.randrange(1000 * SECOND),
            self._random.randint(-plan.wall_skew_ns, plan.wall_skew_ns),
        )
        member = self.members[configured.id] = SimMember(self, configured, short, clock)
        return member

    def start_joining(self, configured: Member, cluster: Membership) -> None:
        """A machine is set up for a member that the cluster has added."""
        name = f"m{len(self.members) + 1}"
        joining = self._new_member(configured._replace(name=name))
        initial = InitialCluster(name, {name: configured.peer_urls}, TOKEN)
        joining.create_joining(initial, Membership(cluster.cluster_id, cluster.members))  # nobody tells who was removed
        self.trace(f"{joining} joins")
        joining.start()

    def started(self, member: SimMember) -> None:
        self.trace(f"{member} starts, life {member.life}")
        self._begin_ticking(member)
        self.watch.time_known_changed()
        member.wake()

    def _begin_ticking(self, member: SimMember) -> None:
        self.after(self._random.randrange(self.plan.tick_ns), "tick", member, self._tick, member, member.life)

    def _tick(self, member: SimMember, life: int) -> None:
        if member.life != life or member.state != RUNNING:
            return
        self.after(member.clock.true_duration_ns(self.plan.tick_ns), "tick", member, self._tick, member, life)
        self.trace(f"tick {member}")
        member.tick()

    def died(self, member: SimMember) -> None:
        self.clients.connection_lost(member)
        self.watch.died(member)

    def crashed(self, member: SimMember, *, power: bool) -> None:
        """It went down by itself, in the middle of something; somebody starts it again."""
        member.crash(power=power)
        self.start_later(member)

    def start_later(self, member: SimMember, within_ns: int = 3 * SECOND) -> None:
        delay = self._random.randrange(10 * MILLISECOND, within_ns)
        self.after(delay, "start", None, self._start, member)

    def _start(self, member: SimMember) -> None:
        if member.state == DOWN:
            member.start()
            if member.state == DOWN:
                self.start_later(member)

    def running(self) -> list[SimMember]:
        return [member for member in self.members.values() if member.state == RUNNING]

    def leaders(self) -> list[SimMember]:
        return [member for member in self.members.values() if member.is_leader]

    def most_advanced(self) -> SimMember | None:
        """The running member that has applied most: what it knows of the membership is the newest."""
        return max(self.running(), key=lambda member: (member.applier.applied_index, member.id), default=None)

    # Events.

    def after(
        self, delay_ns: int, kind: str, member: SimMember | None, action: Callable[..., None], *args: Any
    ) -> None:
        """`action` happens later; if it happens in `member`'s process, not while that is paused."""
        self._sequence += 1
        heapq.heappush(self._events, (self.now + delay_ns, self._sequence, kind, member, action, args))

    def hold(self, member: SimMember, action: Callable[..., None], *args: Any) -> bool:
        """Whether `action` has to wait, and will, as `member` is paused."""
        if member.paused_until <= self.now:
            return False
        self.after(member.paused_until - self.now, "held", member, action, *args)
        return True

    def disk_delay(self, member: SimMember) -> int:
        low, high = self.plan.disk_ns
        return (low + int(self._random.random() * (high - low))) * member.disk_delay_ns

    def kills_child(self, member: SimMember) -> bool:
        return self.faults.kills_child(member)

    def sequence(self) -> int:
        """Numbers moments, so that no two are the same."""
        self._sequence += 1
        return self._sequence

    # Running.

    def run(self) -> None:
        """Everything, from start to end. Raises Violation, and whatever the product raises that it should not."""
        try:
            self._run()
        finally:
            self.close()

    def _run(self) -> None:
        for number in range(self.plan.clients):
            self.clients.begin(number)
        self.churn.begin()
        self._safety_phase()
        self.healing_since = self.now
        self.trace("everything heals")
        Healing(self).run()
        self.watch.at_end()

    def _safety_phase(self) -> None:
        due = iter([*self._faults, None])
        fault = next(due)
        while self.step < self.plan.steps and self._events:
            while fault is not None and fault.step <= self.step:
                self.trace(f"fault {fault.number} {fault.kind}")
                self.faults.strike(fault)
                fault = next(due)
            self.do_next()

    def do_next(self) -> None:
        """One step."""
        time, _, _, member, action, args = heapq.heappop(self._events)
        self.now = max(self.now, time)
        self.step += 1
        if member is not None and member.paused_until > self.now:
            self.after(member.paused_until - self.now, "held", member, action, *args)
            return
        action(*args)
        if self.watch.violation is not None:
            raise self.watch.violation

    def close(self) -> None:
        """Ends what is under way."""
        for *_, arguments in self._events:
            for argument in arguments:
                if hasattr(argument, "close") and hasattr(argument, "send"):
                    argument.close()
        for member in self.members.values():
            member.close()

    # Telling.

    def trace(self, line: str) -> None:
        if self._keep_trace:
            self.lines.append(f"{self.step} {self.now} {line}")

    def trace_message(self, message: Message) -> None:
        if self._keep_trace:
            sender = self.members.get(message.sender)
            self.lines.append(
                f"{self.step} {self.now} {sender}>{self.members[message.to]} {message.type} t{message.term} "
                f"{message.log_term}/{message.index} +{len(message.entries)} c{message.commit} {message.reject:d}"
            )

    def fail(self, invariant: str, text: str) -> None:
        raise self.watch.violated(invariant, text)


__all__ = ["DOWN", "LOST", "REMOVED", "RUNNING", "Violation", "World"]
