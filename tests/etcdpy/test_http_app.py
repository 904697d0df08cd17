"""The API over real loopback sockets, with a cluster of one that applies at once. The answers are etcd 3.4.23's."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from http_fakes import FORM, Api, parse_answer, request_bytes, run

from cluster.errors import RequestTimeout, RequestTimeoutLeaderFailure
from cluster.membership import Member
from etcdpy.http import connection
from etcdpy.http.app import HttpConfig
from etcdpy.store.event import Event

CORS = [
    ("Access-Control-Allow-Headers", "accept, content-type, authorization"),
    ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
    ("Access-Control-Allow-Origin", "*"),
]
CLUSTER = ("X-Etcd-Cluster-Id", "48276a8f75b6a87")
JSON = ("Content-Type", "application/json")
TEXT = ("Content-Type", "text/plain; charset=utf-8")
NOSNIFF = ("X-Content-Type-Options", "nosniff")
MEMBER = (
    '{"id":"2e1259d415f2a040","name":"default","peerURLs":["http://127.0.0.1:2380"],'
    '"clientURLs":["http://127.0.0.1:2379"]}'
)


def own_headers(answer) -> list[tuple[str, str]]:
    """What is neither CORS nor the connection's."""
    names = ("Date", "Content-Length", "Connection", *(name for name, _ in CORS))
    return [header for header in answer.headers if header[0] not in names]


# Keys


def test_a_write_and_a_read():
    async def scenario(api: Api) -> None:
        answer = await api.ask("PUT", "/v2/keys/a", "value=1")
        assert answer.status == 201
        assert answer.headers[:8] == [
            *CORS,
            JSON,
            CLUSTER,
            ("X-Etcd-Index", "1"),
            ("X-Raft-Index", "5"),
            ("X-Raft-Term", "2"),
        ]
        assert [name for name, _ in answer.headers[8:]] == ["Date", "Content-Length", "Connection"]
        node = b'{"key":"/a","value":"1","modifiedIndex":1,"createdIndex":1}'
        assert answer.body == b'{"action":"set","node":' + node + b"}\n"
        answer = await api.ask("GET", "/v2/keys/a")
        assert (answer.status, answer.body) == (200, b'{"action":"get","node":' + node + b"}\n")
        assert answer.header("Content-Length") == str(len(answer.body))

    run(scenario)


def test_a_refusal():
    async def scenario(api: Api) -> None:
        await api.ask("PUT", "/v2/keys/a", "value=1")
        answer = await api.ask("GET", "/v2/keys/b")
        assert answer.status == 404
        assert own_headers(answer) == [JSON, CLUSTER, ("X-Etcd-Index", "1")]
        assert answer.body == b'{"errorCode":100,"message":"Key not found","cause":"/b","index":1}\n'
        answer = await api.ask("GET", "/v2/keys/b?recursive")
        assert (answer.status, answer.header("X-Etcd-Index")) == (400, "0")

    run(scenario)


def test_head_is_get_without_a_body():
    async def scenario(api: Api) -> None:
        await api.ask("PUT", "/v2/keys/a", "value=1")
        get, head = await api.ask("GET", "/v2/keys/a"), await api.ask("HEAD", "/v2/keys/a")
        assert head.body == b""
        assert [item for item in head.headers if item[0] != "Date"] == [
            item for item in get.headers if item[0] != "Date"
        ]
        assert (await api.ask("HEAD", "/v2/keys/nope")).status == 404
        assert (await api.ask("HEAD", "/v2/keys/a?wait=true")).status == 400

    run(scenario)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/v2/keys/a%2Fb", "/a/b"),
        ("/v2/keys/a%252Fb", "/a%2Fb"),
        ("/v2/keys/a#b", "/a#b"),
        ("/v2/keys/a+b%20c", "/a+b c"),
        ("/v2/keys/é", "/é"),
        ("/v2/keys/\udcff", "/\ufffd"),
        ("/v2/keys/%ff", "/\ufffd"),
        ("/v2/keys/%00", "/\0"),
        ("/v2/keys/a/", "/a"),
        ("/v2/keys/0/members/1/attributes", "/0/members/1/attributes"),
        ('/v2/keys/"<>{}|\\^`', '/"<>{}|\\^`'),
        ("http://elsewhere/v2/keys/x", "/x"),
    ],
)
def test_targets_and_their_keys(target, key):
    async def scenario(api: Api) -> None:
        answer = await api.ask("PUT", target, "value=1")
        assert answer.status == 201
        assert json.loads(answer.body)["node"]["key"] == key
        assert json.loads((await api.ask("GET", target)).body)["node"]["key"] == key

    run(scenario)


