"""Whatever is sent to the endpoints that read JSON or forms: the answer is one that a client can understand, what was
refused has changed nothing, and the member goes on. EXAMPLES=5000 looks longer (`make fuzz`)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest
from http_fakes import DEFAULTS, FORM, Answer, Api, running_api
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.membership import Member, Membership

EXAMPLES = int(os.environ.get("EXAMPLES", "250"))
LOOK = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# 500 is etcd's answer to two mistakes of clients: to remove the last member, and a query that Go can't parse.
STATUSES = {200, 201, 204, 301, 400, 401, 403, 404, 405, 409, 410, 412, 413, 415}
OWN = Member(0x2E1259D415F2A040, "default", ("http://127.0.0.1:2380",), ("http://127.0.0.1:2379",))
HASH = "$2b$04$" + "a" * 53


class Bench:
    """An API, and a way to ask it from tests that are not coroutines."""

    def __init__(self, fast_lane: bool) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        entering = self._stack.enter_async_context(running_api(DEFAULTS._replace(fast_lane=fast_lane)))
        self.api: Api = self._loop.run_until_complete(entering)

    def close(self) -> None:
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    def begin(self, *, auth: bool) -> None:
        """A member that is alone, with two users."""
        state, membership = self.api.node.machine.auth, self.api.node.membership
        self.api.node.membership = Membership(membership.cluster_id, [OWN])
        state.restore(None)
        for name in ("root", "alice"):
            state.put_user(name, HASH, ("root",) if name == "root" else (), None, None, False)
        if auth:
            state.enable(True)

    def ask(self, method: str, target: str, body: str | None, **options: Any) -> Answer:
        return self._loop.run_until_complete(self.api.ask(method, target, body, **options))

    @property
    def state(self) -> tuple[Any, ...]:
        """All that a request may change."""
        store, node = self.api.store, self.api.node
        return (
            node.machine.auth.as_value(),
            list(node.membership.members),
            store.index,
            store.get("/", True, True, node.time_ns).node,
        )


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "aiohttp-lane"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.close()


NAMES = st.sampled_from(["root", "alice", "guest", "r", "", "nobody", "*", "ü", "\ufffd", "a/b", "\x00"]) | st.text(
    max_size=5
)
PATTERNS = st.sampled_from(["/*", "/a/*", "", "*", "/a", "a", "/a*b", None, 1])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
KV = st.fixed_dictionaries(
    {}, optional={"read": st.lists(PATTERNS, max_size=3) | JSON_VALUES, "write": st.lists(PATTERNS, max_size=3)}
)
PERMISSIONS = st.fixed_dictionaries({}, optional={"kv": KV | JSON_VALUES}) | JSON_VALUES
URLS = st.sampled_from(
    [
        "http://127.0.0.1:2380",
        "http://127.0.0.1:1",
        "https://h:9",
        "http://h",
        "ftp://h:1",
        "",
        "http://u@h:1",
        "x",
        None,
    ]
)
FIELDS = {
    "user": NAMES | JSON_VALUES,
    "role": NAMES | JSON_VALUES,
    "password": st.text(max_size=80) | JSON_VALUES,
    "roles": st.lists(NAMES, max_size=3) | JSON_VALUES,
    "grant": PERMISSIONS | st.lists(NAMES, max_size=3),
    "revoke": PERMISSIONS | st.lists(NAMES, max_size=3),
    "permissions": PERMISSIONS,
    "peerURLs": st.lists(URLS, max_size=3) | JSON_VALUES,
    "Level": st.sampled_from(["INFO", "warning", "loud"]) | JSON_VALUES,
}
DOCUMENTS = st.fixed_dictionaries({}, optional=FIELDS) | JSON_VALUES


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """JSON, nearly JSON, and anything."""
    text = draw(DOCUMENTS.map(json.dumps))
    match draw(st.integers(0, 5)):
        case 0:
            return draw(st.text(max_size=50))
        case 1:
            at = draw(st.integers(0, len(text)))
            return text[:at] + draw(st.sampled_from(["", ",", "}", "\x00", "\\ud800", "NaN", "1e999"])) + text[at + 1 :]
    return text


TYPES = st.sampled_from(
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", FORM, "text/plain", "", ";", None]
)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"])
HEADERS = st.sampled_from(
    [
        "",
        "",
        "",
        "Authorization: Basic cm9vdDpydA==\r\n",
        "Authorization: x\r\n",
        "Origin: null\r\n",
        "Accept: text/html\r\n",
    ]
)
PLACES = st.sampled_from(
    [
        *("/v2/auth/users/{}", "/v2/auth/roles/{}", "/v2/auth/users/{}", "/v2/auth/roles/{}", "/v2/auth/users"),
        *("/v2/auth/roles", "/v2/auth/enable", "/v2/auth/{}", "/v2/members", "/v2/members/{}", "/v2/members/1"),
        *("/v2/members/2e1259d415f2a040", "/v2/members/leader", "/v2/stats/self", "/v2/stats/leader"),
        *("/v2/stats/store", "/v2/stats/{}", "/v2/machines", "/version", "/health", "/config/local/log"),
    ]
)
QUERIES = st.sampled_from(["", "", "", "?", "?recursive=true", "?%zz", "?a;b"]) | st.text(max_size=8).map(
    lambda t: "?" + quote(t)
)


def check(bench: Bench, method: str, target: str, body: str | None, content_type: str | None, headers: str) -> None:
    before = bench.state
    answer = bench.ask(method, target, body, content_type=content_type, headers=headers)
    etcds_mistake = "2e1259d415f2a040" in target or (
        target.startswith("/v2/auth/") and ("%zz" in target or ";" in target)
    )
    assert answer.status in STATUSES or (etcds_mistake and answer.status == 500), answer.body
    kind = answer.header("Content-Type") or ""
    if answer.status == 204 or (method == "HEAD" and answer.body != b"400 Bad Request"):  # that is no answer to a HEAD
        assert answer.body == b""
    elif kind.startswith("application/json"):
        assert json.loads(answer.body or "0") is not None  # etcd says nothing of what it has deleted
    else:
        assert not answer.body or kind.startswith(("text/plain", "text/html")), kind
    if answer.status >= 400 or method in ("GET", "HEAD", "OPTIONS"):
        assert bench.state == before, answer.status
    assert bench.ask("GET", "/health", None).status == 200


@LOOK
@given(METHODS, PLACES, NAMES, QUERIES, bodies() | st.none(), TYPES, HEADERS, st.booleans())
def test_json_endpoints(
    bench: Bench,
    method: str,
    place: str,
    name: str,
    query: str,
    body: str | None,
    content_type: str | None,
    headers: str,
    auth: bool,
) -> None:
    bench.begin(auth=auth)
    check(bench, method, place.format(quote(name, safe="")) + query, body, content_type, headers)


VALUES = st.sampled_from(
    ["", "true", "false", "1", "0", "-1", "x", "99999999999999999999", "%ff", "%zz", "+", "a b", "\u2028"]
)
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("value", "ttl", "dir", "prevValue", "prevIndex", "prevExist", "recursive", "sorted", "quorum"),
                *("refresh", "noValueOnSuccess", "waitIndex", "stream", "VALUE", "", "x"),
            ]
        ),
        VALUES | st.text(max_size=6).map(quote),
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
KEYS = st.lists(
    st.sampled_from(["a", "b", "_h", "", ".", "..", "%2e%2e", "%2f", "%00", "%ff", "ü", "%"]), max_size=4
).map(lambda parts: "".join("/" + part for part in parts))


@LOOK
@given(METHODS, KEYS, PARAMETERS, PARAMETERS | st.text(max_size=20), TYPES, HEADERS, st.booleans())
def test_keys(
    bench: Bench,
    method: str,
    key: str,
    query: str,
    form: str,
    content_type: str | None,
    headers: str,
    auth: bool,
) -> None:
    bench.begin(auth=auth)
    target = f"/v2/keys{key}?{query}".encode().decode("latin-1") if not query.isascii() else f"/v2/keys{key}?{query}"
    check(bench, method, target.replace(" ", "%20"), form, content_type, headers)
