"""etcdctl (v2 mode) against a live server: what it prints and its exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time

import pytest

from .servers import Server

ETCDCTL = shutil.which("etcdctl")
pytestmark = pytest.mark.skipif(ETCDCTL is None, reason="no `etcdctl` on PATH (apt-get install etcd-client)")

Result = tuple[int, str, str]


def etcdctl(live: Server, *arguments: str, stdin: str = "") -> Result:
    done = subprocess.run(
        [str(ETCDCTL), "--endpoints", live.url, *arguments],
        input=stdin,
        env={**os.environ, "ETCDCTL_API": "2"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def error(code: int, message: str, cause: str) -> str:
    return rf"Error:  {code}: {message} \({cause}\) \[\d+\]\n"


@pytest.fixture(autouse=True)
def empty(live: Server) -> None:
    for key in etcdctl(live, "ls")[1].split():
        etcdctl(live, "rm", "--recursive", key)


def test_set_get_update_remove(live: Server) -> None:
    assert etcdctl(live, "set", "/a", "one") == (0, "one\n", "")
    assert etcdctl(live, "get", "/a") == (0, "one\n", "")
    assert etcdctl(live, "get", "--quorum", "/a") == (0, "one\n", "")
    assert etcdctl(live, "update", "/a", "two") == (0, "two\n", "")
    assert etcdctl(live, "set", "/a", stdin="from stdin\n")[1] == "from stdin\n\n"
    assert etcdctl(live, "rm", "/a") == (0, "PrevNode.Value: from stdin\n\n", "")


def test_make(live: Server) -> None:
    assert etcdctl(live, "mk", "/a", "one") == (0, "one\n", "")
    code, _, message = etcdctl(live, "mk", "/a", "two")
    assert code == 4
    assert re.fullmatch(error(105, "Key already exists", "/a"), message)
    assert etcdctl(live, "mk", "--in-order", "/q", "one") == (0, "one\n", "")
    assert re.fullmatch(r"/q/\d{20}\n", etcdctl(live, "ls", "/q")[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "/none"), error(100, "Key not found", "/none")),
        (("update", "/none", "x"), error(100, "Key not found", "/none")),
        (("rm", "/dir"), error(102, "Not a file", "/dir")),
        (("rmdir", "/dir"), error(108, "Directory not empty", "/dir")),
        (("mkdir", "/dir"), error(105, "Key already exists", "/dir")),
        (("set", "/dir", "x"), error(102, "Not a file", "/dir")),
        (("set", "/dir/file/below", "x"), error(104, "Not a directory", "/dir/file")),
        (("set", "--swap-with-value", "y", "/dir/file", "z"), error(101, "Compare failed", r"\[y != x\]")),
        (("rm", "--with-value", "y", "/dir/file"), error(101, "Compare failed", r"\[y != x\]")),
        (("rm", "--recursive", "/"), error(107, "Root is read only", "/")),
    ],
)
def test_errors(live: Server, arguments: tuple[str, ...], message: str) -> None:
    etcdctl(live, "set", "/dir/file", "x")
    code, out, err = etcdctl(live, *arguments)
    assert (code, out) == (4, "")
    assert re.fullmatch(message, err)


def test_directories(live: Server) -> None:
    assert etcdctl(live, "mkdir", "/d") == (0, "", "")
    assert etcdctl(live, "setdir", "/e") == (0, "", "")
    assert etcdctl(live, "updatedir", "--ttl", "1000", "/d") == (0, "", "")
    etcdctl(live, "set", "/d/b", "x")
    etcdctl(live, "set", "/d/a/c", "x")
    etcdctl(live, "set", "/d/_hidden", "x")
    assert etcdctl(live, "ls", "--sort", "--recursive", "-p", "/") == (0, "/d/\n/d/a/\n/d/a/c\n/d/b\n/e/\n", "")
    assert etcdctl(live, "get", "/d") == (1, "", "/d: is a directory\n")
    assert etcdctl(live, "rmdir", "/e") == (0, "", "")
    assert etcdctl(live, "rm", "--recursive", "/d")[:2] == (0, "")


def test_compare_and_swap(live: Server) -> None:
    etcdctl(live, "set", "/a", "one")
    assert etcdctl(live, "set", "--swap-with-value", "one", "/a", "two") == (0, "two\n", "")
    index = json.loads(etcdctl(live, "-o", "json", "get", "/a")[1])["node"]["modifiedIndex"]
    assert etcdctl(live, "set", "--swap-with-index", str(index), "/a", "three") == (0, "three\n", "")
    assert etcdctl(live, "rm", "--with-value", "three", "/a") == (0, "\n", "")


def test_output_formats(live: Server) -> None:
    etcdctl(live, "set", "--ttl", "1000", "/a", "one")
    extended = etcdctl(live, "-o", "extended", "get", "/a")[1]
    assert re.fullmatch(
        r"Key: /a\nCreated-Index: (\d+)\nModified-Index: \1\nTTL: (1000|999)\nIndex: \1\n\none\n", extended
    )
    printed = json.loads(etcdctl(live, "-o", "json", "get", "/a")[1])
    assert printed["action"] == "get"
    assert (printed["node"]["key"], printed["node"]["value"], printed["node"]["nodes"]) == ("/a", "one", None)


def test_watches(live: Server) -> None:
    etcdctl(live, "set", "/w/a", "one")
    index = json.loads(etcdctl(live, "-o", "json", "get", "/w/a")[1])["node"]["modifiedIndex"]
    etcdctl(live, "set", "/w/b", "two")
    assert etcdctl(live, "watch", "--after-index", str(index - 1), "/w/a") == (0, "one\n", "")
    assert etcdctl(live, "watch", "-r", "--after-index", str(index), "/w") == (0, "[set] /w/b\ntwo\n", "")
    with subprocess.Popen(
        [str(ETCDCTL), "--endpoints", live.url, "watch", "-r", "/w"],
        env={**os.environ, "ETCDCTL_API": "2"},
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        deadline = time.monotonic() + 10
        while waiting.poll() is None and time.monotonic() < deadline:
            etcdctl(live, "set", "/w/c", "three")
        assert waiting.communicate(timeout=5)[0] == "[set] /w/c\nthree\n"


def test_the_cluster(live: Server) -> None:
    health = f"member {live.member_id} is healthy: got healthy result from {live.url}\ncluster is healthy\n"
    assert etcdctl(live, "cluster-health") == (0, health, "")
    member = f"{live.member_id}: name=member peerURLs={live.peer_url} clientURLs={live.url} isLeader=true\n"
    assert etcdctl(live, "member", "list") == (0, member, "")
    unknown = "Couldn't find a member in the cluster with an ID of zz.\n"
    assert etcdctl(live, "member", "remove", "zz") == (1, "", unknown)
    updated = f"Updated member with ID {live.member_id} in cluster\n"
    assert etcdctl(live, "member", "update", live.member_id, live.peer_url) == (0, updated, "")
