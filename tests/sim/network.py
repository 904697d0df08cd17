"""The network between members: messages are lost, late, doubled and out of order; links go down, each way for itself.

A snapshot travels as in production: its file's bytes arrive on the other disk, are checked there, and only then does
the message reach the node. The sender hears of its fate, or of another one."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from cluster.failures import DiskFull, StorageFailed
from raft.messages import Message, MessageType

from .member import RUNNING, SimMember
from .quorum import majority

if TYPE_CHECKING:
    from .world import World

SNAP = MessageType.SNAP
PROP = MessageType.PROP
"""Forwarded proposals are the one message that raft may not get twice; the transport's streams never repeat
anything."""

MILLISECOND = 1_000_000
MOST_LATE_NS = 5_000 * MILLISECOND
"""A straggler is a copy of a message that comes when everybody has forgotten it; of a proposal, the only one."""
LATER = {PROP: 12, MessageType.HEARTBEAT_RESP: 3, MessageType.VOTE_RESP: 10, MessageType.APP_RESP: 2}
"""Those that do most harm come late more often, and so do refusals."""


class Network:
    """`cut` holds the pairs (from, to) that get nothing through, each with how many faults hold it down."""

    def __init__(self, world: World) -> None:
        plan = world.plan
        self._world = world
        self._random = Random(f"{world.seed}/network")
        self._sending: set[tuple[int, int, int]] = set()
        self.cut: dict[tuple[int, int], int] = {}
        self.loss = plan.loss
        self.duplication = plan.duplication
        self.stragglers = plan.stragglers
        self.delay_ns = plan.delay_ns

    def heal(self) -> None:
        self.cut.clear()
        self.loss = 0.0
        self.duplication = 0.0
        self.delay_ns = (100_000, MILLISECOND)
        self.stragglers = 0.0

    def cut_link(self, sender: int, to: int) -> None:
        self.cut[sender, to] = self.cut.get((sender, to), 0) + 1

    def restore_link(self, sender: int, to: int) -> None:
        held = self.cut.get((sender, to), 0)
        if held > 1:
            self.cut[sender, to] = held - 1
        else:
            self.cut.pop((sender, to), None)

    # Messages.

    def send(self, sender: SimMember, message: Message) -> None:
        if message.type == SNAP:
            self._send_snapshot(sender, message)
            return
        random = self._random.random
        if self.loss and random() < self.loss:
            self._lost(sender, message)
            return
        late = self._lateness(message)
        if late and message.type != PROP:
            self._world.after(late, "message", None, self._arrive, sender, message, sender.life)
            late = 0
        self._world.after(self._delay() + late, "message", None, self._arrive, sender, message, sender.life)
        if self.duplication and message.type != PROP and random() < self.duplication:
            self._world.after(self._delay() * 3, "message", None, self._arrive, sender, message, sender.life)

    def _lateness(self, message: Message) -> int:
        random, chance = self._random.random, self.stragglers * (LATER.get(message.type, 1) + 20 * message.reject)
        return int(random() * MOST_LATE_NS) if chance and random() < chance else 0

    def _delay(self) -> int:
        low, high = self.delay_ns
        random = self._random
        delay = low + int(random.random() * (high - low))
        return delay * 20 if random.random() < 0.005 else delay

    def _lost(self, sender: SimMember, message: Message) -> None:
        if self._random.random() < 0.2:
            self._world.after(self._delay(), "unreachable", sender, self._unreachable, sender, message.to, sender.life)

    def _unreachable(self, sender: SimMember, to: int, life: int) -> None:
        if sender.life == life and sender.state == RUNNING:
            sender.node.report_unreachable(to)
            sender.wake()

    def _arrive(self, sender: SimMember, message: Message, life: int) -> None:
        to = self.reached(message.sender or sender.id, message.to)
        if to is None:
            self._lost(sender, message)
        elif self._world.hold(to, self._arrive, sender, message, life):
            return
        elif self._accepts(to, sender):
            self._world.trace_message(message)
            to.receive(message)

    def reached(self, sender_id: int, to_id: int) -> SimMember | None:
        to = self._world.members.get(to_id)
        if to is None or to.state != RUNNING or (sender_id, to_id) in self.cut:
            return None
        return to

    def _accepts(self, to: SimMember, sender: SimMember) -> bool:
        """As `cluster.transport` does: removed members are told so, and of strangers the others are asked."""
        if sender.id in to.transport.removed:
            self._world.after(self._delay(), "gone", sender, sender._be_removed, sender.life)
            return False
        if sender.id not in to.transport.peers:
            if not self._is_believed(to, sender):
                return False
            to.transport.add_peer(sender.id, sender.peer_urls)
        return True

    def _is_believed(self, to: SimMember, stranger: SimMember) -> bool:
        """As `etcdpy.vouching` does over plain HTTP."""
        others = [member.id for member in to.membership.members if member.id != to.id]
        asked = [self.reached(to.id, other) for other in others if (other, to.id) not in self.cut]
        told = [member for member in asked if member is not None and member.paused_until <= self._world.now]
        if any(member.membership.get(stranger.id) for member in told):
            return True
        return len(told) + 1 < majority(len(others) + 1)

    def dial(self, member: SimMember) -> None:
        """Its streams are dialled again and again; a member that was removed hears so even when it has nothing to
        say."""
        for peer in sorted(member.transport.peers):
            to = self.reached(member.id, peer)
            if to is not None and to.paused_until <= self._world.now and member.id in to.transport.removed:
                self._world.after(self._delay(), "gone", member, member._be_removed, member.life)

    # Snapshots.

    def _send_snapshot(self, sender: SimMember, message: Message) -> None:
        """One at a time for each member; while one is under way its fate answers for a second one too."""
        way = (sender.id, sender.life, message.to)  # another life of it knows nothing of this one's
        if way in self._sending:
            return
        self._sending.add(way)
        low, high = self.delay_ns
        delay = 5 * low + int(self._random.random() * 20 * high)
        self._world.after(delay, "snapshot", None, self._snapshot_arrives, sender, message, sender.life)

    def send_needless_snapshot(self, sender: SimMember, message: Message) -> None:
        """To a member that could do without: a leader may do so whenever it likes."""
        self._world.after(1, "snapshot", None, self._snapshot_arrives, sender, message, sender.life)

    def _snapshot_arrives(self, sender: SimMember, message: Message, life: int) -> None:
        self._sending.discard((sender.id, life, message.to))
        if sender.life != life or sender.state != RUNNING:
            return
        to = self.reached(sender.id, message.to)
        ok = to is not None and self._accepts(to, sender) and self._transfer(sender, to, message)
        lied = self._random.random() < 0.05  # the answer was lost on the way back
        self._world.trace(f"snapshot {sender} {message.snapshot.index if message.snapshot else 0} {ok}")
        if ok and to is not None and to.state == RUNNING:
            to.receive(message)
        if sender.life == life and sender.state == RUNNING:
            sender.node.report_snapshot(message.to, ok and not lied)
            sender.wake()

    def _transfer(self, sender: SimMember, to: SimMember, message: Message) -> bool:
        assert message.snapshot is not None
        if self._random.random() < max(0.1, self.loss):
            return False
        taken: list[bool] = []

        def transfer() -> None:
            assert message.snapshot is not None
            try:
                with sender.snapshotter.open(message.snapshot) as source:
                    content = source.read()
                if self._random.random() < 0.05:
                    content = content[: self._random.randrange(len(content))]
                file = to.snapshotter.begin(message.snapshot)
                try:
                    file.write(content)
                    file.commit()
                    taken.append(True)
                except BaseException:
                    file.abort()
                    raise
            except (OSError, ValueError, DiskFull, StorageFailed):
                return

        to.guarded(transfer)
        return bool(taken)
