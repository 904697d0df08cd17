"""The operator: changes the membership one member at a time, sets up machines for new members, replaces lost ones.

An operator who knows what is good: never removes what a majority needs, never the last voter.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from cluster.errors import ClusterError
from cluster.membership import Member, compute_member_id
from raft.messages import ConfChangeType

from .member import DOWN, REMOVED, RUNNING, SimMember
from .quorum import majority

if TYPE_CHECKING:
    from .world import World

MAX_MEMBERS = 7
LOOK_EVERY_NS = 1_000_000_000


class Churn:
    """`under_way` counts the changes whose fate is not known."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0
        self.under_way = 0

    def begin(self) -> None:
        self._world.after(LOOK_EVERY_NS, "operator", None, self._look)

    def _look(self) -> None:
        self.begin()
        self.set_up()
        if self._world.healing_since is None:
            self._replace_lost()

    def set_up(self) -> None:
        """Machines for members that were added."""
        newest = self._world.most_advanced()
        for member in newest.membership.members if newest is not None else ():
            if member.id not in self._world.members:
                assert newest is not None
                self._world.start_joining(member, newest.membership)

    def _replace_lost(self) -> None:
        newest = self._world.most_advanced()
        if newest is None or self.under_way:
            return
        for member in newest.membership.members:
            lost = self._world.members.get(member.id)
            if lost is not None and lost.rotten and lost.state != DOWN:
                self._change(newest, ConfChangeType.REMOVE, member)
                return

    @property
    def lost(self) -> list[SimMember]:
        """Those whose disk has rotted, whether or not it stopped them yet."""
        return [member for member in self._world.members.values() if member.rotten and member.state != REMOVED]

    def may_lose_one(self) -> bool:
        """Whether a disk may be damaged for good without costing the cluster its majority."""
        newest = self._world.most_advanced()
        return newest is not None and not self.under_way and not self.lost and len(newest.raw.conf_state.voters) >= 3

    # Changes.

    def add(self, random: Random, change_type: ConfChangeType) -> None:
        at = self._somebody(random)
        if at is None or len(at.membership.members) >= MAX_MEMBERS or self.lost:
            return
        self._count += 1
        urls = (f"http://new{self._count}:2380",)
        self._change(at, change_type, Member(compute_member_id(urls, "", self._count), "", urls))

    def remove_and_promote(self, random: Random) -> None:
        """The same member at once: the second change is in the log, and must be refused when it is applied."""
        at = self._somebody(random)
        learners = [member for member in at.membership.members if member.is_learner] if at is not None else []
        if at is not None and learners and not self.lost:
            learner = random.choice(learners)
            self._change(at, ConfChangeType.REMOVE, learner)
            self._change(at, ConfChangeType.ADD_VOTER, learner)

    def add_again(self, random: Random) -> None:
        """Somebody tries to bring a removed member back, which must be refused."""
        at = self._somebody(random)
        gone = sorted(at.membership.removed) if at is not None else []
        if at is not None and gone and not self.lost:
            id_ = random.choice(gone)
            self._change(at, ConfChangeType.ADD_LEARNER, Member(id_, "", (f"http://again{id_ % 1000}:2380",)))

    def update(self, random: Random) -> None:
        """A member has moved."""
        at = self._somebody(random)
        if at is not None and at.membership.members:
            self._count += 1
            member = random.choice(at.membership.members)
            self._change(at, ConfChangeType.UPDATE, Member(member.id, "", (f"http://moved{self._count}:2380",)))

    def promote(self, random: Random) -> None:
        at = self._somebody(random)
        learners = [member for member in at.membership.members if member.is_learner] if at is not None else []
        if at is not None and learners and not self.lost:
            learner = random.choice(learners)
            running = self._world.members.get(learner.id)
            if running is not None and running.state == RUNNING:
                self._change(at, ConfChangeType.ADD_VOTER, learner)

    def remove(self, random: Random) -> None:
        at = self._somebody(random)
        if at is None or self.lost or len(at.membership.voters) < 2:
            return
        own = at.membership.get(at.id) if random.random() < 0.3 else None
        member = own or random.choice(at.membership.members)
        if self._leaves_majority(at, member):
            self._change(at, ConfChangeType.REMOVE, member)

    def _leaves_majority(self, at: SimMember, leaving: Member) -> bool:
        voters = [voter for voter in at.raw.conf_state.voters if voter != leaving.id]
        set_up = sum(voter in self._world.members for voter in voters)
        return bool(voters) and set_up >= majority(len(voters))

    def _somebody(self, random: Random) -> SimMember | None:
        candidates = self._world.leaders() or self._world.running()
        return random.choice(candidates) if candidates else None

    def _change(self, at: SimMember, change_type: ConfChangeType, member: Member) -> None:
        self._world.trace(f"operator {change_type.name} {member.peer_urls[0]} at {at}")
        self.under_way += 1
        at.node.change_membership(change_type, member, self._known)
        at.wake()

    def _known(self, result: Any) -> None:
        self._world.trace(f"operator told {type(result).__name__}")
        if not isinstance(result, ClusterError):
            self.under_way -= 1
