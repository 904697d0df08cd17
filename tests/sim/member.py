"""One member: the production parts joined as `etcdpy.server` joins them, over a simulated disk, network and clock.

Its work is a coroutine that waits only for the disk. It is driven by `send(None)`, so the member can be stopped, cut
off from power or paused at every await, and, by the disk, at every call within."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from cluster.applier import SnapshotContent
from cluster.bootstrap import InitialCluster, create_first_member, create_joining_member
from cluster.clock import ClockFile
from cluster.failures import DataCorrupt, DiskFull, StorageFailed
from cluster.first_election import FirstElection
from cluster.forked import ChildFailed
from cluster.leaving import Leaving
from cluster.membership import Member, Membership
from cluster.node import ClusterNode, NodeConfig
from cluster.peers import sync_peers
from cluster.pending import Pending
from cluster.promotion import Promotion
from cluster.snapshotter import Snapshotter
from cluster.snapshotting import Snapshotting
from cluster.storage import StorageConfig, open_storage
from cluster.syncer import InlineSyncer
from etcdpy.expiry import Expiry
from etcdpy.service import Service
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store
from raft.messages import ConfChange, ConfState, Entry, Message, Role, Snapshot

from .clock import MemberClock
from .disk import PowerCut, SimDisk
from .durable import DurableLog
from .watched import WatchedApplier, WatchedClock, WatchedRawNode, WatchedStateMachine

if TYPE_CHECKING:
    from .world import World

WAL_DIR, SNAP_DIR = "/member/wal", "/member/snap"
MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
CLOCK_SAVED_TICKS = 10
DISK_FULL_PAUSE_NS = 100 * MILLISECOND

RUNNING, DOWN, REMOVED, LOST = "running", "down", "removed", "lost"
"""`lost`: it refuses to start, and an operator has to replace it."""


@dataclass(frozen=True)
class _Directory:
    """What `cluster.bootstrap` needs of a data directory."""

    wal_dir: str = WAL_DIR
    snap_dir: str = SNAP_DIR


class DiskFullPause:
    """Yields its length, where everything else yields None."""

    def __await__(self) -> Generator[int, None, None]:
        yield DISK_FULL_PAUSE_NS


class SimTransport:
    """`TransportPort` and `PeersPort` of one life of a member."""

    def __init__(self, member: SimMember) -> None:
        self._member: SimMember | None = member
        self._id = member.id
        self.peers: set[int] = set()
        self.removed: set[int] = set()

    def add_peer(self, member_id: int, urls: Sequence[str]) -> None:
        if member_id != self._id:
            self.peers.add(member_id)
            self.removed.discard(member_id)

    def remove_peer(self, member_id: int) -> None:
        self.peers.discard(member_id)
        self.removed.add(member_id)

    def active_since(self, member_id: int) -> float | None:
        """A stream is up while the other end runs and the link to it works."""
        member = self._member
        if member is None or member_id not in self.peers or member.world.network.reached(self._id, member_id) is None:
            return None
        return 0.0

    def cut(self) -> None:
        self._member = None

    def send(self, messages: Iterable[Message]) -> None:
        member = self._member
        if member is None:
            return
        for message in messages:
            member.world.watch.sending(member, message)
            if message.to in self.peers:
                member.world.network.send(member, message)


class SimMember:
    """`disk_is_read` says that `durable` shows what was there before bits rotted, `last_handed` what was written last,
    `clock_saving` what of its clock may be on its disk. `life` counts its starts. What belongs to one life is made by
    `_boot` and dropped by `_die`."""

    node: ClusterNode
    raw: WatchedRawNode
    store: Store
    applier: WatchedApplier
    service: Service
    membership: Membership
    transport: SimTransport
    snapshotter: Snapshotter

    def __init__(self, world: World, member: Member, short: str, clock: MemberClock) -> None:
        self.world = world
        self.id = member.id
        self.name = member.name
        self.peer_urls = member.peer_urls
        self.short = short
        self.clock = clock
        self.random = Random(f"{world.seed}/member/{short}")
        self.disk = SimDisk(Random(f"{world.seed}/disk/{short}"))
        self.disk.on_sync = self._synced
        self.durable = DurableLog(self.disk, WAL_DIR, SNAP_DIR)
        self.state = DOWN
        self.life = 0
        self.paused_until = 0
        self.rotten = self.disk_is_read = False
        self.last_handed: Sequence[Entry] = ()
        self.clock_saving: list[int] = [0]
        self.disk_delay_ns = 1
        self._work: Coroutine[Any, Any, None] | None = None
        self._receiving: list[Any] = []

    def __str__(self) -> str:
        return self.short

    # Files of a new member.

    def create_first(self, initial: InitialCluster) -> None:
        create_first_member(self.disk, _Directory(), initial, self._empty_state())  # type: ignore[arg-type]

    def create_joining(self, initial: InitialCluster, cluster: Membership) -> None:
        create_joining_member(self.disk, _Directory(), initial, cluster, self._empty_state())  # type: ignore[arg-type]

    def _empty_state(self) -> Iterable[bytes]:
        return EtcdStateMachine(Store()).dump()

    # Life and death.

    def start(self) -> None:
        if self.state != DOWN:
            return
        try:
            self._boot()
        except PowerCut:
            self.crash(power=True)
        except (StorageFailed, DiskFull, OSError) as failure:
            self.world.trace(f"{self} cannot start: {type(failure).__name__}")
            self.crash(power=False)
        except DataCorrupt as damage:
            self.world.trace(f"{self} refuses to start: {type(damage).__name__}")
            self._be_lost(damage)
        else:
            self.world.started(self)

    def _be_lost(self, damage: DataCorrupt) -> None:
        if not self.rotten:
            self.world.fail("no damage without a cause", f"{self}: {damage}")
        self.disk.kill_process()
        self.state = LOST

    def _synced(self) -> None:
        if self.state == RUNNING:
            self.world.watch.read_disk(self)

    def read_disk_again(self) -> None:
        """What a power cut, or the process before, has left."""
        self.durable.reset()
        self.durable.advance()

    def _boot(self) -> None:
        world, plan = self.world, self.world.plan
        if not self.disk_is_read:
            self.read_disk_again()
        self.disk_is_read = False
        opened = open_storage(
            self.disk,
            WAL_DIR,
            SNAP_DIR,
            InlineSyncer(),
            DiskFullPause,
            StorageConfig(plan.segment_bytes, 2, 3, plan.catch_up_entries),
        )
        world.watch.recovered(self, opened.storage)
        self.storage = opened.storage
        self.snapshotter = Snapshotter(self.disk, SNAP_DIR)
        self.store = Store(history_capacity=plan.history_capacity)
        state_machine = WatchedStateMachine(self.store, self, world.watch)
        self.membership = Membership(opened.metadata.cluster_id)
        config = plan.raft_config(self.id, self.random, opened.snapshot.snapshot.index)
        self.raw = WatchedRawNode(config, opened.storage, self, world.watch)
        pending = self.pending = Pending()
        self.applier = WatchedApplier(state_machine, self.membership, pending, self._configure, self._read_snapshot)
        self.applier.tell_applying = lambda entries: world.watch.applying(self, entries)
        self.applier.tell_restored = lambda snapshot: world.watch.restored(self, snapshot)
        self.transport = SimTransport(self)
        self.state = RUNNING
        self.life += 1
        self.applier.restore(opened.snapshot.snapshot)
        self.clock_file = ClockFile(self.disk, "/member/clock")
        cluster_clock = WatchedClock(
            lambda: self.clock.monotonic_ns(world.now),
            lambda: self.clock.wall_ns(world.now),
            self._load_clock(),
        )
        cluster_clock.tell_stamped = lambda now_ns: world.watch.stamped(self, now_ns)
        cluster_clock.tell_assumed = lambda now_ns: world.watch.assumed_time(self, now_ns)
        cluster_clock.not_before(self.applier.stamp_ns)
        self.cluster_clock = cluster_clock
        self.node = ClusterNode(
            NodeConfig(
                self.id,
                plan.election_ticks * plan.tick_ns / SECOND,
                plan.request_timeout_ns / SECOND,
                plan.strict_reconfig,
            ),
            self.raw,
            opened.storage,
            self.transport,
            self.applier,
            self.membership,
            pending,
            cluster_clock,
            self._ids(),
            self._monotonic,
            self._call_later,
            self._applied,
        )
        self.service = Service(self.node, self.store, lambda: self.clock.wall_ns(world.now) / SECOND)
        self.snapshotting = Snapshotting(
            self.applier,
            state_machine,
            opened.storage,
            self.snapshotter,
            lambda: self.raw.conf_state,
            plan.snapshot_count,
            self._run_in_child,
            self._spawn,
            self._monotonic,
        )
        self.expiry = Expiry(self.node, self.store)
        self.first_election = FirstElection(self.node)
        self.promotion = Promotion(self.node, self.raw)
        self.leaving = Leaving(self.raw, self.membership, self.applier)
        self._ticks = 0
        self._seen_membership = -1
        self._sync_peers()

    def _load_clock(self) -> int:
        """What was saved last, or what was being saved when the end came."""
        loaded = self.clock_file.load()
        if loaded not in self.clock_saving and not self.rotten:
            self.world.fail(
                "cluster time", f"{self} saved {self.clock_saving} of its clock and comes back with {loaded}"
            )
        return loaded

    def _monotonic(self) -> float:
        return self.clock.monotonic_ns(self.world.now) / SECOND

    def _ids(self) -> Callable[[], int]:
        state = self.random.getrandbits(64)

        def next_id() -> int:
            nonlocal state
            state = (state + 1) % (1 << 64)
            return state

        return next_id

    def crash(self, *, power: bool) -> None:
        """The process ends here and now; with `power`, the machine does."""
        if self.state in (REMOVED, LOST):
            return
        self._die()
        self.state = DOWN
        if power:
            self.disk.cut_power()
        else:
            self.disk.kill_process()

    def close(self) -> None:
        """The world ends."""
        if self._work is not None:
            self._work.close()

    def retire(self) -> None:
        """It was removed, knows it, and has stopped."""
        if self.state == RUNNING:
            self.world.watch.retiring(self)
            self._die()
            self.state = REMOVED

    def _die(self) -> None:
        if self.state != RUNNING:
            return
        self.state = DOWN
        self.transport.cut()
        work, self._work = self._work, None
        if work is not None:
            with contextlib.suppress(ValueError):  # it dies within its own work, which unwinds by itself
                work.close()
        self.world.died(self)

    # Work.

    @property
    def is_leader(self) -> bool:
        return self.state == RUNNING and self.raw.role == Role.LEADER

    def wake(self) -> None:
        """Something waits to be taken in. While a save is under way, it waits for that."""
        if self.state == RUNNING and self._work is None:
            self._work = self.node.work()
            self._drive()

    def _drive(self) -> None:
        """On to the next await, or to the end."""
        work = self._work
        assert work is not None
        try:
            wait = work.send(None)
        except StopIteration:
            self._work = None
        except PowerCut:
            self._work = None
            self.world.trace(f"{self} loses power in its work")
            self.world.crashed(self, power=True)
            return
        except (StorageFailed, DiskFull) as failure:
            self._work = None
            self.world.trace(f"{self} stops: {type(failure).__name__}")
            self.world.crashed(self, power=False)
            return
        else:
            delay = self.world.disk_delay(self) if wait is None else wait
            self.world.after(delay, "disk", self, self._resume, self.life)
        self.world.watch.after_step(self)

    def _resume(self, life: int) -> None:
        if self.life == life and self._work is not None:
            self._drive()

    def _call_later(self, seconds: float, action: Callable[[], None]) -> None:
        delay_ns = self.clock.true_duration_ns(int(seconds * SECOND))
        self.world.after(delay_ns, "later", self, self._called, action, self.life)

    def _called(self, action: Callable[[], None], life: int) -> None:
        if self.life == life:
            action()
            self.wake()

    def receive(self, message: Message) -> None:
        self.node.receive(message)
        self.wake()

    def tick(self) -> None:
        self.node.tick()
        self.first_election.check()
        self.expiry.check()
        if self.world.plan.promotes:
            self._promote()
        self.guarded(self._look_after_disk)
        if self.state == RUNNING and self._ticks % CLOCK_SAVED_TICKS == 0:
            self.world.network.dial(self)
        self.wake()

    def _promote(self) -> None:
        was_under_way = self.promotion._under_way
        self.promotion.check()
        if self.promotion._under_way and not was_under_way and self.node._undelivered:
            change = self.node._undelivered[-1][1].payload
            assert isinstance(change, ConfChange)
            self.world.watch.promoting(self, change.node_id)

    def _look_after_disk(self) -> None:
        self.storage.probe()
        self._ticks += 1
        if self._ticks % CLOCK_SAVED_TICKS == 0:
            self.clock_saving.append(self.cluster_clock.ahead_of_wall_ns)
            self.clock_file.save(self.clock_saving[-1])
            if self.clock_file._saved_ns == self.clock_saving[-1]:
                del self.clock_saving[:-1]

    def guarded(self, work: Callable[[], None]) -> None:
        """Runs what touches this member's disk outside its main work."""
        try:
            work()
        except PowerCut:
            self.world.trace(f"{self} loses power")
            self.world.crashed(self, power=True)

    def _applied(self) -> None:
        if self.membership.version != self._seen_membership:
            self._sync_peers()
        if self.leaving.check():
            self.world.after(1, "removed", self, self._be_removed, self.life)
        self.snapshotting.check()

    def _be_removed(self, life: int) -> None:
        if self.life == life and self.state == RUNNING:
            self.world.trace(f"{self} is removed and stops")
            self.retire()

    def _sync_peers(self) -> None:
        self._seen_membership = self.membership.version
        sync_peers(self.transport, self.membership)

    def _configure(self, change: ConfChange | None) -> ConfState:
        before = self.raw.conf_state
        after = self.raw.apply_conf_change(change)
        self.world.watch.configured(self, self.applier.applied_index + 1, before, after)
        return after

    # Snapshots.

    def _read_snapshot(self, snapshot: Snapshot) -> SnapshotContent:
        reader = self.snapshotter.open_reader(snapshot)
        return SnapshotContent(reader.header, reader.pieces())

    def _run_in_child(self, work: Callable[[], None]) -> Coroutine[Any, Any, None]:
        """The child does everything at once, as its memory is that of this moment; its end is known later."""
        status = 0
        if self.world.kills_child(self):
            status = -9
        else:
            try:
                work()
            except OSError as error:
                status = error.errno or 1
            except (DiskFull, StorageFailed):
                status = 1
        return _end_of_child(status)

    def _spawn(self, task: Coroutine[Any, Any, None]) -> Any:
        self.world.after(self.world.disk_delay(self), "child", self, self._drive_task, task, self.life)
        return task

    def _drive_task(self, task: Coroutine[Any, Any, None], life: int) -> None:
        if self.life != life or self.state != RUNNING:
            task.close()
            return
        try:
            task.send(None)
        except StopIteration:
            return
        self._spawn(task)


async def _end_of_child(status: int) -> None:
    await _Turn()
    if status:
        raise ChildFailed(status)


class _Turn:
    def __await__(self) -> Generator[None, None, None]:
        yield
