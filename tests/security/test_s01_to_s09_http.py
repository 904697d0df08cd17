"""S01-S09: what can be sent too slowly, too much of, or malformed, so that two readers would disagree about it."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from member_process import Member, answers_in, is_closed, received, request, running, status_of

GET = b"GET /v2/keys/x HTTP/1.1\r\nHost: a\r\n"
PUT = b"PUT /v2/keys/smuggle HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SECOND = b"PUT /v2/keys/smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def seconds_of_a_get(member: Member) -> float:
    begun = time.monotonic()
    assert member.ask("GET", "/version")[0] == 200
    return time.monotonic() - begun


def test_s01_and_s02_who_is_slow_is_cut_off_while_others_are_served() -> None:
    """On both lanes at the same time, because it takes its time."""
    with running("--fast-lane=on") as fast, running("--fast-lane=off") as slow, ThreadPoolExecutor(2) as pool:
        list(pool.map(attack_slowly, (fast, slow)))


def attack_slowly(member: Member) -> None:
    """Heads that stop or trickle, bodies that do, and clients that read nothing: gone after ten seconds, and held in
    little memory meanwhile."""
    assert member.ask("PUT", "/v2/keys/big/a", f"value={'v' * 500_000}")[0] in (200, 201)
    before, files = member.memory_bytes, member.open_files
    beginnings = [b"G", GET, b"PUT /v2/keys/x HTTP/1.1\r\nHost: a\r\n", PUT + b"Content-Length: 100\r\n\r\nvalue="]
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(member.connect()) for _ in range(200)]
        lazy = [stack.enter_context(member.connect(receive_buffer=4096)) for _ in range(10)]
        begun = time.monotonic()
        for number, connection in enumerate(slow):
            connection.sendall(beginnings[number % len(beginnings)])
        for number, connection in enumerate(lazy):
            watch = request("GET", "/v2/keys/big?wait=true&recursive=true&stream=true")
            connection.sendall(watch if number % 2 else request("GET", "/v2/keys/big?recursive=true") * 40)
        until_watchers(member, len(lazy) // 2)
        for _ in range(3):
            assert member.ask("PUT", "/v2/keys/big/a", f"value={'w' * 500_000}")[0] == 200
        while time.monotonic() - begun < 9:
            for connection in slow[:2]:
                connection.sendall(b"a")  # a byte now and then must not buy time
            assert seconds_of_a_get(member) < 1
            assert member.memory_bytes - before < 100 << 20, "400 answers of 500 kB would be 200 MB"
            time.sleep(0.5)
        assert all(is_closed(connection, 5) for connection in slow)
        assert time.monotonic() - begun < 15
        while member.open_files > files + 2:  # the lazy ones can't see it: they would have to read
            assert time.monotonic() - begun < 25
            time.sleep(0.1)
    assert member.ask("DELETE", "/v2/keys/big?recursive=true")[0] == 200
    assert " error " not in member.log, "a client that is slow is no error of ours"


def until_watchers(member: Member, count: int) -> None:
    deadline = time.monotonic() + 5
    while member.json("GET", "/v2/stats/store")["watchers"] != count:
        assert time.monotonic() < deadline


TOO_MUCH = {
    "a header line": GET + b"X: " + b"a" * 9000 + b"\r\n\r\n",
    "a header line without end": GET + b"X: " + b"a" * 200_000,
    "200 headers": GET + b"".join(b"X%d: a\r\n" % number for number in range(200)) + b"\r\n",
    "a header name": GET + b"x" * 9000 + b": a\r\n\r\n",
    "a URL": b"GET /v2/keys/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL without end": b"GET /v2/keys/" + b"a" * 200_000,
    "a method": b"A" * 9000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunk extensions": PUT + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100_000,
    "trailers": PUT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: aaaaaaaaaaaaaaaaaaaaaa\r\n" * 10_000,
}


@pytest.mark.parametrize("data", TOO_MUCH.values(), ids=TOO_MUCH)
def test_s03_too_much_of_a_head_is_refused(member: Member, data: bytes) -> None:
    with member.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        answer = received(connection, 3)
        assert is_closed(connection)
    if answer:
        assert status_of(answer) in (400, 413, 414, 431)
        assert len(answer) < 500
    assert answers_in(answer) <= 1


def test_s03_heads_within_the_limits_are_answered(member: Member) -> None:
    headers = "".join(f"X{number}: {'a' * 60}\r\n" for number in range(80))
    assert member.ask("GET", f"/v2/keys/{'a' * 7000}", headers=headers)[0] == 404
    assert member.ask("GET", "/version", headers=f"X: {'a' * 8000}\r\n")[0] == 200


@pytest.mark.parametrize("by", ["length", "chunks", "tiny chunks"])
def test_s04_a_body_over_the_limit_is_refused_before_it_is_held(member: Member, by: str) -> None:
    before = member.memory_bytes
    limit = 1_572_864
    with member.connect() as connection:
        if by == "length":
            connection.sendall(PUT + b"Content-Length: %d\r\n\r\nvalue=" % (limit + 1))
        else:
            piece = b"1\r\na\r\n" * 10_000 if by == "tiny chunks" else b"10000\r\n" + b"a" * 65536 + b"\r\n"
            total = limit + 70_000
            try:
                connection.sendall(PUT + b"Transfer-Encoding: chunked\r\n\r\n6\r\nvalue=\r\n")
                for _ in range(total // (10_000 if by == "tiny chunks" else 65536) + 1):
                    connection.sendall(piece)
            except ConnectionError:
                pass
        answer = received(connection, 5)
        assert status_of(answer) in (400, 413)
        assert is_closed(connection)
    assert member.memory_bytes - before < 64 << 20
    assert member.ask("GET", "/v2/keys/smuggle")[0] == 404


CL = b"Content-Length: 7\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED = b"7\r\nvalue=x\r\n0\r\n\r\n"
DESYNC = {
    "length and chunks": PUT + CL + TE + b"\r\n" + CHUNKED,
    "chunks and length": PUT + TE + CL + b"\r\n" + CHUNKED,
    "two lengths": PUT + CL + b"Content-Length: 8\r\n\r\nvalue=x",
    "two equal lengths": PUT + CL + CL + b"\r\nvalue=x",
    "a list of lengths": PUT + b"Content-Length: 7, 7\r\n\r\nvalue=x",
    "a signed length": PUT + b"Content-Length: +7\r\n\r\nvalue=x",
    "a negative length": PUT + b"Content-Length: -7\r\n\r\nvalue=x",
    "a hex length": PUT + b"Content-Length: 0x7\r\n\r\nvalue=x",
    "a length with a fraction": PUT + b"Content-Length: 7.0\r\n\r\nvalue=x",
    "a length of nothing": PUT + b"Content-Length: \r\n\r\nvalue=x",
    "xchunked": PUT + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "identity": PUT + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKED,
    "chunked twice": PUT + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKED,
    "chunked in two headers": PUT + TE + TE + b"\r\n" + CHUNKED,
    "gzip after chunked": PUT + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED,
    "chunks in HTTP/1.0": PUT.replace(b"1.1", b"1.0") + TE + b"\r\n" + CHUNKED,
    "a quoted encoding": PUT + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKED,
    "a tab in the name": PUT + b"Transfer-Encoding\t: chunked\r\n\r\n" + CHUNKED,
    "a vertical tab": PUT + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED,
}


@pytest.mark.parametrize("data", DESYNC.values(), ids=DESYNC)
def test_s05_a_body_whose_length_is_in_doubt_never_hides_a_request(member: Member, data: bytes) -> None:
    answer = member.raw(data + SECOND)
    assert status_of(answer) in (400, 501)
    assert answers_in(answer) == 1
    assert b"Connection: close" in answer
    assert member.ask("GET", "/v2/keys/smuggled")[0] == 404
    assert member.ask("GET", "/v2/keys/smuggle")[0] == 404


MALFORMED = {
    "bare line feeds": b"GET /v2/keys/x HTTP/1.1\nHost: a\n\n",
    "a bare line feed": GET.replace(b"a\r\n", b"a\n") + b"\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a folded first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "a space before the colon": GET + b"X : a\r\n\r\n",
    "a space in a name": GET + b"X Y: a\r\n\r\n",
    "an empty name": GET + b": a\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "CR in a value": GET + b"X: a\rb\r\n\r\n",
    "a chunk of 0x7": PUT + TE + b"\r\n0x7\r\nvalue=x\r\n0\r\n\r\n",
    "a chunk after a line feed": PUT + TE + b"\r\n7\nvalue=x\r\n0\r\n\r\n",
    "a chunk that ends wrong": PUT + TE + b"\r\n7\r\nvalue=xXX0\r\n\r\n",
    "a signed chunk": PUT + TE + b"\r\n+7\r\nvalue=x\r\n0\r\n\r\n",
    "a huge chunk": PUT + TE + b"\r\nfffffffffffffffff\r\nvalue=x\r\n0\r\n\r\n",
    "a NUL in the line": b"GET /v2/keys/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /v2/keys/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab": b"GET\t/v2/keys/x HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_s06_what_readers_may_take_differently_is_refused(member: Member, data: bytes) -> None:
    answer = member.raw(data + SECOND)
    assert status_of(answer) == 400
    assert answers_in(answer) == 1
    assert member.ask("GET", "/v2/keys/smuggled")[0] == 404


@pytest.mark.parametrize("host", [b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhost: b\r\n", b"Host: a b\r\n"])
def test_s07_no_host_and_two_hosts(member: Member, host: bytes) -> None:
    answer = member.raw(b"GET /v2/keys/x HTTP/1.1\r\n" + host + b"\r\n" + SECOND)
    assert status_of(answer) == 400
    assert answers_in(answer) == 1


ELSEWHERE = {
    "HTTP/0.9": (b"GET /v2/keys/x\r\n\r\n", {400, 505}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", {400, 505}),
    "an unknown method": (b"BREW /v2/keys/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", {405}),
    "an expectation": (GET + b"Expect: 200-ok\r\nConnection: close\r\n\r\n", {417}),
    "an upgrade": (GET + b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n", {404}),
    "h2c": (GET + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", {404}),
    "CONNECT": (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", {400, 404, 405}),
    "TRACE": (b"TRACE /v2/keys/x HTTP/1.1\r\nHost: a\r\nX-Secret: s\r\nConnection: close\r\n\r\n", {405}),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), {400}),
}


@pytest.mark.parametrize(("data", "statuses"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_s08_other_protocols_get_a_clean_answer(member: Member, data: bytes, statuses: set[int]) -> None:
    answer = member.raw(data)
    assert status_of(answer) in statuses
    assert b"X-Secret" not in answer
    assert b"101" not in answer.split(b"\r\n")[0]


def test_s09_ten_thousand_requests_without_reading_hold_little(member: Member) -> None:
    before = member.memory_bytes
    with member.connect(receive_buffer=4096) as connection:
        connection.settimeout(2)
        sent = 0
        try:
            for _ in range(100):
                connection.sendall(request("GET", f"/metrics?x={'x' * 2000}") * 100)
                sent += 100
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 10_000, "the server reads on though nobody takes its answers"
        assert seconds_of_a_get(member) < 1
        assert member.memory_bytes - before < 32 << 20
