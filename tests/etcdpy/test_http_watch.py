"""Watches over real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from http_fakes import START_NS, Api, parse_answer, run

from cluster.state_machine import Position
from etcdpy.auth.model import Permissions, Role
from etcdpy.commands import Access, OnBehalf, RolePut, Set
from etcdpy.http import connection, watch
from etcdpy.http.app import HttpConfig
from etcdpy.http.keys import Keys
from etcdpy.store.event import Event
from etcdpy.store.watcher import BACKLOG_LIMIT

END = b"0\r\n\r\n"


class Watching:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def event(self) -> dict:
        async with asyncio.timeout(5):
            size = int(await self.reader.readline(), 16)
            body = await self.reader.readexactly(size + 2)
        assert body.endswith(b"}\n\r\n")
        return json.loads(body)

    async def rest(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def watching(api: Api, query: str, key: str = "/v2/keys/a", version: str = "1.1") -> AsyncIterator[Watching]:
    async with api.connected() as (reader, writer):
        writer.write(f"GET {key}?wait=true{query} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        yield Watching(reader, writer)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def test_the_head_comes_before_any_event():
    async def scenario(api: Api) -> None:
        await api.ask("PUT", "/v2/keys/b", "value=0")
        async with watching(api, "") as client:
            answer = parse_answer((await client.head())[:-4])
            assert [name for name, _ in answer.headers[3:]] == [
                "Content-Type",
                "X-Etcd-Cluster-Id",
                "X-Etcd-Index",
                "X-Raft-Index",
                "X-Raft-Term",
                "Date",
                "Transfer-Encoding",
            ]
            assert (answer.header("X-Etcd-Index"), answer.header("Transfer-Encoding")) == ("1", "chunked")
            await api.ask("PUT", "/v2/keys/a", "value=1")
            event = await client.event()
            assert (event["action"], event["node"]["modifiedIndex"]) == ("set", 2)

    run(scenario)


def test_a_long_poll_ends_with_its_event_and_the_connection_goes_on():
    async def scenario(api: Api) -> None:
        async with watching(api, "") as client:
            await client.head()
            await api.ask("PUT", "/v2/keys/a", "value=1")
            await client.event()
            assert await client.reader.readexactly(5) == END
            client.writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 200 OK")
        assert api.store.hub.count == 0

    run(scenario)


def test_a_stream_goes_on():
    async def scenario(api: Api) -> None:
        async with watching(api, "&stream=true&recursive=true") as client:
            await client.head()
            for number in range(5):
                await api.ask("PUT", f"/v2/keys/a/{number}", "value=1")
                assert (await client.event())["node"]["key"] == f"/a/{number}"
            assert api.store.hub.count == 1

    run(scenario)


def test_the_past_comes_at_once():
    async def scenario(api: Api) -> None:
        for value in "123":
            await api.ask("PUT", "/v2/keys/a", f"value={value}")
        async with watching(api, "&waitIndex=2") as client:
            head = parse_answer((await client.head())[:-4])
            assert head.header("X-Etcd-Index") == "3"
            assert (await client.event())["node"]["value"] == "2"
        async with watching(api, "&waitIndex=2&stream=true") as client:
            await client.head()
            assert [(await client.event())["node"]["value"] for _ in range(2)] == ["2", "3"]
            await api.ask("PUT", "/v2/keys/a", "value=4")
            assert (await client.event())["node"]["value"] == "4"

    run(scenario)


def test_a_past_that_is_forgotten():
    async def scenario(api: Api) -> None:
        for _ in range(1003):
            api.node.propose((*("/a", "1", False, None, False), 1), lambda result: None)
        async with watching(api, "&waitIndex=3") as client:
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 400 Bad Request")
            assert b"\r\nX-Etcd-Index: 1003\r\n" in head
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
            body = json.loads(await client.reader.readexactly(length))
        assert (body["errorCode"], body["cause"]) == (401, "the requested history has been cleared [4/3]")

    run(scenario)


@pytest.mark.parametrize("query", ["", "&stream=true", "&recursive=true"])
def test_a_client_that_leaves_is_forgotten_at_once(query):
    async def scenario(api: Api) -> None:
        async with watching(api, query) as client:
            await client.head()
            assert api.store.hub.count == 1
        await until(lambda: api.store.hub.count == 0)

    run(scenario)


def test_a_client_that_sends_no_more_has_left():
    async def scenario(api: Api) -> None:
        async with watching(api, "&stream=true") as client:
            await client.head()
            client.writer.write_eof()
            await until(lambda: api.store.hub.count == 0)
            await client.rest()

    run(scenario)


def test_http_1_0_gets_no_chunks():
    async def scenario(api: Api) -> None:
        async with watching(api, "", version="1.0") as client:
            head = await client.head()
            assert head.startswith(b"HTTP/1.0 200 OK\r\n")
            assert b"chunked" not in head
            await api.ask("PUT", "/v2/keys/a", "value=1")
            assert json.loads(await client.rest())["node"]["value"] == "1"

    run(scenario)


async def stop_reading(api: Api, client: Watching) -> None:
    """Fills the way to the client until its watcher has to queue."""
    await client.head()
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    watcher = next(iter(api.store.hub._all()))
    value = "x" * 100_000

    def paused() -> bool:
        api.node.propose(("/a", value, False, None, False, 1), lambda result: None)
        return watcher._paused

    await until(paused)


def overflow(api: Api) -> None:
    for _ in range(BACKLOG_LIMIT + 1):
        api.node.propose(("/a", "y", False, None, False, 1), lambda result: None)


def test_a_slow_reader_gets_everything_if_it_reads_again():
    async def scenario(api: Api) -> None:
        async with watching(api, "&stream=true") as client:
            await stop_reading(api, client)
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]
            last = api.store.index
            seen = [(await client.event())["node"]["modifiedIndex"] for _ in range(last)]
            assert seen == list(range(1, last + 1))
            await api.ask("PUT", "/v2/keys/a", "value=1")
            assert (await client.event())["node"]["value"] == "1"

    run(scenario)


def test_a_reader_too_slow_is_cut_off():
    async def scenario(api: Api) -> None:
        async with watching(api, "&stream=true") as client:
            await stop_reading(api, client)
            overflow(api)
            assert api.store.hub.count == 0
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionResetError):
                assert b'"value":"y"' not in await client.rest()

    run(scenario)


def test_a_reader_that_never_reads_is_cut_off(monkeypatch):
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.1)

    async def scenario(api: Api) -> None:
        async with watching(api, "&stream=true") as client:
            await stop_reading(api, client)
            await until(lambda: api.store.hub.count == 0)

    run(scenario)


def test_quirks_leave_a_slow_reader_hanging():
    async def scenario(api: Api) -> None:
        async with watching(api, "&stream=true") as client:
            await stop_reading(api, client)
            overflow(api)
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert (await client.event())["action"] == "set"
            assert not client.reader.at_eof()

    run(scenario, HttpConfig(quirks=True))


@pytest.mark.plain
def test_an_event_for_many_is_rendered_once(monkeypatch):
    rendered: list[bytes] = []
    original = watch.event_body
    monkeypatch.setattr(watch, "event_body", lambda event: rendered.append(original(event)) or rendered[-1])

    async def scenario(api: Api) -> None:
        rendered.clear()
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(watching(api, "")) for _ in range(20)]
            for client in clients:
                await client.head()
            await api.ask("PUT", "/v2/keys/a", "value=1")
            assert [(await client.event())["node"]["value"] for client in clients] == ["1"] * 20
        assert len(rendered) == 1

    run(scenario)


def test_a_revoked_watch_hears_nothing_of_the_rest_of_its_batch():
    async def scenario(api: Api) -> None:
        machine = api.node.machine
        machine.auth.put_user("root", "hash", None, None, None, True)
        machine.auth.enable(guest_is_open=True)
        async with watching(api, "&stream=true") as client:
            await client.head()
            nothing_for_guests = RolePut("guest", (None, None), None, (("/*",), ("/*",)))
            closes = OnBehalf(Access("root", "", False, True), nothing_for_guests)
            secret = OnBehalf(Access("root", "/a", False, True), Set("/a", "secret", False, None, False))
            results = machine.apply([list(closes), list(secret)], Position(9, 2, START_NS))
            assert [type(result) for result in results] == [Role, Event]
            client.writer.write_eof()
            assert await client.rest() == END

    run(scenario)


def test_a_watch_that_is_revoked_before_it_began_is_refused(monkeypatch: pytest.MonkeyPatch):
    judge = Keys.serve

    async def judge_then_let_others_have_their_turn(keys: Keys, request):
        answer = await judge(keys, request)
        keys._auth.put_role(Role("guest", Permissions(), None, Permissions(("/*",), ("/*",))))
        return answer

    async def scenario(api: Api) -> None:
        api.node.machine.auth.put_user("root", "hash", None, None, None, True)
        api.node.machine.auth.enable(guest_is_open=True)
        async with watching(api, "&stream=true") as client:
            assert b" 401 Unauthorized" in await client.head()
        assert api.store.hub.count == 0

    monkeypatch.setattr(Keys, "serve", judge_then_let_others_have_their_turn)
    run(scenario)
