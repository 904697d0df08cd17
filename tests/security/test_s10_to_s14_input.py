"""S10-S14: JSON, keys and numbers that break parsers, and floods of what is allowed."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import time
from pathlib import Path

import pytest
from member_process import Member, received, request, status_of

BAD_JSON = {
    "deep arrays": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "a deep value": '{"user":' + "[" * 20_000 + "]" * 20_000 + "}",
    "a long number": '{"user":' + "9" * 5000 + "}",
    "NaN": '{"user":NaN}',
    "Infinity": '{"user":-Infinity}',
    "a long string": '{"user":"' + "x" * 1_000_000 + '"}',
    "a lone surrogate": '{"user":"\\ud800"}',
    "a bare control": '{"user":"\n"}',
    "a byte order mark": '\ufeff{"user":"u"}',
    "single quotes": "{'user':'u'}",
    "a comment": '{"user":"u"/**/}',
    "nothing": "",
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize(("method", "target"), [("PUT", "/v2/auth/users/u"), ("POST", "/v2/members")])
def test_s10_json_that_breaks_parsers_is_a_bad_request(member: Member, method: str, target: str, body: str) -> None:
    status, answer = member.ask(method, target, body, "Content-Type: application/json\r\n")
    assert status == 400
    assert len(answer) < 500
    assert b"Traceback" not in answer


def test_s10_the_last_of_equal_names_counts_for_all_who_read(member: Member) -> None:
    twice = '{"user":"root","password":"x","user":"u","roles":[]}'
    assert member.ask("PUT", "/v2/auth/users/root", twice)[0] == 400
    assert member.ask("PUT", "/v2/auth/users/u", twice)[0] == 201
    assert member.ask("DELETE", "/v2/auth/users/u")[0] == 200


UNCLEAN = ["/a/../b", "/a/%2e%2e/b", "/a/%2E./b", "//b", "/./b", "/a//b", "/a/..%2fb", "/..", "/../../auth/users"]


@pytest.mark.parametrize("key", UNCLEAN)
def test_s11_a_path_that_is_not_clean_reaches_nothing(member: Member, key: str) -> None:
    before = member.raft[0]
    for method in ("GET", "PUT", "DELETE"):
        data = request(method, f"/v2/keys{key}", connection="close")
        answer = member.raw(data)
        assert status_of(answer) in (301, 400)
    assert member.raft[0] == before


ODD_KEYS = {
    "NUL": "/odd/%00",
    "a surrogate": "/odd/%ED%A0%80",
    "bytes": "/odd/%ff%fe",
    "line ends": "/odd/%0d%0aX:%20y",
    "a hidden one": "/odd/_hidden",
    "long": "/odd/" + "k" * 7000,
    "deep": "/odd" + "/d" * 3500,
    "escaped slashes": "/odd/a%2fb",
    "etcd's own place": "/0/members/abc/attributes",
}


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS)
def test_s11_odd_keys_are_ordinary_ones_and_no_poison(member: Member, key: str) -> None:
    assert member.ask("PUT", f"/v2/keys{key}", "value=v")[0] == 201
    status, body = member.ask("GET", f"/v2/keys{key}")
    assert status == 200
    assert json.loads(body)["node"]["value"] == "v"
    first = key.split("/")[1]
    assert member.ask("GET", f"/v2/keys/{first}?recursive=true")[0] == 200
    assert member.ask("DELETE", f"/v2/keys/{first}?recursive=true")[0] == 200


@pytest.mark.parametrize("ttl", ["-1", "9223372036854775808", str(2**64), "1e30", "inf", "1.5", "nan", "+5"])
def test_s12_a_ttl_that_is_no_number_of_seconds(member: Member, ttl: str) -> None:
    status, body = member.ask("PUT", "/v2/keys/ttl", f"value=v&ttl={ttl.replace('+', '%2b')}")
    assert (status, json.loads(body)["errorCode"]) == (400, 202)
    assert member.ask("GET", "/v2/keys/ttl")[0] == 404


def test_s12_a_ttl_that_is_empty_is_none(member: Member) -> None:
    assert b"expiration" not in member.ask("PUT", "/v2/keys/ttl", "value=v&ttl=")[1]
    assert member.ask("DELETE", "/v2/keys/ttl")[0] == 200


def watchers(member: Member) -> int:
    return int(member.json("GET", "/v2/stats/store")["watchers"])


def until_watchers(member: Member, count: int) -> None:
    deadline = time.monotonic() + 10
    while watchers(member) != count:
        assert time.monotonic() < deadline, watchers(member)
        time.sleep(0.05)


def test_s13_watches_are_small_and_freed_when_their_clients_leave(member: Member) -> None:
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * count)), hard))
    before = member.memory_bytes
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(member.connect())
            connection.sendall(request("GET", "/v2/keys/?wait=true&recursive=true&stream=true"))
        until_watchers(member, count)
        assert (member.memory_bytes - before) / count < 20 << 10
        begun = time.monotonic()
        assert member.ask("PUT", "/v2/keys/tell", "value=all")[0] in (200, 201)
        assert time.monotonic() - begun < 2
        assert b'"all"' in received(connection)
    until_watchers(member, 0)
    assert member.ask("DELETE", "/v2/keys/tell")[0] == 200


def seconds_until_probed(port: int, client_port: int) -> float | None:
    """When the kernel will ask whether a silent client is still there; None for never."""
    ends = f":{port:04X}", f":{client_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1][8:], fields[2][8:]) == ends:
            timer, _, ticks = fields[5].partition(":")
            return int(ticks, 16) / os.sysconf("SC_CLK_TCK") if timer == "02" else None
    raise AssertionError("no such connection")


@pytest.mark.parametrize("watching", [False, True])
def test_s13_clients_that_vanish_without_a_word_are_noticed(member: Member, watching: bool) -> None:
    """Theirs would be watches and descriptors for ever."""
    with member.connect() as connection:
        connection.sendall(request("GET", f"/v2/keys/{'?wait=true&recursive=true' if watching else ''}"))
        received(connection, 0.3)
        due = seconds_until_probed(member.port, connection.getsockname()[1])
        assert due is not None
        assert due <= 30
    until_watchers(member, 0)


def test_s14_a_flood_of_new_keys_and_ttls_leaves_the_cluster_led(member: Member) -> None:
    _, term = member.raft
    flood = request("POST", "/v2/keys/flood", "value=v&ttl=1") * 1000
    with member.connect() as connection:
        connection.sendall(flood)
        assert received(connection).count(b"HTTP/1.1 201") == 1000
    deadline = time.monotonic() + 10
    while b"nodes" in member.ask("GET", "/v2/keys/flood")[1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert member.raft[1] == term
    assert member.ask("DELETE", "/v2/keys/flood?recursive=true")[0] == 200
