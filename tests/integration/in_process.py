"""Three members in this process and event loop, on real disk and real sockets, for the tests of this directory.

A scenario is a coroutine function that takes a `Cluster`; `run` gives it one, and at its end, whatever it did, the
members must hold the same bytes at the same applied index.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import uvloop
import yarl

from cluster.data_dir import DataDir
from etcdpy.config import Config
from etcdpy.server import Server, begin
from etcdpy.store import snapshot
from etcdpy.url import Url

DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.01
FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Below the kernel's ephemeral ports: while a member is down, no outgoing connection may take its port."""


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def node(self) -> Any:
        return self.json["node"]


class MemberProcess:
    """One member with its files, started and stopped as often as one likes."""

    def __init__(self, config: Config, session: aiohttp.ClientSession) -> None:
        self.config = config
        self.url = str(config.listen_client_urls[0])
        self.peer_address = ("127.0.0.1", config.listen_peer_urls[0].port)
        self._session = session
        self._server: Server | None = None
        self._directory: DataDir | None = None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_running(self) -> bool:
        return self._server is not None

    @property
    def server(self) -> Server:
        assert self._server is not None, f"{self.name} does not run"
        return self._server

    @property
    def member_dir(self) -> Path:
        return Path(self.config.data_dir, "member")

    async def start(self) -> None:
        directory = DataDir.open(self.config.data_dir, self.config.wal_dir)
        try:
            await begin(self.config, directory)
            server = Server(self.config, directory)
            try:
                await server.start()
            except BaseException:
                await server.stop()
                raise
        except BaseException:
            directory.close()
            raise
        self._server, self._directory = server, directory

    async def stop(self) -> None:
        server, directory, self._server, self._directory = self._server, self._directory, None, None
        if server is not None and directory is not None:
            await server.stop()
            directory.close()

    def state(self) -> bytes:
        """The replicated state, byte for byte."""
        return b"".join(snapshot.dump(self.server.store))

    # HTTP

    async def request(self, method: str, target: str, body: bytes | None = None) -> Answer:
        """The target goes out as it is given."""
        headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        url = yarl.URL(self.url + target, encoded=True)
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, key: str, **parameters: str) -> Answer:
        return await self.request("GET", f"/v2/keys{quote(key)}?{urlencode(parameters)}")

    async def put(self, key: str, **form: str) -> Answer:
        return await self.request("PUT", f"/v2/keys{quote(key)}", urlencode(form).encode())

    async def post(self, key: str, **form: str) -> Answer:
        return await self.request("POST", f"/v2/keys{quote(key)}", urlencode(form).encode())

    async def delete(self, key: str, **parameters: str) -> Answer:
        return await self.request("DELETE", f"/v2/keys{quote(key)}?{urlencode(parameters)}")

    @asynccontextmanager
    async def stream(self, key: str, **parameters: str) -> AsyncIterator[AsyncIterator[Any]]:
        """The events of a `stream=true` watch; when the body is entered the watch is in place."""
        parameters = {"wait": "true", "stream": "true", **parameters}
        async with self._session.get(f"{self.url}/v2/keys{key}?{urlencode(parameters)}") as response:
            yield (json.loads(line) async for line in response.content)


