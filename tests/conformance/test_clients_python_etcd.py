"""python-etcd against a live server: each call that the library has for keys, watches, locks and members."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import etcd
import pytest

from .servers import Server


@pytest.fixture
def client(live: Server) -> Iterator[etcd.Client]:
    connected = etcd.Client(host=live.address[0], port=live.address[1], read_timeout=10)
    for child in connected.read("/").children:
        if child.key is not None:
            connected.delete(child.key, recursive=True)
    yield connected
    connected.http.clear()


def test_write_read_delete(client: etcd.Client) -> None:
    written = client.write("/n1", 1)
    assert (written.action, written.newKey, written.value) == ("set", True, "1")
    again = client.write("/n1", "two")
    assert not again.newKey
    assert again._prev_node.value == "1"
    assert client.read("/n1").value == "two"
    assert "/n1" in client
    assert client.delete("/n1").action == "delete"
    assert "/n1" not in client
    with pytest.raises(etcd.EtcdKeyNotFound, match="Key not found : /n1"):
        client.read("/n1")


def test_conditions(client: etcd.Client) -> None:
    client.write("/k", "a", prevExist=False)
    with pytest.raises(etcd.EtcdAlreadyExist):
        client.write("/k", "a", prevExist=False)
    swapped = client.test_and_set("/k", "b", "a")
    assert (swapped.action, swapped.value) == ("compareAndSwap", "b")
    with pytest.raises(etcd.EtcdCompareFailed, match=r"\[a != b\]"):
        client.test_and_set("/k", "c", "a")
    with pytest.raises(etcd.EtcdCompareFailed):
        client.write("/k", "c", prevIndex=swapped.modifiedIndex - 1)
    assert client.write("/k", "c", prevIndex=swapped.modifiedIndex).value == "c"
    with pytest.raises(etcd.EtcdCompareFailed):
        client.delete("/k", prevValue="nope")
    assert client.delete("/k", prevValue="c").action == "compareAndDelete"
    with pytest.raises(etcd.EtcdKeyNotFound):
        client.update(etcd.EtcdResult(node={"key": "/k", "value": "x", "modifiedIndex": 1}))


def test_update_of_a_result(client: etcd.Client) -> None:
    result = client.write("/k", "a")
    result.value = "b"
    updated = client.update(result)
    assert (updated.value, updated.action) == ("b", "compareAndSwap")
    with pytest.raises(etcd.EtcdCompareFailed):
        client.update(result)


def test_directories(client: etcd.Client) -> None:
    client.write("/d", None, dir=True)
    client.write("/d/e/f", "x")
    client.write("/d/g", "y")
    with pytest.raises(etcd.EtcdNotFile):
        client.write("/d", "x")
    with pytest.raises(etcd.EtcdNotDir):
        client.write("/d/g/h", "x")
    with pytest.raises(etcd.EtcdDirNotEmpty):
        client.delete("/d", dir=True)
    with pytest.raises(etcd.EtcdRootReadOnly):
        client.delete("/", recursive=True)
    tree = client.read("/d", recursive=True, sorted=True)
    assert [leaf.key for leaf in tree.leaves] == ["/d/e/f", "/d/g"]
    assert tree.dir
    assert client.delete("/d", recursive=True).action == "delete"


def test_in_order_keys(client: etcd.Client) -> None:
    keys = [client.write("/queue", job, append=True).key for job in ("one", "two", "three")]
    listed = client.read("/queue", recursive=True, sorted=True)
    assert [child.key for child in listed.children] == keys
    assert [child.value for child in listed.children] == ["one", "two", "three"]
    assert all(len(key) == len("/queue/") + 20 for key in keys)


def test_a_key_expires(client: etcd.Client) -> None:
    assert client.write("/short", "x", ttl=1).ttl == 1
    expired = client.watch("/short", timeout=10)
    assert (expired.action, expired.key) == ("expire", "/short")
    assert "/short" not in client


def test_refresh_keeps_the_value(client: etcd.Client) -> None:
    client.write("/lease", "holder", ttl=60)
    client.refresh("/lease", ttl=600)
    kept = client.read("/lease", quorum=True)
    assert kept.value == "holder"
    assert kept.ttl > 60


def test_watches(client: etcd.Client) -> None:
    first = client.write("/w/a", "1")
    client.write("/w/a", "2")
    assert client.read("/w/a", wait=True, waitIndex=first.modifiedIndex).value == "1"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.watch, "/w", timeout=10, recursive=True)
        deadline = time.monotonic() + 10
        while not waiting.done() and time.monotonic() < deadline:
            client.write("/w/b", "3")
        assert waiting.result().key == "/w/b"
    events = client.eternal_watch("/w", index=first.modifiedIndex, recursive=True)
    assert [next(events).value for _ in range(3)] == ["1", "2", "3"]
    with pytest.raises(etcd.EtcdWatchTimedOut):
        client.watch("/quiet", timeout=0.2)


def test_an_index_that_is_cleared(client: etcd.Client) -> None:
    first = client.write("/w/a", "1")
    for _ in range(1001):
        client.write("/w/b", "x")
    with pytest.raises(etcd.EtcdEventIndexCleared) as failure:
        client.watch("/w/a", index=first.modifiedIndex)
    assert failure.value.payload["index"] == first.modifiedIndex + 1001


def test_a_lock_is_held_by_one(client: etcd.Client) -> None:
    one, other = etcd.Lock(client, "lock"), etcd.Lock(client, "lock")
    assert one.acquire(blocking=False, lock_ttl=60)
    assert not other.acquire(blocking=False, lock_ttl=60)
    one.release()
    assert other.acquire(blocking=True, lock_ttl=60, timeout=5)
    assert other.is_acquired
    other.release()


def test_what_it_knows_of_the_cluster(client: etcd.Client, live: Server) -> None:
    assert client.machines == [live.url]
    assert client.leader["clientURLs"] == [live.url]
    assert list(client.members) == [live.member_id]
    assert client.stats["state"] == "StateLeader"
    assert client.leader_stats["leader"] == live.member_id
    assert client.store_stats["setsSuccess"] >= 0
    assert client.version == client.version
    assert client.cluster_version.startswith("3.")


def test_odd_characters(client: etcd.Client) -> None:
    for key, value in {"/with space": "a b", "/\u00e9t\u00e9": "\u20ac <&>", "/plus+": "1+1=2;%"}.items():
        client.write(key, value)
        assert client.read(key).value == value
        assert client.read(key).key == key
