"""The first election: at once where a majority is in reach, by turns, and never against a leader."""

from __future__ import annotations

import asyncio

from node_harness import Cluster, until

from cluster.first_election import TICKS_PER_TURN, FirstElection


def test_members_take_turns_and_stop_once_there_is_a_leader() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            elections = [FirstElection(node) for node in cluster.nodes.values()]
            for election in elections:
                election.check()
            await until(lambda: cluster.leader, "the first member's election")
            assert cluster.leader is cluster.nodes[1]
            assert cluster.leader.status.term == 1
            for _ in range(10 * TICKS_PER_TURN):
                for election in elections:
                    election.check()
            await until(lambda: all(node.status.applied_index for node in cluster.nodes.values()))
            assert {node.status.term for node in cluster.nodes.values()} == {1}

    asyncio.run(scenario())


def test_a_member_that_reaches_no_majority_does_not_stand() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            cluster.network.cut.update((2, 3))
            election = FirstElection(cluster.nodes[1])
            for _ in range(3):
                election.check()
            assert not cluster.nodes[1].status.term
            cluster.network.cut.clear()
            election.check()
            await until(lambda: cluster.leader)

    asyncio.run(scenario())


def test_a_member_that_starts_beside_a_leader_leaves_it_alone() -> None:
    async def scenario() -> None:
        async with Cluster(3) as cluster:
            leader = await cluster.elect()
            term = leader.status.term
            follower = cluster.follower()
            follower.campaign()
            answers: list[object] = []
            leader.propose("x", answers.append)
            await until(lambda: answers)
            assert leader.is_leader
            assert leader.status.term == term

    asyncio.run(scenario())
