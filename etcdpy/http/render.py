"""From a result to the answer's status, headers and body, byte for byte as etcd 3.4 writes them
(etcdserver/api/v2http, api/v2error, api/v2store/node_extern.go, api/etcdhttp).

Pure, and shared by all that serve HTTP. Header names are in Go's canonical form, in Go's order (sorted); the headers
of the connection (`Date`, `Content-Length`, CORS) are `wire.py`'s. An event's body is rendered once and kept with it.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from cluster.errors import ClusterError
from etcdpy.errors import RAFT_INTERNAL, EtcdError
from etcdpy.http import go_json
from etcdpy.http.go_path import escape_path
from etcdpy.http.json_string import quote
from etcdpy.store.event import Event, NodeView

Headers = str
"""Header lines, each with its end."""

JSON_TYPE: Headers = "Content-Type: application/json\r\n"
_TEXT: Headers = "Content-Type: text/plain; charset=utf-8\r\n"
_NO_VALUE_ACTIONS = frozenset(("set", "create", "update", "compareAndSwap"))
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})
_SECOND_NS = 1_000_000_000


class Response(NamedTuple):
    """An answer. `body` is what GET would get; whoever writes it leaves it out for HEAD. `close` ends the
    connection after it."""

    status: int
    headers: Headers
    body: bytes = b""
    close: bool = False


# Events and nodes


def expiration(ns: int) -> str:
    """RFC 3339 in UTC with the fraction's trailing zeros cut off (Go: time.RFC3339Nano)."""
    seconds, fraction = divmod(ns, _SECOND_NS)
    at = time.gmtime(seconds)
    text = f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d}T{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def _node_head(node: NodeView) -> str:
    """The members of a node's object that come before `nodes`, each with a comma behind it."""
    text = f'"key":{quote(node.key)},' if node.key else ""
    if node.value is not None:
        text += f'"value":{quote(node.value)},'
    if node.dir:
        text += '"dir":true,'
    if node.expiration_ns is not None:
        text += f'"expiration":"{expiration(node.expiration_ns)}",'
    if node.ttl:
        text += f'"ttl":{node.ttl},'
    return text


def _node_tail(node: NodeView) -> str:
    """The members that come after `nodes`, each with a comma in front of it. The root has none."""
    if not node.modified_index:
        return ""
    return f',"modifiedIndex":{node.modified_index},"createdIndex":{node.created_index}'


def _leaf(node: NodeView) -> str:
    if node.value is not None and node.expiration_ns is None and node.key:  # nearly all there are
        return (
            f'{{"key":{quote(node.key)},"value":{quote(node.value)},'
            f'"modifiedIndex":{node.modified_index},"createdIndex":{node.created_index}}}'
        )
    return "{" + (_node_head(node) + _node_tail(node)[1:]).rstrip(",") + "}"


def render_node(node: NodeView) -> str:
    """One node and all below it. Not recursive: a key may have thousands of levels."""
    if not node.nodes:
        return _leaf(node)
    pieces: list[str] = []
    waiting: list[NodeView | str] = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif not item.nodes:
            pieces.append(_leaf(item))
        else:
            pieces.append(f'{{{_node_head(item)}"nodes":[')
            waiting.append(f"]{_node_tail(item)}}}")
            for child in reversed(item.nodes[1:]):
                waiting += (child, ",")
            waiting.append(item.nodes[0])
    return "".join(pieces)


def event_body(event: Event) -> bytes:
    """An event as watchers and clients get it, with its final newline."""
    body = event.rendered
    if body is None:
        previous = f',"prevNode":{render_node(event.prev_node)}' if event.prev_node is not None else ""
        text = f'{{"action":"{event.action}","node":{render_node(event.node)}{previous}}}\n'
        body = event.rendered = text.encode()
    return body


# Answers of /v2/keys


def event_response(event: Event, no_value: bool, cluster_id: str, raft_index: int, raft_term: int) -> Response:
    """The answer to a read or a write that succeeded. `cluster_id` is in hexadecimal."""
    if no_value and event.action in _NO_VALUE_ACTIONS:
        body = f'{{"action":"{event.action}"}}\n'.encode()
    else:
        body = event_body(event)
    headers = watch_headers(cluster_id, event.store_index, raft_index, raft_term)
    return Response(201 if event.created else 200, headers, body)


def cluster_header(cluster_id: str) -> Headers:
    return f"X-Etcd-Cluster-Id: {cluster_id}\r\n"


def watch_headers(cluster_id: str, store_index: int, raft_index: int, raft_term: int) -> Headers:
    return (
        f"{JSON_TYPE}{cluster_header(cluster_id)}X-Etcd-Index: {store_index}\r\n"
        f"X-Raft-Index: {raft_index}\r\nX-Raft-Term: {raft_term}\r\n"
    )


def error_response(error: EtcdError, cluster_id: str) -> Response:
    cause = f'"cause":{quote(error.cause)},' if error.cause else ""
    body = f'{{"errorCode":{error.code},"message":{quote(error.message)},{cause}"index":{error.index}}}\n'
    headers = f"{JSON_TYPE}{cluster_header(cluster_id)}X-Etcd-Index: {error.index}\r\n"
    return Response(error.http_status, headers, body.encode())


def as_etcd_error(failure: Exception) -> EtcdError:
    """What clients are told when the cluster gave no result: code 300, which says that the outcome is not known. Of
    mistakes of our own they learn nothing."""
    if isinstance(failure, EtcdError):
        return failure
    return EtcdError(RAFT_INTERNAL, str(failure) if isinstance(failure, ClusterError) else "etcdserver: internal error")


# Other answers


def json_response(value: go_json.Json, *, status: int = 200, headers: Headers = "", newline: bool = False) -> Response:
    """`headers` come after `Content-Type`, as their names must."""
    return Response(status, JSON_TYPE + headers, (go_json.dumps(value) + ("\n" if newline else "")).encode())


MAX_MESSAGE = 200
SHOWN_OF_LONGER = 100
"""A message longer than etcd's own holds what a client has sent, which need not come back as a whole."""


def message_response(status: int, message: str, headers: Headers = "") -> Response:
    """A refusal outside `/v2/keys` (etcd: httptypes.HTTPError)."""
    shown = message if len(message) <= MAX_MESSAGE else f"{message[:SHOWN_OF_LONGER]}..."
    return json_response({"message": shown}, status=status, headers=headers)


def text_response(text: str, *, status: int = 200) -> Response:
    """No header says what it is: as in Go, that is guessed when it is written (`wire.encode`)."""
    return Response(status, "", text.encode("utf-8", "surrogateescape"))


def http_error(status: int, text: str, headers: Headers = "") -> Response:
    """Go's http.Error. `headers` are any that sort behind `X-Content-Type-Options`."""
    return Response(status, f"{_TEXT}X-Content-Type-Options: nosniff\r\n{headers}", f"{text}\n".encode())


NOT_FOUND = http_error(404, "404 page not found")


def method_not_allowed(allowed: tuple[str, ...]) -> Response:
    refusal = http_error(405, "Method Not Allowed")
    return refusal._replace(headers=f"Allow: {','.join(allowed)}\r\n{refusal.headers}")


def redirect_response(method: str, path: str, query: str) -> Response:
    """Sends a client to the clean form of what it asked for (Go: http.Redirect). The query stays as it was sent."""
    url = escape_path(path) + (f"?{query}" if query else "")
    raw = url.encode("utf-8", "surrogateescape")
    location = "".join(chr(byte) if byte < 0x80 else f"%{byte:x}" for byte in raw)
    headers = f"Location: {location}\r\n"
    if method not in ("GET", "HEAD"):
        return Response(301, headers)
    headers = f"Content-Type: text/html; charset=utf-8\r\n{headers}"
    if method == "HEAD":
        return Response(301, headers)
    page = f'<a href="{url.translate(_HTML)}">Moved Permanently</a>.\n\n'
    return Response(301, headers, page.encode("utf-8", "surrogateescape"))
