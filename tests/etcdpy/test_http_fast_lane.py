"""The fast lane: which requests it answers, which it hands over and with which bytes, and that it stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from etcdpy.auth.credentials import Credentials
from etcdpy.commands import Watch
from etcdpy.http.fast_lane import MAX_BUFFERED_BYTES, FastLane, Lane
from etcdpy.http.parse import KeysRequest
from etcdpy.http.render import Response

pytestmark = pytest.mark.plain  # its `Keys` are a stand-in

FORM = "application/x-www-form-urlencoded"
HEAD = f"PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM}\r\nContent-Length: {{}}\r\n\r\n"


def put(body: str = "value=x") -> bytes:
    return (HEAD.format(len(body)) + body).encode()


def get(path: str = "/v2/keys/a", headers: str = "Host: h\r\n") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 2379), "peername": ("127.0.0.1", 50000)})
        self.written: list[bytes] = []
        self.protocol: Any = None
        self.reading = True
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class SlowLane(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


class FakeKeys:
    """Keeps what it is asked; answers at once, or later when told so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, str | None, bytes]] = []
        self.credentials: list[Credentials] = []
        self.replies: list[Callable[[Response], None]] = []
        self.answer: Response | None = Response(200, "", b"ok\n")

    def handle(self, *request: Any) -> None:
        *fields, reply, credentials = request
        self.asked.append(tuple(fields))  # type: ignore[arg-type]
        self.credentials.append(credentials)
        self._answer(reply)

    def meaning(self, *request: Any) -> KeysRequest:
        is_watch = "wait=true" in request[2]
        return KeysRequest(Watch("/a", False, False, 0) if is_watch else request, False)  # type: ignore[arg-type]

    def perform(self, method: str, meaning: Any, reply: Callable[[Response], None], credentials: Credentials) -> None:
        self.asked.append((*meaning.operation, b""))
        self.credentials.append(credentials)
        self._answer(reply)

    def _answer(self, reply: Callable[[Response], None]) -> None:
        if self.answer is None:
            self.replies.append(reply)
        else:
            reply(self.answer)


