"""Everything heals, and then there must be a leader, progress at every member, and one state: liveness, within a
bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdpy.errors import KEY_NOT_FOUND

from .clients import OK, Operation
from .member import DOWN, RUNNING, SimMember
from .plan import SECOND

if TYPE_CHECKING:
    from .world import World

BOUND_NS = 40 * SECOND
CALM_NS = SECOND
LOOK_EVERY = 25
CLIENT = 1_000


class Healing:
    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[tuple[int, str], Operation] = {}
        self._count = 0

    def run(self) -> None:
        world = self._world
        self._heal()
        self._become_whole()
        calm_until = world.now + CALM_NS
        while world.now < calm_until:
            world.do_next()
        self._become_whole()

    def _become_whole(self) -> None:
        world = self._world
        deadline = world.now + BOUND_NS
        while not self._is_whole():
            if world.now > deadline:
                world.fail("liveness", self._why())
            for _ in range(LOOK_EVERY):
                world.do_next()
            self._revive()
            self._probe()

    def _heal(self) -> None:
        """Whoever is paused goes on when its pause ends: what waits for that is in the heap of events."""
        world = self._world
        world.network.heal()
        for member in world.members.values():
            member.disk.capacity = 1 << 40
            member.disk.crash_in = None
            member.disk.errors.clear()
            member.disk_delay_ns = 1
        self._revive()

    def _revive(self) -> None:
        world = self._world
        for member in list(world.members.values()):
            if member.state == DOWN:
                member.start()
        world.churn.set_up()

    # What is demanded.

    @property
    def _leader(self) -> SimMember | None:
        """The one leader that all its members follow."""
        leaders = self._world.leaders()
        leader = max(leaders, key=lambda member: member.raw.term, default=None)
        if leader is None or any(member.raw.lead != leader.id for member in self._of(leader)):
            return None
        return leader

    def _of(self, leader: SimMember) -> list[SimMember]:
        """The members that it leads, but for those that an operator would have to replace."""
        known = [self._world.members.get(member.id) for member in leader.membership.members]
        return [member for member in known if member is not None and member.state == RUNNING]

    def _probe(self) -> None:
        """A write and a linearizable read at each member, repeated until they succeed."""
        leader = self._leader
        for member in self._of(leader) if leader is not None else ():
            for kind in ("set", "get"):
                asked = self._asked.get((member.id, kind))
                if asked is None or (asked.member.state == RUNNING and self._is_over(asked)):
                    self._count += 1
                    operation = Operation(
                        CLIENT + self._count, member, kind, f"/r/{self._count % 2}", f"probe.{self._count}"
                    )
                    if kind == "get":
                        operation.key = "/r/0"
                    self._asked[member.id, kind] = operation
                    self._world.clients.ask(operation)

    def _is_over(self, asked: Operation) -> bool:
        """Whether it came to nothing."""
        return not self._world.clients.is_waiting(asked) and not self._is_answered(asked)

    def _is_whole(self) -> bool:
        leader = self._leader
        if leader is None or any(member.state == DOWN for member in self._world.members.values()):
            return False
        members = self._of(leader)
        if any(member.id not in leader.membership.removed for member in self._strangers(leader)):
            return False
        served = all(self._is_served(member, kind) for member in members for kind in ("set", "get"))
        applied = {member.applier.applied_index for member in members} | {leader.raw.commit}
        return served and len(applied) == 1 and not self._strangers(leader)

    def _is_served(self, member: SimMember, kind: str) -> bool:
        asked = self._asked.get((member.id, kind))
        return asked is not None and self._is_answered(asked)

    @staticmethod
    def _is_answered(asked: Operation) -> bool:
        return asked.outcome == OK or asked.code == KEY_NOT_FOUND

    def _strangers(self, leader: SimMember) -> list[SimMember]:
        """Those that run although they were removed."""
        ids = {member.id for member in leader.membership.members}
        return [member for member in self._world.running() if member.id not in ids]

    def _why(self) -> str:
        states = [
            f"{member}: {member.state} term {member.raw.term} role {member.raw.role} "
            f"lead {self._short(member.raw.lead)} commit {member.raw.commit} applied {member.applier.applied_index}"
            if member.state == RUNNING
            else f"{member}: {member.state}"
            for member in self._world.members.values()
        ]
        waiting = [str(operation) for operation in self._asked.values() if not self._is_answered(operation)]
        return f"not whole in {BOUND_NS // SECOND} s: {'; '.join(states)}; waiting: {waiting}"

    def _short(self, member_id: int) -> str:
        return str(self._world.members.get(member_id, "nobody"))
