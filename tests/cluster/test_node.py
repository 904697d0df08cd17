"""The runtime: writes and reads through every member, and what becomes of them when the leader goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import node_harness
import pytest
from node_harness import Cluster, until

from cluster.batching import MAX_COMMAND_BYTES
from cluster.errors import NoSpace, RequestTimeout, RequestTooLarge, Stopped
from cluster.membership import Member
from cluster.node import ClusterNode
from cluster.transport.frame import MAX_FRAME_BYTES
from cluster.wal.record import MAX_PAYLOAD_BYTES
from raft.config import Config
from raft.messages import ConfChangeType

Answers = list[Any]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def propose(node: ClusterNode, *commands: Any) -> Answers:
    answers: Answers = []
    for command in commands:
        node.propose(command, answers.append)
    return answers


def read(node: ClusterNode) -> Answers:
    answers: Answers = []
    node.read_index(answers.append)
    return answers


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_write_through_any_member_is_applied_on_all_once_and_in_one_order(size: int) -> None:
    async def scenario() -> None:
        async with Cluster(size) as cluster:
            await cluster.elect()
            answers = [propose(node, f"{id_}a", f"{id_}b") for id_, node in cluster.nodes.items()]
            await until(lambda: all(len(answer) == 2 for answer in answers), "answers")
            ledgers = [ledger.commands for ledger in cluster.ledgers.values()]
            await until(lambda: all(len(commands) == 2 * size for commands in ledgers), "applied everywhere")
            assert all(commands == ledgers[0] for commands in ledgers)
            assert sorted(ledgers[0]) == sorted(f"{id_}{x}" for id_ in cluster.ids for x in "ab")

    run(scenario)


@pytest.mark.parametrize("size", [1, 3])
def test_from_its_election_on_a_leader_asks_its_wall_clock_no_more(size: int) -> None:
    async def scenario() -> None:
        async with Cluster(size) as cluster:
            leader = await cluster.elect()
            cluster.wall_ns = 3_600_000_000_000
            assert leader.now_ns() < 1_000_000_000_000

    run(scenario)


def test_commands_that_wait_together_share_one_entry() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            answers = propose(await cluster.elect(), *range(500))
            await until(lambda: len(answers) == 500)
            assert len({index for index, _ in answers}) == 1

    run(scenario)


def test_commands_given_before_there_is_a_leader_wait_for_one() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            answers = propose(cluster.nodes[2], "early")
            await until(lambda: len(answers) == 1)
            assert answers[0][1] == "early"

    run(scenario)


@pytest.mark.parametrize("through", ["leader", "follower"])
def test_writes_under_way_when_the_leader_is_cut_off_are_applied_exactly_once_when_it_returns(through: str) -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            leader = await cluster.elect()
            node = leader if through == "leader" else cluster.follower()
            cluster.network.cut.add(leader.status.member_id)
            answers = propose(node, *range(20))
            await until(lambda: cluster.leader is not None and cluster.leader is not leader, "another leader")
            other = propose(cluster.follower(), "meanwhile")
            await until(lambda: len(other) == 1)
            cluster.network.cut.clear()
            await until(lambda: len(answers) == 20, "answers after the cut has healed")
            await until(lambda: all(len(ledger.commands) == 21 for ledger in cluster.ledgers.values()))
            for ledger in cluster.ledgers.values():
                assert [command for command in ledger.commands if command != "meanwhile"] == list(range(20))

    run(scenario)


def test_a_read_through_any_member_sees_what_was_acknowledged_before_it() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            await cluster.elect()
            for number in range(10):
                answers = propose(cluster.follower(), number)
                await until(lambda answers=answers: answers)
                for id_, node in cluster.nodes.items():
                    done = read(node)
                    await until(lambda done=done: done)
                    assert done == [None]
                    assert number in cluster.ledgers[id_].commands

    run(scenario)


def test_a_leader_without_a_majority_answers_neither_reads_nor_writes() -> None:
    async def scenario() -> None:
        async with Cluster(3, request_timeout=0.2) as cluster:
            leader = await cluster.elect()
            cluster.network.cut.add(leader.status.member_id)
            reads, writes = read(leader), propose(leader, "x")
            await until(lambda: reads and writes, "the end of patience")
            assert isinstance(reads[0], RequestTimeout)
            assert isinstance(writes[0], RequestTimeout)

    run(scenario)


def test_reads_under_way_when_the_leader_goes_are_asked_again() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            leader = await cluster.elect()
            cluster.network.cut.add(leader.status.member_id)
            done = read(cluster.follower())
            await until(lambda: done, "an answer by way of the next leader")
            assert done == [None]

    run(scenario)


def test_stopping_answers_everybody_who_waits() -> None:
    async def scenario() -> None:
        cluster = Cluster(3)
        async with cluster:
            leader = await cluster.elect()
            cluster.network.cut.update(cluster.ids)
            answers, reads = propose(leader, "x"), read(leader)
        assert isinstance(answers[0], Stopped)
        assert isinstance(reads[0], Stopped)
        late = propose(leader, "late")
        assert isinstance(late[0], Stopped)

    run(scenario)


def test_a_member_whose_disk_is_full_refuses_writes_and_answers_reads() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            leader = await cluster.elect()
            disk = cluster.disks[leader.status.member_id]
            disk.has_room = False
            (refusal,) = propose(leader, "x")
            assert isinstance(refusal, NoSpace)
            done = read(leader)
            await until(lambda: done)
            assert done == [None]
            disk.has_room = True
            answers = propose(leader, "y")
            await until(lambda: answers)
            assert answers[0][1] == "y"

    run(scenario)


def test_requests_end_in_a_timeout_even_while_the_disk_hangs() -> None:
    async def scenario() -> None:
        async with Cluster(3, request_timeout=0.2) as cluster:
            leader = await cluster.elect()
            disk = cluster.disks[leader.status.member_id]
            disk.hangs = asyncio.Event()
            writes, reads = propose(leader, "x"), read(leader)
            await until(lambda: writes and reads)
            assert isinstance(writes[0], RequestTimeout)
            disk.hangs.set()

    run(scenario)


def test_a_command_that_no_record_and_no_frame_could_hold_is_refused() -> None:
    async def scenario() -> None:
        async with Cluster(1) as cluster:
            leader = await cluster.elect()
            answers = propose(leader, b"x" * MAX_COMMAND_BYTES, "small")
            await until(lambda: len(answers) == 2, "answers")
            assert isinstance(answers[0], RequestTooLarge)
            assert cluster.ledgers[1].commands == ["small"]
            newcomer = Member(9, "", ("x" * MAX_COMMAND_BYTES,))
            leader.change_membership(ConfChangeType.ADD_LEARNER, newcomer, answers.append)
            assert isinstance(answers[2], RequestTooLarge)

    assert min(MAX_PAYLOAD_BYTES, MAX_FRAME_BYTES) > MAX_COMMAND_BYTES + (1 << 20)
    run(scenario)


@pytest.mark.plain
def test_reads_beyond_what_a_leader_without_majority_keeps_do_not_take_its_every_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_harness, "Config", partial(Config, max_waiting_reads=3))
    readies = 0

    async def scenario() -> None:
        nonlocal readies
        async with Cluster(3) as cluster:
            leader = await cluster.elect()
            process = leader._process_one_ready

            async def counted() -> None:
                nonlocal readies
                readies += 1
                assert readies < 1000
                await process()

            monkeypatch.setattr(leader, "_process_one_ready", counted)
            cluster.network.cut.add(leader.status.member_id)
            for _ in range(6):
                read(leader)
                before = readies
                await until(lambda before=before: readies > before, "its round begins")
            await until(lambda: not leader.is_leader, "it steps down")

    run(scenario)