class Bench:
    def __init__(self) -> None:
        self.keys = FakeKeys()
        self.slow: list[SlowLane] = []
        self.lane = Lane(self.keys, self._slow_lane, lambda: "now", "", 1 << 20)  # type: ignore[arg-type]
        self.transport = FakeTransport()
        self.connection = FastLane(self.lane)
        self.connection.connection_made(self.transport)

    def _slow_lane(self) -> SlowLane:
        self.slow.append(SlowLane())
        return self.slow[-1]

    def receive(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def written(self) -> list[bytes]:
        self.lane.flush()
        return self.transport.written

    def close(self) -> None:
        self.connection.connection_lost(None)


def in_loop(test: Callable[[Bench], None]) -> None:
    async def scenario() -> None:
        bench = Bench()
        test(bench)
        bench.close()

    asyncio.run(scenario())


def test_a_plain_write_is_answered_at_once() -> None:
    def test(bench: Bench) -> None:
        bench.receive(put())
        assert bench.keys.asked == [("PUT", "/v2/keys/a", "", FORM, b"value=x")]
        assert bench.written == [
            b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nok\n"
        ]
        assert bench.slow == []

    in_loop(test)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_body_may_come_in_pieces_of_any_size(size: int) -> None:
    def test(bench: Bench) -> None:
        for value in ("x", "yy"):
            head, body = put(f"value={value}").split(b"\r\n\r\n")
            bench.receive(head + b"\r\n\r\n")
            for start in range(0, len(body), size):
                bench.receive(body[start : start + size])
        assert [body for *_, body in bench.keys.asked] == [b"value=x", b"value=yy"]
        assert len(bench.written) == 2
        assert bench.slow == []

    in_loop(test)


def test_requests_that_come_together_are_told_apart() -> None:
    def test(bench: Bench) -> None:
        bench.receive(put() + get("/v2/keys/b?recursive=true") + put("value=yy"))
        assert [(method, path, query, body) for method, path, query, _, body in bench.keys.asked] == [
            ("PUT", "/v2/keys/a", "", b"value=x"),
            ("GET", "/v2/keys/b", "recursive=true", b""),
            ("PUT", "/v2/keys/a", "", b"value=yy"),
        ]
        assert len(bench.written) == 3

    in_loop(test)


def test_a_pipelined_request_waits_for_the_answer_to_the_one_before() -> None:
    def test(bench: Bench) -> None:
        bench.keys.answer = None
        bench.receive(put() + get())
        assert len(bench.keys.asked) == 1
        bench.keys.replies.pop()(Response(201, "", b"1"))
        assert len(bench.keys.asked) == 2
        bench.keys.replies.pop()(Response(200, "", b"2"))
        assert [data[-1:] for data in bench.written] == [b"1", b"2"]

    in_loop(test)


ODD = {
    "another endpoint": b"GET /v2/members HTTP/1.1\r\nHost: h\r\n\r\n",
    "a name that only begins like ours": get("/v2/keysfoo"),
    "HEAD": b"HEAD /v2/keys/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/1.0": b"GET /v2/keys/a HTTP/1.0\r\nHost: h\r\n\r\n",
    "no Host": get(headers=""),
    "two Hosts": get(headers="Host: h\r\nHost: i\r\n"),
    "two lengths": get(headers="Host: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n"),
    "an empty Host": get(headers="Host: \r\n"),
    "chunked": get(headers="Host: h\r\nTransfer-Encoding: chunked\r\n"),
    "Expect": get(headers="Host: h\r\nExpect: 100-continue\r\n"),
    "Connection": get(headers="Host: h\r\nConnection: close\r\n"),
    "credentials twice": get(headers="Host: h\r\nAuthorization: Basic eDp5\r\nAuthorization: Basic eDp5\r\n"),
    "a host that DNS may have been rebound to": get(headers="Host: evil.example\r\n"),
    "Origin": get(headers="Host: h\r\nOrigin: http://a\r\n"),
    "a signed length": get(headers="Host: h\r\nContent-Length: +4\r\n"),
    "a huge length": get(headers="Host: h\r\nContent-Length: 99999999999999999999\r\n"),
    "a large body": HEAD.format(70_000).encode(),
    "a body where none counts": get(headers="Host: h\r\nContent-Length: 3\r\n"),
    "a space before the colon": get(headers="Host: h\r\nAccept : x\r\n"),
    "a folded header": get(headers="Host: h\r\nAccept: x\r\n y\r\n"),
    "a bare line feed": b"GET /v2/keys/a HTTP/1.1\nHost: h\r\n\r\n",
    "a bare line feed in a header": get(headers="Host: h\r\nAccept: x\nAccept: y\r\n"),
    "a NUL in a header": get(headers="Host: h\r\nAccept: \0\r\n"),
    "an unclean path": get("/v2/keys/a/../b"),
    "an escaped unclean path": get("/v2/keys/%2e%2e/b"),
    "a bad escape": get("/v2/keys/%zz"),
    "bytes beyond ASCII": b"GET /v2/keys/\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    "two spaces": b"GET  /v2/keys/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "an absolute target": b"GET http://h/v2/keys/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "the beginning of a head": b"GET /v2/ke",
    "TLS": b"\x16\x03\x01\x02\x00\r\n\r\n",
}


@pytest.mark.parametrize("request_", ODD.values(), ids=ODD.keys())
def test_whatever_is_odd_is_handed_over_whole_with_all_that_follows(request_: bytes) -> None:
    def test(bench: Bench) -> None:
        bench.receive(get() + request_ + b"more")
        assert len(bench.keys.asked) == 1
        assert bench.transport.protocol is bench.slow[0]
        assert bench.slow[0].transport is bench.transport
        assert bench.slow[0].received == request_ + b"more"

    in_loop(test)


def test_a_head_that_does_not_end_is_handed_over_to_be_refused() -> None:
    def test(bench: Bench) -> None:
        endless = b"GET /v2/keys/a HTTP/1.1\r\nX: " + b"y" * 9000
        bench.receive(endless)
        assert bench.slow[0].received == endless

    in_loop(test)


def test_credentials_are_passed_on_and_only_a_digest_of_them_stays() -> None:
    def test(bench: Bench) -> None:
        secret = "Basic YWxpY2U6c2VjcmV0"
        for _ in range(2):
            bench.receive(get(headers=f"Host: h\r\nauthorization: {secret} \r\nAccept: x\r\n"))
        bench.receive(HEAD.format(3).replace("\r\n\r\n", f"\r\nAuthorization:{secret}\r\n\r\nv=1").encode())
        assert [given.authorization for given in bench.keys.credentials] == [secret.encode()] * 3
        assert len(bench.lane._judged) == 2
        assert secret not in str(bench.lane._judged)

    in_loop(test)


def test_a_watch_is_handed_over() -> None:
    def test(bench: Bench) -> None:
        bench.receive(get("/v2/keys/a?wait=true"))
        assert bench.slow[0].received == get("/v2/keys/a?wait=true")
        assert bench.written == []

    in_loop(test)


def test_a_request_is_not_handed_over_before_earlier_ones_are_answered() -> None:
    def test(bench: Bench) -> None:
        bench.keys.answer = None
        bench.receive(put() + ODD["HEAD"])
        assert bench.slow == []
        bench.keys.replies.pop()(Response(201, "", b"1"))
        assert len(bench.written) == 1
        assert bench.slow[0].received == ODD["HEAD"]

    in_loop(test)


def test_a_client_that_sends_ahead_of_its_answers_is_not_read_any_further() -> None:
    def test(bench: Bench) -> None:
        bench.keys.answer = None
        bench.receive(put())
        bench.receive(get() * (MAX_BUFFERED_BYTES // len(get()) + 1))
        assert not bench.transport.reading
        bench.keys.answer = Response(200, "", b"ok")
        bench.keys.replies.pop()(Response(201, "", b"1"))
        assert bench.transport.reading

    in_loop(test)


def test_a_client_that_reads_no_answers_gets_no_more_until_it_does() -> None:
    def test(bench: Bench) -> None:
        bench.connection.pause_writing()
        bench.receive(get() + get())
        assert bench.keys.asked == []
        bench.connection.resume_writing()
        assert len(bench.written) == 2

    in_loop(test)


def test_an_answer_that_comes_after_the_client_has_gone_is_dropped() -> None:
    def test(bench: Bench) -> None:
        bench.keys.answer = None
        bench.receive(put() + get())
        bench.transport.aborted = True
        bench.close()
        bench.keys.replies.pop()(Response(201, "", b"1"))
        assert bench.written == []
        assert len(bench.keys.asked) == 1

    in_loop(test)


def test_a_body_that_does_not_come_is_left_to_the_other_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcdpy.http.fast_lane.BODY_SECONDS", 0.01)

    async def scenario() -> None:
        bench = Bench()
        bench.receive(put()[:-3])
        await reached(lambda: bench.slow)
        assert bench.slow[0].received == put()[:-3]
        bench.close()

    asyncio.run(scenario())


def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcdpy.http.fast_lane.STALL_SECONDS", 0.01)

    async def scenario() -> None:
        bench = Bench()
        bench.connection.pause_writing()
        bench.receive(get())
        await reached(lambda: bench.transport.aborted)
        bench.close()

    asyncio.run(scenario())


async def reached(condition: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)