def test_bodies():
    async def scenario(api: Api) -> None:
        chunked = "3\r\nval\r\n4;ext=1\r\nue=1\r\n0\r\n\r\n"
        data = request_bytes("PUT", "/v2/keys/a", headers=f"Transfer-Encoding: chunked\r\nContent-Type: {FORM}\r\n")
        assert json.loads(parse_answer(await api.raw(data + chunked.encode())).body)["node"]["value"] == "1"
        answer = await api.ask("PUT", "/v2/keys/a", "value=2", content_type=f"{FORM}; charset=utf-8")
        assert json.loads(answer.body)["node"]["value"] == "2"
        for content_type in ("application/json", None):
            answer = await api.ask("PUT", "/v2/keys/a", "value=3", content_type=content_type)
            assert json.loads(answer.body)["node"]["value"] == ""

    run(scenario)


def test_expect_continue_is_answered_when_the_body_is_wanted():
    async def scenario(api: Api) -> None:
        head = request_bytes(
            "PUT", "/v2/keys/a", headers=f"Content-Type: {FORM}\r\nExpect: 100-continue\r\nContent-Length: 7\r\n"
        )
        async with api.connected() as (reader, writer):
            writer.write(head)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"value=1")
            assert (await reader.readline()) == b"HTTP/1.1 201 Created\r\n"

    run(scenario)


def test_expect_continue_without_need_of_the_body_closes():
    async def scenario(api: Api) -> None:
        data = b"GET /v2/keys HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"
        answer = parse_answer(await api.raw(data))
        assert (answer.status, answer.header("Connection")) == (200, "close")

    run(scenario)


def test_other_expectations_fail():
    async def scenario(api: Api) -> None:
        answer = parse_answer(await api.raw(b"GET /version HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n\r\n"))
        assert answer.status == 417
        assert [name for name, _ in answer.headers] == ["Date", "Content-Length", "Connection"]

    run(scenario)


def test_request_size_limits():
    config = HttpConfig(max_request_bytes=100)

    async def scenario(api: Api) -> None:
        assert (await api.ask("PUT", "/v2/keys/a", "value=" + "x" * 94)).status == 201
        answer = await api.ask("PUT", "/v2/keys/a", "value=" + "x" * 95)
        assert answer.status == 413
        assert json.loads(answer.body) == {
            "errorCode": 210,
            "message": "Invalid POST form",
            "cause": "request body is larger than 100 bytes (--max-request-bytes)",
            "index": 0,
        }
        head = f"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n"
        answer = parse_answer(await api.raw(f"{head}Content-Length: 10485761\r\n\r\n".encode()))
        assert (answer.status, json.loads(answer.body)["cause"]) == (400, "http: POST too large")
        pieces = "a\r\n0123456789\r\n" * 11
        answer = parse_answer(await api.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n{pieces}".encode()))
        assert answer.status == 413

    run(scenario, config)


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (RequestTimeout(), "etcdserver: request timed out"),
        (
            RequestTimeoutLeaderFailure(),
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
    ],
)
def test_cluster_failures(failure, cause):
    async def scenario(api: Api) -> None:
        api.node.failure = failure
        for method, target in (("PUT", "/v2/keys/a"), ("GET", "/v2/keys/a?quorum=true"), ("DELETE", "/v2/keys/a")):
            answer = await api.ask(method, target)
            assert answer.status == 500
            assert json.loads(answer.body) == {
                "errorCode": 300,
                "message": "Raft Internal Error",
                "cause": cause,
                "index": 0,
            }
            assert answer.header("X-Etcd-Index") == "0"
        assert (await api.ask("GET", "/v2/keys/")).status == 200

    run(scenario)


