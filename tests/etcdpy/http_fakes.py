"""A cluster of one member without consensus, disk or network: what is proposed is applied at once. And a raw client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from cluster.membership import Member, Membership, MembershipError
from cluster.node import NodeStatus
from cluster.state_machine import Position
from etcdpy.auth.gate import Gate, make_gate
from etcdpy.auth.passwords import Passwords
from etcdpy.http.app import HttpConfig, make_client_listener, make_peer_listener
from etcdpy.http.stats import NoTraffic
from etcdpy.service import Service
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store
from raft.messages import ConfChange, ConfChangeType, Role

START_NS = 1_700_000_000_000_000_000
DEFAULTS = HttpConfig()
FORM = "application/x-www-form-urlencoded"


class FakeNode:
    """`failure`, when set, is what proposals and quorum reads end in. `held`, when a list, collects their callbacks
    instead of calling them."""

    def __init__(self, store: Store) -> None:
        self.machine = EtcdStateMachine(store)
        member = Member(0x2E1259D415F2A040, "default", ("http://127.0.0.1:2380",), ("http://127.0.0.1:2379",))
        self.membership = Membership(0x48276A8F75B6A87, [member])
        self.status = NodeStatus(member.id, member.id, 2, Role.LEADER, 4, 4)
        self.time_ns = START_NS
        self.leader_changes = self.proposals_pending = self.proposals_failed = 0
        self.failure: Exception | None = None
        self.held: list[Callable[[], None]] | None = None

    @property
    def term(self) -> int:
        return self.status.term

    @property
    def raft_index(self) -> int:
        return self.status.raft_index

    def now_ns(self) -> int:
        return self.time_ns

    def _finish(self, done: Callable[[Any], None], result: Any) -> None:
        if self.held is not None:
            self.held.append(lambda: done(result))
        else:
            done(result)

    def propose(self, command: Any, done: Callable[[Any], None]) -> None:
        if self.failure is not None:
            self._finish(done, self.failure)
            return
        index = self.status.raft_index + 1
        self.status = self.status._replace(raft_index=index, applied_index=index)
        self._finish(done, self.machine.apply([command], Position(index, self.status.term, self.time_ns))[0])

    def read_index(self, done: Callable[[Any], None]) -> None:
        self._finish(done, self.failure)

    def change_membership(self, change_type: ConfChangeType, member: Member, done: Callable[[Any], None]) -> None:
        change = ConfChange(change_type, member.id)
        try:
            if self.failure is not None:
                raise self.failure
            self.membership.check(change, member)
            self.membership.apply(change, member)
        except MembershipError as refusal:
            done(refusal)
            return
        done(None)


class Api:
    """A running API on loopback, and what is behind it."""

    def __init__(self, node: FakeNode, service: Service, gate: Gate, port: int, peer_port: int) -> None:
        self.node = node
        self.gate = gate
        self.service = service
        self.store = service.store
        self.port = port
        self.peer_port = peer_port

    async def raw(self, data: bytes, *, peer: bool = False) -> bytes:
        """Everything that comes back until the server closes."""
        async with self.connected(peer=peer) as (reader, writer):
            writer.write(data)
            async with asyncio.timeout(5):
                return await reader.read(-1)

    @contextlib.asynccontextmanager
    async def connected(
        self, *, peer: bool = False
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        port = self.peer_port if peer else self.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self, method: str, target: str, body: str | None = None, **options: Any) -> Answer:
        return parse_answer(await self.raw(request_bytes(method, target, body, **options)), method)

    async def ask_peer(self, method: str, target: str) -> Answer:
        return parse_answer(await self.raw(request_bytes(method, target), peer=True), method)


class Answer:
    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


def request_bytes(
    method: str, target: str, body: str | None = None, content_type: str | None = FORM, headers: str = ""
) -> bytes:
    """A request after which the server closes, so that its answer has an end."""
    text = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}"
    if body is not None:
        if content_type is not None:
            text += f"Content-Type: {content_type}\r\n"
        text += f"Content-Length: {len(body.encode('utf-8', 'surrogateescape'))}\r\n"
    return f"{text}\r\n{body or ''}".encode("utf-8", "surrogateescape")


def parse_answer(data: bytes, method: str = "GET") -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    if ("Transfer-Encoding", "chunked") in headers:
        body = _unchunk(body)
    return Answer(int(first.split()[1]), headers, body)


def _unchunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body


@contextlib.asynccontextmanager
async def running_api(config: HttpConfig = DEFAULTS, guest_is_open: bool = True) -> AsyncIterator[Api]:
    store = Store(quirks=config.quirks)
    node = FakeNode(store)
    service = Service(node, store, wall_seconds=lambda: START_NS / 1e9)
    traffic = NoTraffic("default", START_NS, START_NS)
    loop = asyncio.get_running_loop()
    passwords = Passwords(4)
    gate = make_gate(node.machine.auth, passwords, loop.time, guest_is_open)
    listeners = (
        make_client_listener(service, gate, config, traffic),
        make_peer_listener(service, lambda handler: handler),
    )
    servers = [await loop.create_server(listener.protocol, "127.0.0.1", 0) for listener in listeners]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    try:
        yield Api(node, service, gate, *ports)
    finally:
        for server, listener in zip(servers, listeners, strict=True):
            server.close()
            await listener.close()
            await server.wait_closed()
        passwords.close()


def run(scenario: Callable[[Api], Any], config: HttpConfig = DEFAULTS, guest_is_open: bool = True) -> None:
    """Runs a coroutine function against a fresh API, on each lane."""

    async def main(fast_lane: bool) -> None:
        async with running_api(config._replace(fast_lane=fast_lane), guest_is_open) as api:
            await scenario(api)

    for fast_lane in (True, False):
        asyncio.run(main(fast_lane))
