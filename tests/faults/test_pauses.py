"""Processes that are stopped for longer than an election takes, and know nothing of it when they go on."""

from __future__ import annotations

import http.client
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from members import Answer, Member, Members, members
from procfile import eventually

ROUNDS = 4
READS = 16


def write(member: Member, value: int) -> bool:
    try:
        return member.request("PUT", "/v2/keys/counter", f"value={value}", seconds=3).status in (200, 201)
    except (OSError, http.client.HTTPException):
        return False


def read(member: Member) -> Answer | None:
    try:
        return member.request("GET", "/v2/keys/counter?quorum=true", seconds=10)
    except (OSError, http.client.HTTPException):
        return None


def count_past(cluster: Members, paused: Member, value: int) -> int:
    """A few writes through the others, each acknowledged. Returns the last value."""
    others = [member for member in cluster if member is not paused]
    for step in range(1, 6):
        eventually(lambda step=step: write(others[step % 2], value + step), "write without the old leader")
    return value + 5


def test_a_leader_that_was_paused_never_answers_a_stale_linearizable_read(tmp_path: Path) -> None:
    with members(tmp_path) as cluster, ThreadPoolExecutor(READS) as threads:
        cluster.start()
        value, answered = 0, 0
        assert write(cluster[0], value)
        for _ in range(ROUNDS):
            leader = cluster.leader
            leader.send(signal.SIGSTOP)
            try:
                value = count_past(cluster, leader, value)
                # They wait in the sockets of the one that is paused, which sees them first when it goes on.
                reads = [threads.submit(read, leader) for _ in range(READS)]
                eventually(lambda reads=reads: all(each.running() for each in reads), "reads under way")
            finally:
                leader.send(signal.SIGCONT)
            for answer in filter(None, (each.result() for each in reads)):
                assert answer.status >= 500 or int(answer.node["value"]) >= value
                answered += answer.status == 200
            cluster.start()
        assert answered >= READS