# Dispatch


@pytest.mark.parametrize(
    ("method", "target", "status", "location"),
    [
        ("GET", "//", 301, "/"),
        ("GET", "/v2/keys/a//b", 301, "/v2/keys/a/b"),
        ("PUT", "/v2/keys/a//b", 301, "/v2/keys/a/b"),
        ("DELETE", "/v2/keys/a/../b", 301, "/v2/keys/b"),
        ("GET", "/v2/keys/..%2fx", 301, "/v2/x"),
        ("GET", "/v2/keys/%2e%2e/%2E%2E/x?y", 301, "/x?y"),
        ("FOO", "/v2/keys//a", 301, "/v2/keys/a"),
        ("GET", "http://foo", 301, "/"),
        ("CONNECT", "/v2/keys//a", 405, None),
        ("CONNECT", "foo:80", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/v2", 404, None),
        ("GET", "/v2/keysfoo", 404, None),
        ("GET", "/v2/machines/", 404, None),
        ("GET", "/v2/stats", 404, None),
        ("GET", "/version/", 404, None),
        ("GET", "*", 400, None),
    ],
)
def test_paths(method, target, status, location):
    async def scenario(api: Api) -> None:
        answer = await api.ask(method, target)
        assert (answer.status, answer.header("Location")) == (status, location)
        assert answer.headers[:3] == CORS
        if status == 404:
            assert own_headers(answer) == [TEXT, NOSNIFF]
            assert answer.body == b"404 page not found\n"

    run(scenario)


KEYS_ALLOW = "HEAD,GET,PUT,POST,DELETE"


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("PATCH", "/v2/keys", KEYS_ALLOW),
        ("FOO", "/v2/keys/a", KEYS_ALLOW),
        ("get", "/v2/keys/a", KEYS_ALLOW),
        ("HEAD", "/v2/members", "GET,POST,DELETE,PUT"),
        ("PATCH", "/v2/members/", "GET,POST,DELETE,PUT"),
        ("POST", "/v2/machines", "GET,HEAD"),
        ("HEAD", "/v2/stats/self", "GET"),
        ("POST", "/v2/stats/store", "GET"),
        ("HEAD", "/version", "GET"),
        ("HEAD", "/health", "GET"),
        ("POST", "/debug/vars", "GET"),
        ("GET", "/config/local/log", "PUT"),
    ],
)
def test_methods_not_allowed(method, target, allow):
    async def scenario(api: Api) -> None:
        answer = await api.ask(method, target)
        assert answer.status == 405
        assert own_headers(answer) == [("Allow", allow), TEXT, NOSNIFF]
        assert answer.body == (b"" if method == "HEAD" else b"Method Not Allowed\n")

    run(scenario)


@pytest.mark.parametrize("target", ["/v2/keys", "/nope", "//a"])
def test_options_are_always_fine(target):
    async def scenario(api: Api) -> None:
        answer = await api.ask("OPTIONS", target)
        assert (answer.status, answer.body, own_headers(answer)) == (200, b"", [])
        assert answer.headers[:3] == CORS

    run(scenario)


def test_options_star_is_the_servers_own():
    async def scenario(api: Api) -> None:
        answer = await api.ask("OPTIONS", "*")
        assert (answer.status, [name for name, _ in answer.headers]) == (200, ["Date", "Content-Length", "Connection"])

    run(scenario)


