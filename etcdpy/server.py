"""The composition root: the only place that knows everything. It makes the parts, joins them, starts and stops them.

Nothing here decides anything about keys or consensus. Start-up goes in one direction (disk, raft, store, node,
transport, listeners) and stopping in the other: no new clients, leadership handed over, then the node, the peers,
the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import raft.rawnode
from cluster.applier import Applier, SnapshotContent
from cluster.bootstrap import CannotJoin, InitialCluster, create_first_member, create_joining_member
from cluster.clock import ClockFile, ClusterClock
from cluster.data_dir import DataDir
from cluster.disk import RealDisk
from cluster.errors import ClusterError
from cluster.first_election import FirstElection
from cluster.flusher import Flusher
from cluster.forked import run_in_child
from cluster.leaving import Leaving
from cluster.measured_disk import MeasuredDisk
from cluster.membership import Member, Membership
from cluster.new_cluster import force_new_cluster
from cluster.node import ClusterNode, NodeConfig
from cluster.peers import sync_peers
from cluster.pending import Pending
from cluster.promotion import Promotion
from cluster.snapshotter import Snapshotter
from cluster.snapshotting import Snapshotting, head_start
from cluster.storage import StorageConfig, open_storage, storage_exists
from cluster.syncer import WorkerThread
from cluster.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, Tls
from cluster.transport.handler import peer_handler
from cluster.transport.handshake import Identity
from cluster.transport.transport import Transport
from etcdpy import __version__, certificate_expiry
from etcdpy.auth.gate import make_gate
from etcdpy.auth.passwords import Passwords
from etcdpy.certificate_expiry import CertificateExpiry
from etcdpy.collector import Collector
from etcdpy.compiled import is_compiled
from etcdpy.config import Config
from etcdpy.descriptors import sparing
from etcdpy.expiry import Expiry
from etcdpy.http.app import HttpConfig, Listener, make_client_listener, make_peer_listener
from etcdpy.http.metrics import DISK_BUCKETS, Histogram, Sources
from etcdpy.joining import NoPeerAnswers, fetch_membership
from etcdpy.service import Service, awaited
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store
from etcdpy.tls import make_tls, warnings
from etcdpy.traffic import PeerTraffic
from etcdpy.url import Url
from etcdpy.vouching import Vouching
from raft.config import Config as RaftConfig
from raft.messages import Snapshot
from raft.rawnode import RawNode

log = logging.getLogger(__name__)

REQUEST_GRACE_SECONDS = 5.0
DISK_FULL_PAUSE_SECONDS = 0.5
HAND_OVER_SECONDS = 1.0
LAST_SAVE_SECONDS = 5.0
PUBLISH_RETRY_SECONDS = 1.0
LISTEN_BACKLOG = 1024
KEEP_ALIVE_SECONDS = 30

_ProtocolFactory = Callable[[], asyncio.BaseProtocol]


async def serve(config: Config) -> int:
    """Runs one member until it is told to stop (SIGTERM, SIGINT) or is removed from its cluster; returns the exit
    code. Raises what keeps it from starting or going on: DataDirInUse, OSError, and the storage's errors."""
    directory = DataDir.open(config.data_dir, config.wal_dir)
    try:
        await begin(config, directory)
        if config.force_new_cluster:
            await be_alone(config, directory)
        server = Server(config, directory)
        try:
            await server.start()
            return await server.run_until_told()
        finally:
            await server.stop()
    except (CannotJoin, NoPeerAnswers) as reason:
        log.error("cannot join the cluster", extra={"fields": {"reason": str(reason)}})
        return 1
    finally:
        directory.close()


async def begin(config: Config, directory: DataDir) -> None:
    """Creates the member's files when it starts for the first time."""
    disk = RealDisk()
    if storage_exists(disk, directory.wal_dir):
        return
    initial = InitialCluster(config.name, config.initial_cluster, config.initial_cluster_token)
    empty_state = EtcdStateMachine(Store()).dump()
    if config.initial_cluster_state == "new":
        create_first_member(disk, directory, initial, empty_state)
        return
    others = [url for name, urls in config.initial_cluster.items() if name != config.name for url in urls]
    own = config.initial_cluster[config.name]
    membership = await fetch_membership(others, own, make_tls(config, directory.path).peers)
    create_joining_member(disk, directory, initial, membership, empty_state)


