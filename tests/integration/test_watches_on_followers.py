"""Watches on members that only follow: long-poll, recursive, from the past, streams, across a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from in_process import Answer, Cluster, MemberProcess, run, until


async def watching(member: MemberProcess, key: str, **parameters: str) -> asyncio.Task[Answer]:
    """A long-poll that is in place on the member."""
    before = member.server.store.hub.count
    waiting = asyncio.create_task(member.get(key, wait="true", **parameters))
    await until(lambda: member.server.store.hub.count > before, "watch in place")
    return waiting


def test_a_long_poll_on_a_follower_sees_a_write_through_another(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        watcher, writer = cluster.followers
        exact = await watching(watcher, "/w/a")
        below = await watching(watcher, "/w", recursive="true")
        await writer.put("/w/b/c", value="first")
        written = await writer.put("/w/a", value="second")
        assert (await exact).json == written.json
        assert (await below).node["key"] == "/w/b/c"

    run(tmp_path, scenario)


def test_a_watch_from_the_past_is_answered_at_once_and_alike_on_all(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        first = await cluster.leader.put("/w/a", value="1")
        await cluster.leader.put("/w/a", value="2")
        await cluster.settle()
        index = str(first.node["modifiedIndex"])
        answers = [await member.get("/w", wait="true", recursive="true", waitIndex=index) for member in cluster.members]
        assert [answer.json for answer in answers] == [first.json] * 3

    run(tmp_path, scenario)


def test_a_history_that_is_cleared_is_401_on_every_member(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        first = (await cluster.leader.put("/n", value="0")).node["modifiedIndex"]
        await asyncio.gather(*(cluster.leader.put("/n", value=str(i)) for i in range(1000)))
        await cluster.settle()
        for member in cluster.members:
            cleared = await member.get("/n", wait="true", waitIndex=str(first))
            assert (cleared.status, cleared.json["errorCode"]) == (400, 401)
            oldest = await member.get("/n", wait="true", waitIndex=str(first + 1))
            assert oldest.node["modifiedIndex"] == first + 1

    run(tmp_path, scenario)


async def collect(member: MemberProcess, key: str, count: int, started: asyncio.Event, **parameters: str) -> list[Any]:
    events: list[Any] = []
    async with member.stream(key, recursive="true", **parameters) as stream:
        started.set()
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events


def test_streams_on_all_members_give_every_event_once_and_in_order(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        started = [asyncio.Event() for _ in cluster.members]
        streams = [
            asyncio.create_task(collect(member, "/s", 300, event))
            for member, event in zip(cluster.members, started, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in started))
        writes = await asyncio.gather(
            *(member.post("/s", value=str(i)) for i in range(100) for member in cluster.members)
        )
        seen = await asyncio.gather(*streams)
        expected = sorted((answer.json for answer in writes), key=lambda event: event["node"]["modifiedIndex"])
        assert seen == [expected] * 3

    run(tmp_path, scenario)


def test_a_watch_resumed_after_a_restart_of_its_member_misses_nothing(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        follower = cluster.followers[0]
        seen = await cluster.leader.put("/w", value="seen")
        await follower.stop()
        missed = [(await cluster.leader.put("/w", value=f"missed {i}")).json for i in range(3)]
        await follower.start()
        await cluster.settle()
        resumed = await collect(follower, "/w", 3, asyncio.Event(), waitIndex=str(seen.node["modifiedIndex"] + 1))
        assert resumed == missed

    run(tmp_path, scenario)


def test_a_stopping_member_ends_its_watches(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        follower = cluster.followers[0]
        waiting = [await watching(follower, "/w") for _ in range(5)]
        stopping = asyncio.create_task(follower.stop())
        ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 3)
        await asyncio.wait_for(stopping, 3)
        assert all(isinstance(end, Exception) or not end.body for end in ended)

    run(tmp_path, scenario)
