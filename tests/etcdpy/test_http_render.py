"""Bodies and heads, byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RequestTimeout, Stopped
from etcdpy.errors import EtcdError
from etcdpy.http import render, wire
from etcdpy.http.render import Response
from etcdpy.http.wire import Framing
from etcdpy.store.event import Event, NodeView

DATE = "Tue, 24 Nov 2026 10:30:55 GMT"


def file(key: str, value: str | None = "v", index: int = 5, **more: object) -> NodeView:
    return NodeView(key, value, False, index, index, **more)  # type: ignore[arg-type]


EVENTS = [
    (
        Event("get", NodeView("", None, True, 0, 0)),
        '{"action":"get","node":{"dir":true}}',
    ),
    (
        Event("get", NodeView("", None, True, 0, 0, nodes=(file("/a"), file("/b", "")))),
        '{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","value":"v","modifiedIndex":5,"createdIndex":5},'
        '{"key":"/b","value":"","modifiedIndex":5,"createdIndex":5}]}}',
    ),
    (
        Event("set", file("/g", "1", 247, expiration_ns=1_795_516_606_601_133_000, ttl=7), file("/g", "1", 246)),
        '{"action":"set","node":{"key":"/g","value":"1","expiration":"2026-11-24T10:36:46.601133Z","ttl":7,'
        '"modifiedIndex":247,"createdIndex":247},"prevNode":{"key":"/g","value":"1","modifiedIndex":246,'
        '"createdIndex":246}}',
    ),
    (
        Event("delete", NodeView("/f", None, False, 244, 243), file("/f", "b", 243)),
        '{"action":"delete","node":{"key":"/f","modifiedIndex":244,"createdIndex":243},'
        '"prevNode":{"key":"/f","value":"b","modifiedIndex":243,"createdIndex":243}}',
    ),
    (
        Event("create", NodeView("/d", None, True, 3, 3, expiration_ns=0)),
        '{"action":"create","node":{"key":"/d","dir":true,"expiration":"1970-01-01T00:00:00Z",'
        '"modifiedIndex":3,"createdIndex":3}}',
    ),
    (
        Event("get", NodeView("/d", None, True, 3, 3, nodes=())),
        '{"action":"get","node":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}}',
    ),
    (
        Event("expire", NodeView("/x", None, False, 9, 4), file("/x", "a", 4, expiration_ns=1, ttl=-3)),
        '{"action":"expire","node":{"key":"/x","modifiedIndex":9,"createdIndex":4},"prevNode":{"key":"/x","value":"a",'
        '"expiration":"1970-01-01T00:00:00.000000001Z","ttl":-3,"modifiedIndex":4,"createdIndex":4}}',
    ),
    (
        Event("set", file("/<\udcff\udcfe", '"\u2028&')),
        '{"action":"set","node":{"key":"/\\u003c\\ufffd\\ufffd","value":"\\"\\u2028\\u0026","modifiedIndex":5,'
        '"createdIndex":5}}',
    ),
]


@pytest.mark.parametrize(("event", "text"), EVENTS)
def test_events(event, text):
    assert render.event_body(event).decode() == text + "\n"


def test_an_event_is_rendered_once():
    event = Event("set", file("/a"))
    assert render.event_body(event) is render.event_body(event)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_795_516_250_403_584_660, "2026-11-24T10:30:50.40358466Z"),
        (1_795_516_250_000_000_000, "2026-11-24T10:30:50Z"),
        (1_795_516_250_100_000_000, "2026-11-24T10:30:50.1Z"),
        (-6_650_000_000_000_000_001, "1759-04-09T09:46:39.999999999Z"),
    ],
)
def test_expiration(ns, text):
    assert render.expiration(ns) == text


NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=8)
INDEXES = st.integers(1, 1 << 64)
FILES = st.builds(
    lambda name, value, index, created: NodeView("/" + name, value, False, index, created),
    NAMES,
    st.text(),
    INDEXES,
    INDEXES,
)
TREES = st.recursive(
    FILES,
    lambda inner: st.builds(
        lambda name, nodes, index, ttl: NodeView(
            "/" + name, None, True, index, index, 10**18 if ttl else None, ttl, tuple(nodes)
        ),
        NAMES,
        st.lists(inner, max_size=4),
        INDEXES,
        st.integers(-5, 5),
    ),
    max_leaves=12,
)


def as_json(node: NodeView) -> dict[str, object]:
    """An obvious twin of the renderer."""
    shown = {
        "key": node.key,
        "value": node.value,
        "dir": node.dir or None,
        "expiration": None if node.expiration_ns is None else render.expiration(node.expiration_ns),
        "ttl": node.ttl or None,
        "nodes": [as_json(child) for child in node.nodes] if node.nodes else None,
        "modifiedIndex": node.modified_index,
        "createdIndex": node.created_index,
    }
    return {name: item for name, item in shown.items() if item is not None}


@given(TREES, TREES | st.none())
def test_any_event_is_the_json_that_it_means(node, previous):
    expected = {"action": "get", "node": as_json(node)}
    if previous is not None:
        expected["prevNode"] = as_json(previous)
    body = json.loads(render.event_body(Event("get", node, previous)))
    assert body == expected
    assert list(body["node"]) == list(expected["node"])


def test_a_very_deep_tree():
    node = file("/leaf")
    for _ in range(10_000):
        node = NodeView("/d", None, True, 1, 1, nodes=(node,))
    text = render.render_node(node)
    assert text.count('"nodes":[') == 10_000
    assert text.count("{") == text.count("}") == 10_001


def test_event_response():
    response = render.event_response(Event("set", file("/a"), store_index=7), False, "abc", 9, 2)
    assert response.status == 201
    assert response.headers.splitlines() == [
        "Content-Type: application/json",
        "X-Etcd-Cluster-Id: abc",
        "X-Etcd-Index: 7",
        "X-Raft-Index: 9",
        "X-Raft-Term: 2",
    ]


@pytest.mark.parametrize("action", ["set", "create", "update", "compareAndSwap"])
def test_no_value_on_success(action):
    response = render.event_response(Event(action, file("/a"), file("/a")), True, "abc", 9, 2)
    assert response.body.decode() == f'{{"action":"{action}"}}\n'


@pytest.mark.parametrize("action", ["get", "delete", "compareAndDelete", "expire"])
def test_no_value_on_success_means_nothing_elsewhere(action):
    event = Event(action, file("/a"))
    assert render.event_response(event, True, "abc", 9, 2).body == render.event_body(event)


def test_error_response():
    response = render.error_response(EtcdError(100, "/<a>", 14), "abc")
    assert response.status == 404
    assert response.headers.splitlines()[1:] == ["X-Etcd-Cluster-Id: abc", "X-Etcd-Index: 14"]
    assert response.body == (b'{"errorCode":100,"message":"Key not found","cause":"/\\u003ca\\u003e","index":14}\n')


def test_an_error_without_a_cause():
    body = render.error_response(EtcdError(102, index=3), "abc").body
    assert body == b'{"errorCode":102,"message":"Not a file","index":3}\n'


def test_cluster_errors_are_code_300():
    assert render.as_etcd_error(Stopped()) == EtcdError(300, "etcdserver: server stopped", 0)
    assert render.as_etcd_error(RequestTimeout()).http_status == 500
    refusal = EtcdError(101, "[a != b]", 5)
    assert render.as_etcd_error(refusal) is refusal


REDIRECTS = [
    ("/v2/keys/a/b", "", "/v2/keys/a/b", "/v2/keys/a/b"),
    ("/v2/x", "q=1&b=<", "/v2/x?q=1&b=<", "/v2/x?q=1&amp;b=&lt;"),
    ("/v2/keys/é/x", "", "/v2/keys/%C3%A9/x", "/v2/keys/%C3%A9/x"),
    ("/v2/keys/\"<&'>/x", "", "/v2/keys/%22%3C&%27%3E/x", "/v2/keys/%22%3C&amp;%27%3E/x"),
    ("/v2/keys/a", "é", "/v2/keys/a?%c3%a9", "/v2/keys/a?é"),
    ("/v2/keys/a", "b='\"c", "/v2/keys/a?b='\"c", "/v2/keys/a?b=&#39;&#34;c"),
    ("/x?/a", "", "/x%3F/a", "/x%3F/a"),
]


@pytest.mark.parametrize(("path", "query", "location", "shown"), REDIRECTS)
def test_redirects(path, query, location, shown):
    response = render.redirect_response("GET", path, query)
    assert response.status == 301
    assert response.headers == f"Content-Type: text/html; charset=utf-8\r\nLocation: {location}\r\n"
    assert response.body.decode() == f'<a href="{shown}">Moved Permanently</a>.\n\n'


def test_redirects_of_other_methods():
    assert render.redirect_response("PUT", "/a", "") == Response(301, "Location: /a\r\n")
    assert render.redirect_response("HEAD", "/a", "").body == b""


# The wire


def head_of(response: Response, **framing: object) -> list[str]:
    data = wire.encode(response, DATE, Framing(**framing))  # type: ignore[arg-type]
    return data.partition(b"\r\n\r\n")[0].decode().split("\r\n")


def test_a_head():
    response = Response(200, "A: b\r\nC: d\r\n", b"body")
    assert head_of(response, cors=wire.cors_headers("*")) == [
        "HTTP/1.1 200 OK",
        "Access-Control-Allow-Headers: accept, content-type, authorization",
        "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE",
        "Access-Control-Allow-Origin: *",
        "A: b",
        "C: d",
        f"Date: {DATE}",
        "Content-Length: 4",
    ]


@pytest.mark.parametrize(
    ("version", "keep_alive", "line"),
    [(1, True, None), (1, False, "Connection: close"), (0, True, "Connection: keep-alive"), (0, False, None)],
)
def test_the_connection_header(version, keep_alive, line):
    head = head_of(Response(200, "", b"x"), version=version, keep_alive=keep_alive)
    assert head[0] == f"HTTP/1.{version} 200 OK"
    assert [item for item in head if item.startswith("Connection")] == ([line] if line else [])


def test_bodies_up_to_gos_buffer_have_a_length_and_longer_ones_are_chunked():
    short, long = Response(200, "", b"x" * 2048), Response(200, "", b"x" * 2049)
    assert "Content-Length: 2048" in head_of(short)
    assert wire.encode(long, DATE).endswith(
        b"\r\nTransfer-Encoding: chunked\r\n\r\n801\r\n" + long.body + b"\r\n0\r\n\r\n"
    )
    assert not any(line.startswith(("Content-Length", "Transfer")) for line in head_of(long, version=0))
    assert wire.encode(long, DATE, Framing(0)).endswith(b"\r\n\r\n" + long.body)
    assert wire.ends_with_connection(2049, Framing(0))
    assert not wire.ends_with_connection(2049, Framing(1))
    assert not wire.ends_with_connection(2048, Framing(0))


def test_a_body_that_no_header_describes_is_guessed_to_be_text_as_in_go():
    guessed = b"Date: " + DATE.encode() + b"\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nok"
    assert wire.encode(Response(200, "", b"ok"), DATE).endswith(guessed)
    assert b"Content-Type" not in wire.encode(Response(200, ""), DATE)


def test_head_requests_get_heads():
    head_only = Framing(head_only=True)
    assert b"\r\nContent-Length: 5\r\n" in wire.encode(Response(404, "", b"12345"), DATE, head_only)
    assert wire.encode(Response(404, "", b"12345"), DATE, head_only).endswith(b"\r\n\r\n")
    assert b"Length" not in wire.encode(Response(301, ""), DATE, head_only)
    long = wire.encode(Response(200, "", b"x" * 5000), DATE, head_only)
    assert long.endswith(b"GMT\r\n\r\n")
    assert b"Transfer" not in long


def test_no_content_has_no_length():
    assert wire.encode(Response(204, ""), DATE) == f"HTTP/1.1 204 No Content\r\nDate: {DATE}\r\n\r\n".encode()


def test_the_date_is_made_once_a_second():
    now = 1_795_516_255.9
    date = wire.HttpDate(lambda: now)
    assert date() == DATE
    first = date()
    assert date() is first
    now += 0.1
    assert date() == DATE.replace(":55", ":56")