class Cluster:
    def __init__(self, directory: Path, session: aiohttp.ClientSession, size: int, settings: dict[str, Any]) -> None:
        self.session = session
        ports = free_ports(2 * size)
        clients, peers = ([Url("http", "127.0.0.1", port) for port in each] for each in (ports[:size], ports[size:]))
        initial = {f"m{i}": (str(url),) for i, url in enumerate(peers)}
        self.members = [
            MemberProcess(_config(f"m{i}", directory, clients[i], peers[i], initial, settings), session)
            for i in range(size)
        ]

    @property
    def running(self) -> list[MemberProcess]:
        return [member for member in self.members if member.is_running]

    @property
    def leader(self) -> MemberProcess:
        return next(member for member in self.running if member.server.node.is_leader)

    @property
    def followers(self) -> list[MemberProcess]:
        leader = self.leader
        return [member for member in self.running if member is not leader]

    async def start(self) -> None:
        for member in self.members:
            await member.start()
        await self.settle()

    async def stop(self) -> None:
        await asyncio.gather(*(member.stop() for member in self.running))

    async def join(self, name: str, asked: MemberProcess) -> MemberProcess:
        """Adds a member through the API of `asked`, starts it, and waits until it votes."""
        client, peer = (Url("http", "127.0.0.1", port) for port in free_ports(2))
        async with self.session.post(f"{asked.url}/v2/members", json={"peerURLs": [str(peer)]}) as response:
            assert response.status == 201, await response.text()
            new_id = int((await response.json())["id"], 16)
        others = [url for m in asked.server.node.membership.members for url in m.peer_urls if url != str(peer)]
        config = replace(
            asked.config,
            name=name,
            data_dir=str(Path(asked.config.data_dir).parent / name),
            listen_client_urls=(client,),
            advertise_client_urls=(client,),
            listen_peer_urls=(peer,),
            initial_advertise_peer_urls=(peer,),
            initial_cluster={name: (str(peer),), **{f"other-{i}": (url,) for i, url in enumerate(others)}},
            initial_cluster_state="existing",
        )
        member = MemberProcess(config, self.session)
        await member.start()
        self.members.append(member)
        await until(lambda: new_id in asked.server.node.membership.voters, "the new member's vote")
        return member

    async def settle(self) -> None:
        """Waits until all who run follow one leader, have published themselves and have applied the same."""
        await until(lambda: self._is_settled() or None, "a settled cluster")

    def _is_settled(self) -> bool:
        nodes = [member.server.node for member in self.running]
        statuses = [node.status for node in nodes]
        return (
            len({(status.lead, status.term) for status in statuses}) == 1
            and statuses[0].lead != 0
            and any(node.is_leader for node in nodes)
            and all(
                all(known.client_urls for known in node.membership.members if known.name in self._running_names)
                for node in nodes
            )
            and len({index for status in statuses for index in (status.raft_index, status.applied_index)}) == 1
        )

    @property
    def _running_names(self) -> set[str]:
        return {member.name for member in self.running}

    async def check_alike(self) -> None:
        """All who run come to the same state, byte for byte."""
        await self.settle()
        first, *others = self.running
        for other in others:
            assert other.state() == first.state(), f"{other.name} and {first.name} differ"


Scenario = Callable[[Cluster], Awaitable[None]]


def run(directory: Path, scenario: Scenario, size: int = 3, **settings: Any) -> None:
    """Runs the scenario against a fresh cluster, whose members end alike."""

    async def all_of_it() -> None:
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS))
        async with session:
            cluster = Cluster(directory, session, size, settings)
            try:
                await cluster.start()
                await scenario(cluster)
                await cluster.check_alike()
            finally:
                await cluster.stop()

    uvloop.run(all_of_it())


async def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """What `condition` gives, once it is neither None nor False."""
    deadline = time.monotonic() + seconds
    while (found := condition()) is None or found is False:
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        await asyncio.sleep(POLL_SECONDS)
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(FIRST_PORT, LAST_PORT)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0 and _can_bind(port):
                found.append(port)
    return found


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _config(
    name: str, directory: Path, client: Url, peer: Url, initial: dict[str, tuple[str, ...]], settings: dict[str, Any]
) -> Config:
    defaults: dict[str, Any] = {"heartbeat_interval_ms": 20, "election_timeout_ms": 300}
    return Config(
        name=name,
        data_dir=str(directory / name),
        listen_client_urls=(client,),
        advertise_client_urls=(client,),
        listen_peer_urls=(peer,),
        initial_advertise_peer_urls=(peer,),
        initial_cluster=initial,
        **{**defaults, **settings},
    )
