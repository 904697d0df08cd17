"""TTLs where members' clocks are hours apart and leaders die: nothing expires early, and nothing lives for ever."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from members import Answer, Member, Members, members
from procfile import eventually

from cluster.membership import compute_member_id

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
CLOCKS = ("+3600", "+0", "-120")
TTL = 6
SECONDS = 10.0
MOST_STARTS = 12

pytestmark = pytest.mark.skipif(not FAKETIME, reason="no libfaketime (apt-get install faketime)")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Members]:
    with members(tmp_path) as started:
        started.sort(key=lambda member: compute_member_id([member.peer_url], "etcd-cluster"))  # the first stands first
        for member, clock in zip(started, CLOCKS, strict=True):
            member.variables |= {
                "LD_PRELOAD": str(FAKETIME[0]),
                "FAKETIME": clock,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        yield started


def ask(cluster: Members, request: Callable[[Member], Answer]) -> Answer:
    """The first answer of members drawn by lot that is not a failure."""

    def attempt() -> Answer | None:
        try:
            answer = request(random.choice(cluster))
        except (OSError, http.client.HTTPException):
            return None
        return answer if answer.status < 500 else None

    return eventually(attempt, "answer")


@contextmanager
def leaders_die(cluster: Members, every: float) -> Iterator[list[Member]]:
    """kill -9, and a start soon after. Gives those killed."""
    killed: list[Member] = []
    stop = threading.Event()

    def kill_and_start() -> None:
        while not stop.wait(every):
            leader = cluster.leader
            leader.kill()
            killed.append(leader)
            stop.wait(0.5)
            leader.start()

    thread = threading.Thread(target=kill_and_start)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


class Expiring:
    """Keys written once with a TTL, and read shortly before it is over."""

    def __init__(self, cluster: Members) -> None:
        self._cluster = cluster
        self._sent: dict[str, float] = {}
        self.read_in_time = 0
        self.early: list[str] = []

    def write(self) -> None:
        key, sent = f"/once/{len(self._sent)}", time.monotonic()
        if ask(self._cluster, lambda member: member.put(key, value="x", ttl=str(TTL))).status == 201:
            self._sent[key] = sent

    def check(self) -> None:
        for key, sent in self._sent.items():
            if TTL - 1.5 < time.monotonic() - sent < TTL:
                answer = ask(self._cluster, lambda member, key=key: member.get(key, quorum="true"))
                if time.monotonic() - sent < TTL:
                    self.read_in_time += 1
                    if answer.status != 200:
                        self.early.append(f"{key} after {time.monotonic() - sent:.1f} s")


def refresh_until(stop: threading.Event, cluster: Members, lost: list[Answer]) -> None:
    """At half its TTL, each time until it is acknowledged."""
    while not stop.wait(TTL / 2):
        answer = ask(cluster, lambda member: member.put("/refreshed", ttl=str(TTL), refresh="true", prevExist="true"))
        if answer.status != 200:
            lost.append(answer)


def test_leaders_that_die_and_differ_in_their_clocks_expire_nothing_early(cluster: Members) -> None:
    cluster.start()
    assert cluster[0].put("/refreshed", value="mine", ttl=str(TTL)).status == 201
    expiring, lost, stop = Expiring(cluster), list[Answer](), threading.Event()
    refresher = threading.Thread(target=refresh_until, args=(stop, cluster, lost))
    refresher.start()
    try:
        with leaders_die(cluster, every=2.5) as killed:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                expiring.write()
                expiring.check()
                time.sleep(0.2)
    finally:
        stop.set()
        refresher.join()
    assert not lost, f"the refresher lost its key: {lost[0]}"
    assert not expiring.early, expiring.early
    assert expiring.read_in_time >= 3
    assert len(killed) >= 3
    cluster.start()
    eventually(lambda: cluster[0].get("/once/0").status == 404, "expiry", seconds=TTL)
    eventually(lambda: cluster[0].get("/refreshed").status == 404, "expiry of what nobody refreshes", seconds=2 * TTL)


def test_a_cluster_that_starts_again_under_a_leader_with_another_clock_expires_nothing_early(cluster: Members) -> None:
    ahead, led = cluster[0], False
    for member in cluster:
        if member is not ahead:
            member.start()  # these two tell the cluster's time
    eventually(lambda: cluster[1].is_healthy(), "majority")
    sent = time.monotonic()
    assert cluster[1].put("/k", value="x", ttl="600").status == 201
    cluster.start()
    for _ in range(MOST_STARTS):
        time.sleep(0.5)  # what a file of the clock may take
        cluster.kill()
        ahead.start()
        cluster.start()
        led = cluster.leader is ahead
        node = cluster[0].get("/k", quorum="true").node
        assert 600 - (time.monotonic() - sent) - 2 <= node["ttl"] <= 600
        if led:
            break
    assert led