def test_a_list_of_origins():
    async def scenario(api: Api) -> None:
        answer = await api.ask("GET", "/version", headers="Origin: http://a.example\r\n")
        assert answer.header("Access-Control-Allow-Origin") == "http://a.example"
        for headers in ("", "Origin: http://b.example\r\n"):
            assert (await api.ask("GET", "/version", headers=headers)).header("Access-Control-Allow-Origin") is None

    run(scenario, HttpConfig(cors_origins=frozenset(["http://a.example"])))


# The connection


def test_keep_alive_and_pipelining():
    async def scenario(api: Api) -> None:
        first = b"PUT /v2/keys/a?value=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        answers = await api.raw(first * 50 + request_bytes("GET", "/version"))
        assert answers.count(b"HTTP/1.1 20") == 51
        assert api.store.index == 50

    run(scenario)


async def exchange(api: Api, *requests: bytes) -> list[bytes]:
    """One connection; each request is sent when the last is answered. Gives the status lines."""
    statuses = []
    async with api.connected() as (reader, writer), asyncio.timeout(5):
        for data in requests:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0]))
            statuses.append(head.partition(b"\r")[0][9:12])
    return statuses


PLAIN = b"GET /v2/keys HTTP/1.1\r\nHost: x\r\n\r\n"
WITH_BODY = f"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 7\r\n\r\nvalue=1".encode()
CHUNKED = b"POST /v2/keys/q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
ODD = b"GET /v2/keys/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"


def test_odd_request_lines_between_others():
    async def scenario(api: Api) -> None:
        requests = [ODD, PLAIN, ODD, WITH_BODY, ODD, CHUNKED, ODD.replace(b"GET", b"FOO"), PLAIN]
        statuses = [b"404", b"200", b"404", b"201", b"404", b"201", b"405", b"200"]
        assert await exchange(api, *requests) == statuses

    run(scenario)


def test_what_only_looks_like_a_request_line_stays_what_it_is():
    """A body that ends late, and a header that begins where a request could."""

    async def scenario(api: Api) -> None:
        line = b"FOO /v2/keys/evil HTTP/1.1\r\n"
        async with api.connected() as (reader, writer):
            writer.write(b"DELETE /v2/keys/nope HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(line))
            assert (await reader.readline()).startswith(b"HTTP/1.1 404")
            await reader.readuntil(b'"index":0}\n')
            writer.write(line)
            writer.write(PLAIN + b"GET /version HTTP/1.1\r\nHost: x\r\nA: ")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"{" + b'"dir":true}}\n')
            writer.write(line + b"Connection: close\r\n\r\n")
            assert (await reader.read()).endswith(b'{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}')

    run(scenario)


def test_an_unread_body_does_not_become_a_request():
    async def scenario(api: Api) -> None:
        hidden = b"PUT /v2/keys/evil HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        data = b"DELETE /v2/keys/nope HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden)
        answers = await api.raw(data + hidden + request_bytes("GET", "/version"))
        assert answers.count(b"HTTP/1.1 ") == 2
        assert api.store.index == 0

    run(scenario)


@pytest.mark.parametrize(
    ("head", "first", "connection_header"),
    [
        (b"GET /version HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK", None),
        (b"GET /version HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK", "close"),
    ],
)
def test_connection_headers(head, first, connection_header):
    async def scenario(api: Api) -> None:
        data = await api.raw(head)
        assert data.startswith(first + b"\r\n")
        assert parse_answer(data).header("Connection") == connection_header

    run(scenario)


async def until_held(api: Api) -> None:
    async with asyncio.timeout(5):
        while not api.node.held:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def test_a_client_that_sends_no_more_still_gets_its_answer():
    async def scenario(api: Api) -> None:
        api.node.held = []
        async with api.connected() as (reader, writer), asyncio.timeout(5):
            writer.write(WITH_BODY.replace(b"HTTP/1.1", b"HTTP/1.1\r\nX-Odd: 1"))
            writer.write_eof()
            await until_held(api)
            await asyncio.sleep(0)
            api.node.held.pop()()
            assert (await reader.read()).startswith(b"HTTP/1.1 201 Created")
        async with api.connected() as (reader, writer), asyncio.timeout(5):
            writer.write_eof()
            assert await reader.read() == b""

    run(scenario)