async def be_alone(config: Config, directory: DataDir) -> None:
    pause = partial(asyncio.sleep, DISK_FULL_PAUSE_SECONDS)
    state_machine = EtcdStateMachine(Store())
    await force_new_cluster(RealDisk(), directory, WorkerThread(), pause, storage_config(config), state_machine)


def storage_config(config: Config) -> StorageConfig:
    return StorageConfig(segments_kept=config.max_wals, snapshots_kept=config.max_snapshots)


class Server:
    """One member, all of it. After `start`, `node` and `store` may be used; `stop` ends all that `start` began."""

    def __init__(self, config: Config, directory: DataDir) -> None:
        """Opens the member's files and rebuilds its state. Raises DataCorrupt, StorageFailed, OSError."""
        loop = asyncio.get_running_loop()
        self._config = config
        self._told = asyncio.Event()
        self._removed = False
        self._fsyncs = Histogram(DISK_BUCKETS)
        self._disk = MeasuredDisk(self._fsyncs.observe)
        self._snapshotter = Snapshotter(self._disk, directory.snap_dir)
        self._syncer = WorkerThread(flusher=Flusher(self._fsyncs.observe))
        opened = open_storage(
            self._disk,
            directory.wal_dir,
            directory.snap_dir,
            self._syncer,
            partial(asyncio.sleep, DISK_FULL_PAUSE_SECONDS),
            storage_config(config),
        )
        self._storage = opened.storage
        self._tls = make_tls(config, directory.path)
        urls = tuple(map(str, config.initial_advertise_peer_urls))
        self._identity = Identity(opened.metadata.cluster_id, opened.metadata.member_id, __version__, urls)
        self.store = Store(quirks=config.v2_quirks)
        self._state_machine = EtcdStateMachine(self.store)
        self._membership = Membership(opened.metadata.cluster_id)
        self._raw = self._make_raw(opened.snapshot.snapshot)
        pending = Pending()
        self._applier = Applier(
            self._state_machine, self._membership, pending, self._raw.apply_conf_change, self._read_snapshot
        )
        self._applier.restore(opened.snapshot.snapshot)
        self._transport = Transport(
            self._identity,
            on_message=self._receive,
            on_unreachable=lambda member_id: self.node.report_unreachable(member_id),
            on_snapshot_sent=lambda member_id, ok: self.node.report_snapshot(member_id, ok),
            on_removed=self._be_removed,
            snapshots=self._snapshotter,
            random=random.Random(secrets.randbits(64)),
            tls=self._tls.peers,
            on_stranger=lambda member_id, urls: self._vouching.ask_about(member_id, urls),
        )
        self._clock_file = ClockFile(self._disk, os.path.join(directory.path, "member", "clock"))
        self._clock = ClusterClock(time.monotonic_ns, time.time_ns, self._clock_file.load())
        self._clock.not_before(self._applier.stamp_ns)
        self.node = ClusterNode(
            self._node_config(),
            self._raw,
            self._storage,
            self._transport,
            self._applier,
            self._membership,
            pending,
            self._clock,
            _proposal_ids(),
            loop.time,
            loop.call_later,
            self._applied,
        )
        self._snapshotting = Snapshotting(
            self._applier,
            self._state_machine,
            self._storage,
            self._snapshotter,
            lambda: self._raw.conf_state,
            config.snapshot_count,
            run_in_child,
            loop.create_task,
            loop.time,
            head_start(self._identity.member_id, self._raw.conf_state, config.snapshot_count),
        )
        self._expiry = Expiry(self.node, self.store)
        self._first_election = FirstElection(self.node)
        self._promotion = Promotion(self.node, self._raw)
        self._leaving = Leaving(self._raw, self._membership, self._applier)
        self._seen_membership = -1
        self._vouching = Vouching(
            self._identity.cluster_id, self._tls.peers, self._other_members, self._transport.add_peer
        )
        self._listeners: list[Listener] = []
        self._sockets: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._node_task: asyncio.Task[None] | None = None

    def _make_raw(self, snapshot: Snapshot) -> RawNode:
        config = self._config
        return RawNode(
            RaftConfig(
                id=self._identity.member_id,
                random=random.Random(secrets.randbits(64)),  # members must never share a seed
                applied=snapshot.index,
                election_ticks=config.election_timeout_ms // config.heartbeat_interval_ms,
            ),
            self._storage,
        )

    def _node_config(self) -> NodeConfig:
        election_timeout = self._config.election_timeout_ms / 1000
        request_timeout = REQUEST_GRACE_SECONDS + 2 * election_timeout
        strict = self._config.strict_reconfig_check
        return NodeConfig(self._identity.member_id, election_timeout, request_timeout, strict)

    # Starting.

    async def start(self) -> None:
        """Begins to listen and to take part. Raises OSError if an address cannot be had."""
        self._sync_peers()
        await self._transport.start()
        await self._listen()
        self._node_task = asyncio.create_task(self.node.run())
        self._tasks = [asyncio.create_task(self._tick_forever()), asyncio.create_task(self._publish())]
        for task in self._vital_tasks:
            task.add_done_callback(lambda _: self._told.set())
        self._tasks.append(asyncio.create_task(self._watch_certificates()))
        fields = {"member": f"{self._identity.member_id:x}", "cluster": f"{self._identity.cluster_id:x}"}
        more = {"name": self._config.name, "compiled": is_compiled(raft.rawnode)}
        log.info("member started", extra={"fields": {**fields, **more}})

    async def _listen(self) -> None:
        config, loop = self._config, asyncio.get_running_loop()
        service = Service(self.node, self.store, time.time)
        self._passwords = Passwords(config.bcrypt_cost)
        gate = make_gate(self._state_machine.auth, self._passwords, loop.time, config.auth_guest != "none")
        traffic = PeerTraffic(config.name, time.time_ns(), self.node, self._transport, loop.time, time.time_ns)
        http = HttpConfig(
            config.cors,
            config.max_request_bytes,
            config.v2_quirks,
            config.fast_lane,
            names_from_certificates=config.client_cert_auth,
            hosts=config.host_whitelist,
            own_urls=tuple(str(url) for url in config.advertise_client_urls),
        )
        peers = make_peer_listener(service, partial(peer_handler, self._transport))
        sources = Sources(self._tls.expiries, self._fsyncs, lambda: self._disk.log_bytes_written)
        clients = make_client_listener(service, gate, http, traffic, sources)
        self._listeners = [clients, peers]
        for url in config.listen_peer_urls:
            self._sockets.append(await _listen(url, peers.protocol, self._tls.peers))
        for url in config.listen_client_urls:
            self._sockets.append(await _listen(url, sparing(clients.protocol), self._tls.clients))
            log.info("listening for clients", extra={"fields": {"url": str(url)}})

    async def _tick_forever(self) -> None:
        collector = Collector(time.monotonic)
        while True:
            await asyncio.sleep(self._config.heartbeat_interval_ms / 1000)
            self.node.tick()
            self._first_election.check()
            self._expiry.check()
            self._promotion.check()
            self._storage.probe()
            collector.check()
            if self._clock_file.is_due(self._clock.ahead_of_wall_ns):
                self._save_clock()

    def _save_clock(self) -> None:
        self._syncer.defer(partial(self._clock_file.save, self._clock.ahead_of_wall_ns))

    async def _watch_certificates(self) -> None:
        for warning in warnings(self._config):
            log.warning(warning)
        expiry = CertificateExpiry(self._tls.expiries, time.time)
        while True:
            expiry.check()
            await asyncio.sleep(certificate_expiry.CHECK_SECONDS)

    async def _publish(self) -> None:
        """Tells the cluster this member's name and client URLs, until it knows them."""
        urls = tuple(str(url) for url in self._config.advertise_client_urls)
        own = Member(self._identity.member_id, self._config.name, (), urls)
        while True:
            known = self._membership.get(own.id)
            if known is not None and (known.name, known.client_urls) == (own.name, own.client_urls):
                return
            try:
                await awaited(partial(self.node.publish, own))
            except ClusterError:
                await asyncio.sleep(PUBLISH_RETRY_SECONDS)

    # What the parts tell.

    def _receive(self, message: Any) -> None:
        self.node.receive(message)

    def _read_snapshot(self, snapshot: Snapshot) -> SnapshotContent:
        reader = self._snapshotter.open_reader(snapshot)
        return SnapshotContent(reader.header, reader.pieces())

    def _applied(self) -> None:
        if self._membership.version != self._seen_membership:
            self._sync_peers()
        if self._leaving.check():
            self._be_removed()
        self._promotion.check()
        self._snapshotting.check()

    def _sync_peers(self) -> None:
        self._seen_membership = self._membership.version
        sync_peers(self._transport, self._membership)

    def _other_members(self) -> list[Member]:
        return [member for member in self._membership.members if member.id != self._identity.member_id]

    def _be_removed(self) -> None:
        if not self._removed:
            log.warning("this member was removed from the cluster and stops; its data directory is of no more use")
        self._removed = True
        self._told.set()

    # Stopping.

    @property
    def _vital_tasks(self) -> list[asyncio.Task[Any]]:
        """Without one of these the member would be neither alive nor dead."""
        assert self._node_task is not None
        return [self._node_task, self._tasks[0]]

    async def run_until_told(self) -> int:
        """Returns the exit code after SIGTERM, SIGINT or removal. Raises what ended the node or its ticks."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told.set)
        await self._told.wait()
        for task in self._vital_tasks:
            if task.done():
                task.result()
        return 0

    async def stop(self) -> None:
        """Hands leadership over, answers who waits, and closes everything, in the order that loses nothing."""
        for task in self._tasks[1:]:
            task.cancel()
        for listening in self._sockets:
            listening.close()
        await self._hand_over()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.node.stop()
        if self._node_task is not None:
            await _end(self._node_task)
        await self._snapshotting.stop()
        self._vouching.stop()
        await self._transport.stop()
        for listener in self._listeners:
            await listener.close()
        self._save_clock()
        self._passwords.close()
        self._storage.close()

    async def _hand_over(self) -> None:
        """Gives leadership away, so that the cluster has no gap of an election timeout."""
        if self._removed or not self.node.transfer_leadership():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_SECONDS):
                while self.node.is_leader and not self.node.stopping:  # noqa: ASYNC110  # a poll is enough for an end
                    await asyncio.sleep(0.005)


async def _end(node: asyncio.Task[None]) -> None:
    """Waits for its last save, but not until a full disk has room again: nobody was told of what it holds."""
    await asyncio.wait([node], timeout=LAST_SAVE_SECONDS)
    node.cancel()
    await asyncio.wait([node])


async def _listen(url: Url, protocol: _ProtocolFactory, tls: Tls | None) -> asyncio.Server:
    """Where several addresses stand behind a name, the first IPv4 one is meant, as in Go's net.Listen. `tls` counts
    for https only."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    address = next((info for info in found if info[0] == socket.AF_INET), found[0])[4]
    listen = partial(
        loop.create_server, host=str(address[0]), port=url.port, backlog=LISTEN_BACKLOG, reuse_address=True
    )
    if url.is_tls:
        assert tls is not None  # the configuration was checked
        server = await listen(
            tls.guard(protocol),
            ssl=tls.listening,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
    else:
        server = await listen(protocol)
    for listening in server.sockets:
        _notice_the_dead(listening)
    return server


def _notice_the_dead(listening: socket.socket) -> None:
    """Whoever vanishes without a word is noticed by the kernel, as in etcd; else his watches would be for ever.
    Connections inherit this from their listener."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_SECONDS)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_SECONDS)


def _proposal_ids() -> Callable[[], int]:
    """Ids that no other member and no other run gives: they begin anywhere in 64 bits."""
    state = secrets.randbits(64)

    def next_id() -> int:
        nonlocal state
        state = (state + 1) % (1 << 64)
        return state

    return next_id
