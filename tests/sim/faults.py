"""What goes wrong, one method for each kind, named in `plan.FAULTS`. Each draws from a stream of its own."""

from __future__ import annotations

import errno
from random import Random
from typing import TYPE_CHECKING

from raft.messages import ConfChangeType, Message, MessageType

from .member import DOWN, RUNNING, SimMember
from .plan import MILLISECOND, SECOND, Fault

if TYPE_CHECKING:
    from .world import World

DISK_CALLS_AHEAD = 40


class Faults:
    def __init__(self, world: World) -> None:
        self._world = world
        self._doomed_children: set[SimMember] = set()
        self._stranding = 0, Random(0)
        self._stranded: list[tuple[int, int]] = []

    def strike(self, fault: Fault) -> None:
        getattr(self, f"_{fault.kind}")(Random(f"{self._world.seed}/fault/{fault.number}"))

    def kills_child(self, member: SimMember) -> bool:
        doomed = member in self._doomed_children
        self._doomed_children.discard(member)
        return doomed

    # Whom.

    def _running(self, random: Random) -> SimMember | None:
        running = self._world.running()
        return random.choice(running) if running else None

    def _leader(self, random: Random) -> SimMember | None:
        leaders = self._world.leaders()
        return random.choice(leaders) if leaders else self._running(random)

    # Processes and machines.

    def _stop(self, member: SimMember, random: Random, *, power: bool) -> None:
        self._world.trace(f"{'power' if power else 'process'} of {member} ends")
        member.crash(power=power)
        self._world.start_later(member, random.choice((200, 3000, 8000)) * MILLISECOND)

    def _kill(self, random: Random) -> None:
        if member := self._running(random):
            self._stop(member, random, power=False)

    def _power_cut(self, random: Random) -> None:
        if member := (self._leader if random.random() < 0.5 else self._running)(random):
            self._stop(member, random, power=True)

    def _power_cut_all(self, random: Random) -> None:
        for member in self._world.running():
            self._stop(member, random, power=True)

    def _crash_in_call(self, random: Random) -> None:
        if member := (self._leader if random.random() < 0.4 else self._running)(random):
            member.disk.crash_in = random.randrange(DISK_CALLS_AHEAD)

    def _pause(self, random: Random) -> None:
        if member := self._running(random):
            self._pause_member(member, random)

    def _pause_leader(self, random: Random) -> None:
        if member := self._leader(random):
            self._pause_member(member, random)

    def _pause_member(self, member: SimMember, random: Random) -> None:
        member.paused_until = self._world.now + random.choice((100, 1500, 4000)) * MILLISECOND
        self._world.trace(f"{member} is paused until {member.paused_until}")

    def _wall_jump(self, random: Random) -> None:
        if member := self._running(random):
            member.clock.wall_offset_ns += random.randint(-60 * SECOND, 60 * SECOND)

    def _kill_child(self, random: Random) -> None:
        if member := self._running(random):
            self._doomed_children.add(member)

    # The network.

    def _cut_for_a_while(self, links: list[tuple[int, int]], random: Random) -> None:
        network, duration = self._world.network, random.choice((300, 1500, 5000)) * MILLISECOND
        for link in links:
            network.cut_link(*link)
        self._world.after(duration, "links up", None, lambda: [network.restore_link(*link) for link in links])

    def _split(self, random: Random) -> None:
        members = list(self._world.members)
        side = {member for member in members if random.random() < 0.5}
        across = [(a, b) for a in members for b in members if (a in side) != (b in side)]
        self._cut_for_a_while(across, random)

    def _isolate_leader(self, random: Random) -> None:
        if leader := self._leader(random):
            others = [member for member in self._world.members if member != leader.id]
            self._cut_for_a_while([(a, leader.id) for a in others] + [(leader.id, a) for a in others], random)

    def _strand_leaders(self, random: Random) -> None:
        """Each new leader is cut off soon after it was elected, and the one before comes back: their logs part, and old
        entries return with new leaders (Raft paper, figure 8)."""
        self._stranding = random.choice((2, 3, 5)), random
        if leader := self._leader(random):
            self._strand(leader, random)

    def elected(self, leader: SimMember) -> None:
        rounds, random = self._stranding
        if rounds > 0:
            self._stranding = rounds - 1, random
            delay = random.choice((0, 0, random.randrange(20), random.randrange(300))) * MILLISECOND
            self._world.after(1 + delay, "strand", None, self._strand, leader, random)

    def _strand(self, leader: SimMember, random: Random) -> None:
        network = self._world.network
        for link in self._stranded:
            network.restore_link(*link)
        others = [member for member in self._world.members if member != leader.id]
        self._stranded = [(a, leader.id) for a in others] + [(leader.id, a) for a in others]
        for link in self._stranded:
            network.cut_link(*link)
        self._world.after(5 * SECOND, "links up", None, self._end_stranding, self._stranded)

    def _end_stranding(self, links: list[tuple[int, int]]) -> None:
        if links is self._stranded:
            self._stranding, self._stranded = (0, self._stranding[1]), []
            for link in links:
                self._world.network.restore_link(*link)

    def _one_way(self, random: Random) -> None:
        """Somebody hears nobody, or is heard by nobody; or one link works one way."""
        member = (self._leader if random.random() < 0.5 else self._running)(random)
        others = [other for other in self._world.members if member is not None and other != member.id]
        if member is None or not others:
            return
        if random.random() < 0.5:
            others = [random.choice(others)]
        deaf = random.random() < 0.5
        self._cut_for_a_while([(a, member.id) if deaf else (member.id, a) for a in others], random)

    def _lossy(self, random: Random) -> None:
        self._set_for_a_while("loss", random.choice((0.05, 0.2, 0.5)), self._world.plan.loss, random)

    def _duplicating(self, random: Random) -> None:
        self._set_for_a_while("duplication", 0.5, self._world.plan.duplication, random)

    def _slow_network(self, random: Random) -> None:
        low, high = self._world.plan.delay_ns
        self._set_for_a_while("delay_ns", (low, high * random.choice((10, 40))), (low, high), random)

    def _set_for_a_while(self, name: str, value: object, usual: object, random: Random) -> None:
        setattr(self._world.network, name, value)
        duration = random.choice((500, 3000)) * MILLISECOND
        self._world.after(duration, "network", None, self._set_back, name, usual)

    def _set_back(self, name: str, usual: object) -> None:
        if self._world.healing_since is None:
            setattr(self._world.network, name, usual)

    def _heal(self, random: Random) -> None:
        self._world.network.cut.clear()

    # Disks.

    def _fsync_error(self, random: Random) -> None:
        if member := self._running(random):
            member.disk.errors["fdatasync"] = errno.EIO

    def _write_error(self, random: Random) -> None:
        if member := self._running(random):
            member.disk.errors["pwrite"] = errno.EIO

    def _disk_full(self, random: Random) -> None:
        if member := self._running(random):
            member.disk.capacity = member.disk.used + random.choice((0, 300, 5000))
            duration = random.choice((500, 5000)) * MILLISECOND
            self._world.after(duration, "room", None, setattr, member.disk, "capacity", 1 << 40)

    def _slow_disk(self, random: Random) -> None:
        if member := self._running(random):
            member.disk_delay_ns = random.choice((10, 100))
            self._world.after(2 * SECOND, "disk", None, setattr, member, "disk_delay_ns", 1)

    def _bit_rot(self, random: Random) -> None:
        """While it is switched off. Only where the cluster can lose a member."""
        member = self._running(random)
        if member is None or not self._world.churn.may_lose_one():
            return
        self._stop(member, random, power=True)
        if member.state == DOWN:
            member.read_disk_again()
            where = member.disk.rot()
            member.rotten = member.disk_is_read = True
            self._world.trace(f"bit rot at {member}: {where}")

    def _needless_snapshot(self, random: Random, tries: int = 40) -> None:
        """Best to somebody that has its last entry, and has not heard yet that it is committed."""
        leader = self._leader(random)
        if leader is None or not leader.is_leader:
            return
        snapshot, others = leader.storage.snapshot(), [each for each in self._world.running() if each is not leader]
        behind = [each for each in others if snapshot is not None and each.raw.commit < snapshot.index]
        if snapshot is None or snapshot.index < 2 or (not behind and tries):
            if tries:
                self._world.after(20 * MILLISECOND, "fault", None, self._needless_snapshot, random, tries - 1)
        elif behind or others:
            to = random.choice(behind or others)
            message = Message(MessageType.SNAP, to.id, leader.id, leader.raw.term, snapshot=snapshot)
            self._world.network.send_needless_snapshot(leader, message)

    # Members.

    def _transfer(self, random: Random) -> None:
        leader = self._leader(random)
        if leader is not None and leader.state == RUNNING and leader.paused_until <= self._world.now:
            if random.random() < 0.3:
                self._cut_off_successor(leader, random)
            leader.node.transfer_leadership()
            leader.wake()

    def _cut_off_successor(self, leader: SimMember, random: Random) -> None:
        """Whoever is to take over does not hear of it."""
        peers = [(peer.match, peer.id) for peer in leader.raw._raft.tracker.peers]
        voters = [(match, id_) for match, id_ in peers if id_ in leader.raw.conf_state.voters]
        if voters:
            self._cut_for_a_while([(leader.id, max(voters)[1])], random)

    def _change_and_transfer(self, random: Random) -> None:
        """The one who takes over may not have heard yet that the change is committed."""
        random.choice((self._add_voter, self._remove))(random)
        delay = random.choice((1, 1 + random.randrange(30) * MILLISECOND))
        self._world.after(delay, "transfer", None, self._transfer, random)

    def _add_voter(self, random: Random) -> None:
        self._world.churn.add(random, ConfChangeType.ADD_VOTER)

    def _add_learner(self, random: Random) -> None:
        self._world.churn.add(random, ConfChangeType.ADD_LEARNER)

    def _promote(self, random: Random) -> None:
        self._world.churn.promote(random)

    def _remove(self, random: Random) -> None:
        self._world.churn.remove(random)

    def _update(self, random: Random) -> None:
        self._world.churn.update(random)

    def _add_again(self, random: Random) -> None:
        self._world.churn.add_again(random)

    def _two_changes(self, random: Random) -> None:
        """At once, perhaps by two operators at two members."""
        if random.random() < 0.5:
            self._world.churn.remove_and_promote(random)
        for change in random.choices((self._add_voter, self._remove, self._promote), k=2):
            change(random)