@pytest.mark.parametrize("odd", [b"", b"X-Odd: 1\r\n"])
def test_a_client_that_sends_no_more_while_its_write_is_under_way_hears_what_became_of_it(odd: bytes):
    """On either lane; then the connection ends. aiohttp drops what is pipelined behind the answer that is due."""
    reads_answered: list[int] = []

    async def scenario(api: Api) -> None:
        api.node.held = []
        async with api.connected() as (reader, writer), asyncio.timeout(5):
            writer.write(WITH_BODY)
            await until_held(api)
            writer.write(b"GET /v2/keys/a HTTP/1.1\r\nHost: x\r\n" + odd + b"\r\n")
            writer.write_eof()
            await asyncio.sleep(0.05)
            api.node.held.pop()()
            answers = await reader.read()
            assert answers.startswith(b"HTTP/1.1 201 Created")
            reads_answered.append(answers.count(b"HTTP/1.1 200 OK"))

    run(scenario)
    assert reads_answered == [1, 0]


def test_http_1_0_can_keep_alive():
    async def scenario(api: Api) -> None:
        kept = b"GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        data = await api.raw(kept + b"GET /version HTTP/1.0\r\n\r\n")
        assert data.count(b"HTTP/1.0 200 OK") == 2
        assert data.count(b"Connection: keep-alive") == 1

    run(scenario)


LONG = b"x" * 9000


