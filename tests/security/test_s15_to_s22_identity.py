"""S15-S22: who somebody is, what that allows, and who may speak on the peer port."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from member_process import (
    Member,
    authorization,
    body_of,
    frame,
    is_closed,
    peer_headers,
    received,
    request,
    running,
    status_of,
)

KV = {
    "alice": {"read": ["/app/*"], "write": ["/app/*"]},
    "exact": {"read": ["/foo"], "write": ["/foo"]},
    "star": {"read": ["/foo*"], "write": []},
    "writer": {"read": [], "write": ["/secret", "/app/*"]},
}
VALUE = "the-secret-value"


@pytest.fixture(scope="module")
def secured() -> Iterator[Member]:
    with running("--bcrypt-cost=8") as member:
        for key in ("/secret", "/app/k", "/foo", "/foobar"):
            member.json("PUT", f"/v2/keys{key}?value={VALUE}")
        member.json("PUT", f"/v2/keys/foodir/x?value={VALUE}")
        member.secure(**KV)
        yield member


def seconds(member: Member, user: str) -> float:
    begun = time.monotonic()
    assert member.ask("GET", "/v2/keys/app/k", user=user)[0] == 401
    return time.monotonic() - begun


def test_s15_an_unknown_user_takes_as_long_as_a_wrong_password(secured: Member) -> None:
    known, unknown = [], []
    for number in range(8):
        known.append(seconds(secured, f"alice:wrong{number}"))
        unknown.append(seconds(secured, f"nobody{number}:wrong"))
    assert 0.5 < statistics.median(known) / statistics.median(unknown) < 2
    assert statistics.median(unknown) > 0.005, "bcrypt of cost 8 takes 15 ms and more"


def test_s16_a_storm_of_wrong_passwords_costs_no_election_and_delays_nobody() -> None:
    with running("--bcrypt-cost=10", "--heartbeat-interval=50", "--election-timeout=500") as member:
        member.secure(alice=KV["alice"])
        assert member.ask("PUT", "/v2/keys/app/k", "value=v", user="alice:pw")[0] == 201
        term = raft_term(member)
        names = ("alice", "root", "mallory", "eve")
        storm = [threading.Thread(target=guess, args=(member, name, n)) for name in names for n in range(2)]
        for thread in storm:
            thread.start()
        waits = []
        while any(thread.is_alive() for thread in storm):
            begun = time.monotonic()
            assert member.ask("PUT", "/v2/keys/app/k", "value=v", user="alice:pw")[0] == 200
            waits.append(time.monotonic() - begun)
            time.sleep(0.02)
        assert statistics.median(waits) < 0.1
        assert max(waits) < 1
        assert raft_term(member) == term


def test_s16_who_logs_in_during_a_storm_gets_in_soon() -> None:
    """Nobody here is known: each login needs its look at the password."""
    users = [f"u{number}" for number in range(6)]
    with running("--bcrypt-cost=10") as member:
        member.secure(**dict.fromkeys(users, KV["alice"]))
        over = threading.Event()
        storm = [threading.Thread(target=guess_on, args=(member, f"g{n % 8}", over)) for n in range(32)]
        for thread in storm:
            thread.start()
        try:
            time.sleep(2)
            for number, user in enumerate(users):
                source, patience = ("127.0.0.2", 1.5) if number < 4 else ("127.0.0.1", 4)
                begun = time.monotonic()
                assert login(member, user, "pw", source) != 401, source
                assert time.monotonic() - begun < patience, source
        finally:
            over.set()
            for thread in storm:
                thread.join()
        assert member.log.count("too many wrong passwords") < 5


def guess_on(member: Member, name: str, over: threading.Event) -> None:
    while not over.is_set():
        assert login(member, name, secrets.token_hex(), "127.0.0.1") == 401


def login(member: Member, user: str, password: str, source: str) -> int:
    with socket.create_connection(("127.0.0.1", member.port), 20, (source, 0)) as connection:
        connection.sendall(request("GET", "/v2/keys/app/k", headers=authorization(f"{user}:{password}")))
        return status_of(connection.recv(1 << 16))


def guess(member: Member, name: str, part: int) -> None:
    for number in range(5):
        assert member.ask("GET", "/v2/keys/app/k", user=f"{name}:guess{part}-{number}")[0] == 401


def raft_term(member: Member) -> int:
    answer = member.raw(request("GET", "/v2/keys/app/k", headers=authorization("alice:pw"), connection="close"))
    return int(answer.partition(b"X-Raft-Term: ")[2].split(b"\r\n")[0])


@pytest.mark.parametrize("password", ["p" * 73, "p" * 100_000, "nul\0", ""])
def test_s17_passwords_that_cannot_be_are_no_error_of_ours(secured: Member, password: str) -> None:
    body = json.dumps({"user": "new", "password": password})
    status, answer = secured.ask("PUT", "/v2/auth/users/new", body, user="root:rp")
    assert status == 400
    assert len(answer) < 200
    assert secured.ask("GET", "/v2/keys/app/k", user=f"alice:{password[:5000]}")[0] == 401


@pytest.mark.parametrize(
    "credentials", [b"\xff\xfe:\xff", b"alice:\xff\x00", b":", b"", b"alice", b"\x00:\x00", b"root:"]
)
def test_s17_credentials_of_any_bytes_are_wrong_ones(secured: Member, credentials: bytes) -> None:
    header = f"Authorization: Basic {base64.b64encode(credentials).decode()}\r\n"
    assert secured.ask("GET", "/v2/keys/app/k", headers=header)[0] == 401


DENIED = [
    ("exact", "GET", "/foobar"), ("exact", "GET", "/foo/"), ("exact", "GET", "/foo?recursive=true"),
    ("exact", "GET", "/foodir/x"), ("exact", "GET", "/?recursive=true"), ("exact", "GET", "/"),
    ("exact", "GET", "/foo?wait=true&recursive=true"), ("exact", "GET", "/?wait=true&recursive=true&waitIndex=1"),
    ("exact", "DELETE", "/foo?recursive=true"), ("exact", "DELETE", "/foodir?recursive=true"),
    ("exact", "PUT", "/foobar?prevExist=true&value=x"), ("star", "GET", "/secret"), ("star", "PUT", "/foobar?value=x"),
    ("star", "DELETE", "/foobar"), ("alice", "GET", "/app?recursive=true"),
    ("alice", "DELETE", "/app?recursive=true&dir=true"), ("alice", "POST", "/app?value=x"),
    ("writer", "GET", "/secret"), ("writer", "HEAD", "/secret"), ("writer", "GET", "/secret?quorum=true"),
    ("writer", "GET", "/secret?wait=true&waitIndex=1"),
    ("alice", "GET", "/app/%2e%2e/secret"), ("alice", "GET", "/app/../secret"),
]  # fmt: skip


@pytest.mark.parametrize(("user", "method", "key"), DENIED)
def test_s18_nothing_beyond_a_grant_is_done_or_told(secured: Member, user: str, method: str, key: str) -> None:
    answer = secured.raw(request(method, f"/v2/keys{key}", headers=authorization(f"{user}:pw"), connection="close"))
    assert status_of(answer) in (401, 301)
    assert VALUE.encode() not in answer


def test_s18_who_may_write_but_not_read_learns_no_value(secured: Member) -> None:
    guesses = ["prevValue=guess", "prevIndex=1", "prevValue=guess&prevIndex=99999"]
    for guess_at_it in guesses:
        status, body = secured.ask("PUT", f"/v2/keys/secret?{guess_at_it}", "value=x", user="writer:pw")
        assert status == 412
        assert VALUE.encode() not in body
        status, body = secured.ask("DELETE", f"/v2/keys/secret?{guess_at_it}", user="writer:pw")
        assert status == 412
        assert VALUE.encode() not in body
    for method, body in (("PUT", f"value={VALUE}"), ("DELETE", "")):
        status, answer = secured.ask(method, "/v2/keys/secret", body, user="writer:pw")
        previous = json.loads(answer)["prevNode"]
        assert status == 200
        assert previous["value"] == ""
    secured.json("PUT", f"/v2/keys/secret?value={VALUE}", user="root:rp")


def test_s18_patterns_are_prefixes_only_with_a_star(secured: Member) -> None:
    allowed = [("exact", "/foo"), ("star", "/foo"), ("star", "/foobar"), ("star", "/foodir?recursive=true")]
    for user, key in allowed:
        assert secured.ask("GET", f"/v2/keys{key}", user=f"{user}:pw")[0] == 200


@pytest.mark.parametrize("how", ["permission", "role of the user", "role", "user"])
def test_s19_a_watch_ends_when_its_permission_does(secured: Member, how: str) -> None:
    kv = {"read": ["/w/*"], "write": []}
    secured.json("PUT", "/v2/auth/roles/w", {"role": "w", "permissions": {"kv": kv}}, user="root:rp")
    secured.json("PUT", "/v2/auth/users/w", {"user": "w", "password": "pw", "roles": ["w"]}, user="root:rp")
    changes = {
        "permission": ("PUT", "/v2/auth/roles/w", {"role": "w", "revoke": {"kv": kv}}),
        "role of the user": ("PUT", "/v2/auth/users/w", {"user": "w", "revoke": ["w"]}),
        "role": ("DELETE", "/v2/auth/roles/w", None),
        "user": ("DELETE", "/v2/auth/users/w", None),
    }
    with secured.connect() as connection, secured.connect() as other:
        for each, target in (
            (connection, "/v2/keys/w/?wait=true&recursive=true&stream=true"),
            (other, "/v2/keys/w/k?wait=true"),
        ):
            each.sendall(request("GET", target, headers=authorization("w:pw")))
            assert status_of(received(each, 0.5)) == 200
        secured.json(*changes[how], user="root:rp")
        secured.json("PUT", "/v2/keys/w/k?value=secret", user="root:rp")
        for each in (connection, other):
            told = received(each, 0.5)
            assert b"secret" not in told
            assert told.startswith(b"0\r\n\r\n")
    for target in ("/v2/auth/users/w", "/v2/auth/roles/w"):
        secured.ask("DELETE", target, user="root:rp")


def test_s19_a_guests_watch_ends_when_auth_is_switched_on() -> None:
    with running() as member, member.connect() as connection:
        connection.sendall(request("GET", "/v2/keys/a?wait=true"))
        assert status_of(received(connection, 0.5)) == 200
        member.secure()
        assert received(connection, 0.5).startswith(b"0\r\n\r\n")


OPEN = ["/version", "/health", "/v2/auth/enable"]
CLOSED = [
    "/v2/keys/", "/v2/keys/secret", "/v2/members", "/v2/members/leader", "/v2/machines", "/v2/stats/self",
    "/v2/stats/store", "/v2/stats/leader", "/metrics", "/debug/vars", "/v2/auth/users", "/v2/auth/roles",
    "/v2/auth/users/root", "/v2/auth/roles/root",
]  # fmt: skip


def test_s20_with_guests_shut_out_only_version_and_health_are_open() -> None:
    with running("--auth-guest=none") as member:
        member.json("PUT", "/v2/auth/users/root", {"user": "root", "password": "rp"})
        member.json("PUT", "/v2/auth/enable")
        assert {target: member.ask("GET", target)[0] for target in OPEN} == dict.fromkeys(OPEN, 200)
        assert {target: member.ask("GET", target)[0] for target in CLOSED} == dict.fromkeys(CLOSED, 401)
        assert member.ask("PUT", "/config/local/log", '{"Level":"DEBUG"}')[0] == 401
        for target in CLOSED[:-4]:
            assert member.ask("GET", target, user="root:rp")[0] in (200, 404), target


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-User: root",
        "X-Remote-User: root",
        "X-SSL-Client-CN: root",
        "Proxy-Authorization: Basic cm9vdDpycA==",
    ],
)
def test_s21_no_other_header_says_who_somebody_is(secured: Member, header: str) -> None:
    assert secured.ask("GET", "/v2/keys/secret", headers=f"{header}\r\n")[0] == 401
    assert secured.ask("GET", "/v2/auth/users", headers=f"{header}\r\n")[0] == 401


STREAM = "GET /raft/stream HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: etcdpy-raft\r\n{}\r\n"
STRANGERS = {
    "no headers": (None, {400}),
    "another cluster": ({"X_Etcd_Cluster_ID": "1234"}, {412}),
    "another addressee": ({"X_Raft_To": "1234"}, {412}),
    "an unknown member": ({}, {404}),
    "an unknown member that says where it is": ({"X_PeerURLs": "http://127.0.0.1:9"}, {404}),
    "id 0": ({"X_Server_From": "0"}, {400, 404}),
    "no number": ({"X_Server_From": "root"}, {400}),
    "another protocol": ({"X_Raft_Protocol": "99"}, {412}),
}


@pytest.mark.parametrize(("changed", "statuses"), STRANGERS.values(), ids=STRANGERS)
def test_s22_a_stranger_on_the_peer_port_moves_nothing(
    member: Member, changed: dict[str, str] | None, statuses: set[int]
) -> None:
    before = member.raft
    headers = "" if changed is None else peer_headers(member, **changed)
    vote = frame(5, 1, 0xABC123, 10**6, 10**6, 10**6, (), 0, False, 0, b"", None, 0)
    answer = member.raw(STREAM.format(headers).encode() + vote, peer=True)
    assert status_of(answer) in statuses
    assert len(body_of(answer)) < 100
    assert member.raft == before
    snapshot = f"POST /raft/snapshot HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: 100\r\n\r\n".encode()
    assert status_of(member.raw(snapshot + bytes(100), peer=True)) in statuses
    assert member.raft == before


@pytest.mark.parametrize("data", [bytes(100_000), b"\xff" * 100_000, b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n" * 1000])
def test_s22_garbage_on_the_peer_port_moves_nothing(member: Member, data: bytes) -> None:
    before = member.raft
    with member.connect(peer=True) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        assert is_closed(connection, 15)
    assert member.raft == before
    assert member.ask("GET", "/version")[0] == 200
