"""Patroni's etcd v2 store against a live server: the leader lock, its TTL, and the watch that wakes the replicas."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from patroni.dcs import get_dcs
from patroni.dcs.etcd import Etcd

from .servers import Server

SCOPES = iter(range(1000))


@pytest.fixture
def scope(live: Server) -> str:
    return f"cluster{next(SCOPES)}"


@pytest.fixture
def stores(live: Server, scope: str) -> Iterator[dict[str, Etcd]]:
    made = {name: store(live, scope, name) for name in ("one", "two")}
    yield made
    for each in made.values():
        each._client.http.clear()


def store(live: Server, scope: str, name: str, ttl: int = 30) -> Any:
    host = "{}:{}".format(*live.address)
    made = get_dcs(
        {"scope": scope, "name": name, "ttl": ttl, "loop_wait": 1, "retry_timeout": 5, "etcd": {"host": host}}
    )
    assert isinstance(made, Etcd)
    return made


def test_one_leader_at_a_time(stores: dict[str, Etcd]) -> None:
    one, two = stores["one"], stores["two"]
    assert one.initialize(sysid="7")
    assert not two.initialize(sysid="8")
    assert one.attempt_to_acquire_leader()
    assert not two.attempt_to_acquire_leader()
    cluster = two.get_cluster()
    assert cluster.initialize == "7"
    assert cluster.leader is not None
    assert cluster.leader.name == "one"
    assert one.update_leader(cluster, None)
    assert not two.delete_leader(cluster.leader)
    assert one.delete_leader(cluster.leader)
    assert two.attempt_to_acquire_leader()


def test_members_config_failover_sync_and_history(stores: dict[str, Etcd]) -> None:
    one, two = stores["one"], stores["two"]
    for each in (one, two):
        assert each.touch_member({"conn_url": "postgres://127.0.0.1:1/", "state": "running"})
    assert one.set_config_value('{"ttl": 30}')
    cluster = one.get_cluster()
    assert cluster.config is not None
    assert not two.set_config_value("{}", version=cluster.config.version + 1)
    assert two.set_config_value("{}", version=cluster.config.version)
    assert one.set_failover_value('{"leader": "one"}')
    assert one.set_history_value("[]")
    version = one.set_sync_state_value("{}")
    assert version
    assert one.delete_sync_state(version=version)
    seen = two.get_cluster()
    assert sorted(member.name for member in seen.members) == ["one", "two"]
    assert seen.failover is not None
    assert seen.failover.leader == "one"
    assert one.delete_cluster()
    assert two.get_cluster().is_empty()


def test_the_leader_lock_expires(live: Server, scope: str, stores: dict[str, Etcd]) -> None:
    one, two = store(live, scope, "one", ttl=1), stores["two"]
    assert one.attempt_to_acquire_leader()
    leader = two.get_cluster().leader
    assert leader is not None
    assert two.watch(leader.version, 10)
    assert two.attempt_to_acquire_leader()
    one._client.http.clear()


def test_a_watch_wakes_on_the_leader_key(stores: dict[str, Etcd]) -> None:
    one, two = stores["one"], stores["two"]
    assert one.attempt_to_acquire_leader()
    leader = two.get_cluster().leader
    assert leader is not None
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(two.watch, leader.version, 8)
        assert one.delete_leader(leader)
        assert waiting.result()
        assert time.monotonic() - began < 5
    assert two.get_cluster().is_unlocked()


def test_a_quiet_watch_times_out(stores: dict[str, Etcd]) -> None:
    one, two = stores["one"], stores["two"]
    assert one.attempt_to_acquire_leader()
    leader = two.get_cluster().leader
    assert leader is not None
    assert not two.watch(leader.version, 1)