@pytest.mark.parametrize(
    "data",
    [
        b"GET /version HTTP/1.1\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x y\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\n Folded: y\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\nSpace : y\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
        b"GET /version HTTP/1.1\nHost: x\n\n",
        b"GET /version\r\n\r\n",
        b"GET /version HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/keys/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET v2/keys HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + LONG + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        f"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
        "zz\r\nvalue=1\r\n0\r\n\r\n".encode(),
    ],
)
def test_what_is_not_http_gets_a_short_refusal_and_the_end(data):
    async def scenario(api: Api) -> None:
        answer = await api.raw(data + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 505 "))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer
        assert len(answer) < 250
        assert api.store.index == 0

    run(scenario)


def broken(*_: object) -> Event:
    raise ZeroDivisionError("secret")


@pytest.mark.plain
@pytest.mark.parametrize("target", ["/v2/keys", "/v2/keys?quorum=true"])
def test_mistakes_of_our_own_in_a_read_are_not_shown(target, caplog):
    async def scenario(api: Api) -> None:
        api.store.get = broken  # type: ignore[method-assign]
        answer = await api.ask("GET", target)
        assert answer.status == 500
        assert json.loads(answer.body)["cause"] == "etcdserver: internal error"

    run(scenario)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.plain
def test_what_cannot_be_rendered_does_not_reach_the_node(caplog, monkeypatch):
    monkeypatch.setattr("etcdpy.http.keys.event_response", broken)

    async def scenario(api: Api) -> None:
        answer = await api.ask("PUT", "/v2/keys/a", "value=1")
        assert json.loads(answer.body)["errorCode"] == 300

    run(scenario)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.plain
def test_mistakes_of_our_own_elsewhere_are_not_shown(caplog):
    async def scenario(api: Api) -> None:
        api.store.statistics = broken  # type: ignore[assignment, method-assign]
        answer = await api.raw(request_bytes("GET", "/v2/stats/store"))
        assert answer.endswith(b"\r\n\r\n500 Internal Server Error")
        assert b"secret" not in answer
        assert b"Traceback" not in answer

    run(scenario)
    assert any(record.exc_info for record in caplog.records)


def test_slow_heads_and_bodies_are_cut_off(monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(connection, "BODY_GRACE_SECONDS", 0.1)

    async def scenario(api: Api) -> None:
        assert await api.raw(b"GET /ver") == b""
        assert await api.raw(b"GET /version HTTP/1.1\r\nHost: ") == b""
        head = request_bytes("PUT", "/v2/keys/a", headers=f"Content-Type: {FORM}\r\nContent-Length: 99\r\n")
        assert (await api.raw(head + b"value=")).startswith(b"HTTP/1.1 408 ")

    run(scenario)


# Members, stats and the rest


def test_members():
    async def scenario(api: Api) -> None:
        answer = await api.ask("GET", "/v2/members")
        assert answer.body.decode() == f'{{"members":[{MEMBER}]}}\n'
        assert own_headers(answer) == [JSON, CLUSTER]
        assert (await api.ask("GET", "/v2/members/")).body == answer.body
        assert (await api.ask("GET", "/v2/members/leader")).body.decode() == f"{MEMBER}\n"
        for target in ("/v2/members/leader/", "/v2/members/xx", "/v2/members/xx/yy"):
            answer = await api.ask("GET", target)
            assert (answer.status, answer.body) == (404, b'{"message":"Not found"}')
        api.node.status = api.node.status._replace(lead=0)
        answer = await api.ask("GET", "/v2/members/leader")
        assert (answer.status, answer.body) == (503, b'{"message":"During election"}')

    run(scenario)


OWN = "/v2/members/2e1259d415f2a040"
OTHER = "/v2/members/2E1259D415f2a041"
NO_OTHER = b'{"message":"No such member: 2e1259d415f2a041"}'
NEW = '{"peerURLs":["http://127.0.0.1:1"]}'
TAKEN = '{"peerURLs":["http://127.0.0.1:2380"]}'
MEMBER_REFUSALS = [
    ("POST", "/v2/members", NEW, "Application/JSON", 415, "Bad Content-Type Application/JSON, accept application/json"),
    ("POST", "/v2/members/xx", NEW, None, 415, "Bad Content-Type , accept application/json"),
    ("PUT", OWN, NEW, "<x>;y", 415, "Bad Content-Type <x>, accept application/json"),
    ("POST", "/v2/members", "", "application/json", 400, "unexpected end of JSON input"),
    ("POST", "/v2/members", "{}", "application/json", 400, "no valid URLs given"),
    ("POST", "/v2/members", TAKEN, "APPLICATION/json ; x", 409, "membership: peerURL exists"),
    ("PUT", OTHER, "{}", "application/json", 400, "no valid URLs given"),
    ("PUT", OTHER, TAKEN, "application/json", 404, "No such member: 2e1259d415f2a041"),
    ("PUT", "/v2/members/zz", "", None, 404, "No such member: zz"),
    ("DELETE", "/v2/members/zz/", None, None, 404, "No such member: zz/"),
    ("DELETE", "/v2/members/a/b", None, None, 404, "No such member: a/b"),
    ("DELETE", "/v2/members/0001", None, None, 404, "No such member: 1"),
    ("DELETE", "/v2/members/11111111111111111", None, None, 404, "No such member: 11111111111111111"),
    ("DELETE", "/v2/members/+1", None, None, 404, "No such member: +1"),
    ("DELETE", "/v2/members/%ff<", None, None, 404, "No such member: \ufffd<"),
    ("DELETE", OWN, None, None, 500, "Internal Server Error"),
]


@pytest.mark.parametrize(("method", "target", "body", "content_type", "status", "message"), MEMBER_REFUSALS)
def test_refused_member_changes(method, target, body, content_type, status, message):
    async def scenario(api: Api) -> None:
        answer = await api.ask(method, target, body, content_type=content_type)
        assert (answer.status, json.loads(answer.body)) == (status, {"message": message})
        assert own_headers(answer) == [JSON, CLUSTER]
        assert not answer.body.endswith(b"\n")

    run(scenario)


@pytest.mark.parametrize(("method", "target"), [("PUT", "/v2/members"), ("DELETE", "/v2/members/")])
def test_member_changes_without_an_id(method, target):
    async def scenario(api: Api) -> None:
        answer = await api.ask(method, target)
        assert (answer.status, answer.body) == (405, b"Method Not Allowed\n")
        assert own_headers(answer) == [TEXT, NOSNIFF, CLUSTER]

    run(scenario)


def test_member_changes():
    async def scenario(api: Api) -> None:
        answer = await api.ask("POST", "/v2/members", NEW, content_type="application/json")
        added = json.loads(answer.body)
        assert answer.status == 201
        assert answer.body.endswith(b"}\n")
        assert (added["name"], added["peerURLs"], added["clientURLs"]) == ("", ["http://127.0.0.1:1"], [])
        listed = json.loads((await api.ask("GET", "/v2/members")).body)["members"]
        assert [member["id"] for member in listed] == [added["id"], "2e1259d415f2a040"]
        own = f"/v2/members/{added['id']}"
        moved = '{"peerURLs":["http://127.0.0.1:3","http://127.0.0.1:2"]}'
        answer = await api.ask("PUT", own, moved, content_type="application/json")
        assert (answer.status, answer.body, answer.header("Content-Length")) == (204, b"", None)
        assert api.node.membership.get(int(added["id"], 16)).peer_urls == ("http://127.0.0.1:2", "http://127.0.0.1:3")
        assert (await api.ask("DELETE", own)).status == 204
        answer = await api.ask("DELETE", own)
        assert (answer.status, json.loads(answer.body)["message"]) == (
            410,
            f"Member permanently removed: {added['id']}",
        )

    run(scenario)


def test_member_changes_that_the_node_cannot_make_or_loses():
    async def scenario(api: Api) -> None:
        for failure, status in ((NotImplementedError(), 501), (RequestTimeout(), 500)):
            api.node.failure = failure
            assert (await api.ask("POST", "/v2/members", NEW, content_type="application/json")).status == status

    run(scenario)


def test_peer_port():
    async def scenario(api: Api) -> None:
        answer = await api.ask_peer("GET", "/members")
        assert answer.body == (
            b'[{"id":3319814642761637952,"peerURLs":["http://127.0.0.1:2380"],"name":"default",'
            b'"clientURLs":["http://127.0.0.1:2379"]}]\n'
        )
        assert [item for item in answer.headers if item[0] not in ("Date", "Content-Length", "Connection")] == [
            JSON,
            CLUSTER,
        ]
        assert (await api.ask_peer("GET", "/version")).status == 200
        assert (await api.ask_peer("OPTIONS", "/members")).header("Allow") == "GET"
        assert (await api.ask_peer("GET", "/members/")).status == 404
        assert (await api.ask_peer("GET", "/v2/keys")).status == 404
        assert (await api.ask_peer("GET", "//members")).header("Location") == "/members"

    run(scenario)


def test_machines_and_version():
    async def scenario(api: Api) -> None:
        other = Member(1, "", ("http://0:1",), ("http://0:3", "http://0:2"))
        api.node.membership._members[1] = other
        answer = await api.ask("GET", "/v2/machines")
        assert answer.body == b"http://0:2, http://0:3, http://127.0.0.1:2379"
        assert own_headers(answer) == [TEXT]
        answer = await api.ask("GET", "/version")
        assert answer.body == b'{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}'
        assert own_headers(answer) == [JSON]

    run(scenario)


def test_health():
    async def scenario(api: Api) -> None:
        answer = await api.ask("GET", "/health")
        assert (answer.status, answer.body, own_headers(answer)) == (200, b'{"health":"true"}', [TEXT])
        api.node.failure = RequestTimeout()
        answer = await api.ask("GET", "/health")
        assert (answer.status, answer.body, own_headers(answer)) == (503, b'{"health":"false"}\n', [TEXT, NOSNIFF])
        api.node.failure = None
        api.node.status = api.node.status._replace(lead=0)
        assert (await api.ask("GET", "/health")).status == 503

    run(scenario)


def test_health_does_not_wait_longer_than_its_limit(monkeypatch):
    monkeypatch.setattr("etcdpy.http.health.HEALTH_SECONDS", 0.05)

    async def scenario(api: Api) -> None:
        api.node.held = []
        assert (await api.ask("GET", "/health")).status == 503

    run(scenario)


def test_stats():
    async def scenario(api: Api) -> None:
        await api.ask("PUT", "/v2/keys/a", "value=1")
        shown = json.loads((await api.ask("GET", "/v2/stats/self")).body)
        assert list(shown) == [
            "name",
            "id",
            "state",
            "startTime",
            "leaderInfo",
            "recvAppendRequestCnt",
            "sendAppendRequestCnt",
        ]
        assert (shown["id"], shown["state"]) == ("2e1259d415f2a040", "StateLeader")
        assert list(shown["leaderInfo"]) == ["leader", "uptime", "startTime"]
        assert (await api.ask("GET", "/v2/stats/leader")).body == b'{"leader":"2e1259d415f2a040","followers":{}}'
        shown = json.loads((await api.ask("GET", "/v2/stats/store")).body)
        assert (shown["setsSuccess"], shown["watchers"]) == (1, 0)
        api.node.status = api.node.status._replace(role=0)
        answer = await api.ask("GET", "/v2/stats/leader")
        assert (answer.status, answer.body) == (403, b'{"message":"not current leader"}')
        assert own_headers(answer) == [JSON]

    run(scenario)


def test_metrics():
    async def scenario(api: Api) -> None:
        await api.ask("PUT", "/v2/keys/a", "value=1")
        await api.ask("GET", "/v2/keys/nope?quorum=true")
        answer = await api.ask("GET", "/metrics")
        assert answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        lines = answer.body.decode().splitlines()
        for line in (
            'etcd_http_received_total{method="PUT"} 1.0',
            'etcd_http_received_total{method="QGET"} 1.0',
            'etcd_http_failed_total{code="404",method="QGET"} 1.0',
            'etcd_http_successful_duration_seconds_count{method="PUT"} 1.0',
            'etcd_debugging_store_writes_total{action="set"} 1.0',
            "etcd_debugging_store_watchers 0.0",
            "etcd_server_has_leader 1.0",
            "etcd_server_is_leader 1.0",
            "etcd_server_proposals_committed_total 5.0",
            'etcd_server_id{server_id="2e1259d415f2a040"} 1.0',
            'etcd_server_version{server_version="3.4.23"} 1.0',
        ):
            assert line in lines
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        assert (await api.ask("POST", "/metrics")).status == 200

    run(scenario)


def test_debug_vars():
    async def scenario(api: Api) -> None:
        answer = await api.ask("GET", "/debug/vars")
        assert answer.header("Content-Type") == "application/json; charset=utf-8"
        shown = json.loads(answer.body)
        assert list(shown) == ["cmdline", "file_descriptor_limit", "raft.status"]
        assert shown["raft.status"]["term"] == 2

    run(scenario)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ('{"Level":"DEBUG"}', 204, None),
        ('{"level":"t"}', 204, None),
        ('{"Level":"info"} x', 204, None),
        ("", 400, "Invalid json body"),
        ("[]", 400, "Invalid json body"),
        ('{"Level":1}', 400, "Invalid json body"),
        ('{"Level":"info"', 400, "Invalid json body"),
        ("{}", 400, "Invalid log level "),
        ('{"Level":"nope"}', 400, "Invalid log level nope"),
    ],
)
def test_log_level(body, status, message):
    level = logging.getLogger().level

    async def scenario(api: Api) -> None:
        answer = await api.ask("PUT", "/config/local/log", body, content_type=None)
        assert answer.status == status
        assert message is None or json.loads(answer.body) == {"message": message}

    try:
        run(scenario)
        if status == 204:
            assert logging.getLogger().level in (logging.DEBUG, logging.INFO)
        else:
            assert logging.getLogger().level == level
    finally:
        logging.getLogger().setLevel(level)
