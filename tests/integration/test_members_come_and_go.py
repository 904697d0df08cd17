"""Members that come and go while the cluster works, and the cluster that one survivor becomes."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
from in_process import Answer, Cluster, MemberProcess, free_ports, run, until

from cluster.data_dir import DataDir
from etcdpy.server import be_alone
from etcdpy.url import Url


async def members_call(member: MemberProcess, method: str, path: str, peer_url: str = "") -> Answer:
    async with aiohttp.ClientSession() as session:
        body = {"peerURLs": [peer_url]} if peer_url else None
        async with session.request(method, f"{member.url}/v2/members{path}", json=body) as response:
            return Answer(response.status, response.headers, await response.read())


async def remove(cluster: Cluster, member: MemberProcess) -> None:
    """Removes a member through another one, and waits until it has heard of it and stopped."""
    other = next(running for running in cluster.running if running is not member)
    member_id = member.server.node.status.member_id
    node = other.server.node
    await until(lambda: len(node.reachable()) == len(node.membership.members), "everybody in reach")
    stopped = asyncio.create_task(member.server.run_until_told())
    assert (await members_call(other, "DELETE", f"/{member_id:x}")).status == 204
    assert await asyncio.wait_for(stopped, 20) == 0
    await member.stop()
    assert (await members_call(other, "DELETE", f"/{member_id:x}")).status == 410


def test_all_members_are_replaced_one_by_one_under_load_and_no_write_is_lost(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    stop = asyncio.Event()

    async def write(cluster: Cluster, name: str) -> None:
        i = 0
        while not stop.is_set():
            member = cluster.running[i % len(cluster.running)]
            i += 1
            with contextlib.suppress(aiohttp.ClientError):  # the member has just gone: its fate is not known
                answer = await member.put(f"/{name}/{i}", value=str(i))
                if answer.status == 201:
                    acknowledged[f"/{name}/{i}"] = str(i)

    async def scenario(cluster: Cluster) -> None:
        writers = [asyncio.create_task(write(cluster, f"w{n}")) for n in range(4)]
        for old in list(cluster.members):
            await cluster.join(f"new-{old.name}", cluster.running[0])
            await remove(cluster, old)
        count = len(acknowledged)
        await until(lambda: len(acknowledged) > count + 50, "writes to the new members")
        stop.set()
        await asyncio.gather(*writers)
        await cluster.settle()
        assert {member.name for member in cluster.running} == {"new-m0", "new-m1", "new-m2"}
        for member in cluster.running:
            assert len(member.server.node.membership.members) == 3
            for key, value in acknowledged.items():
                assert (await member.get(key)).node["value"] == value

    run(tmp_path, scenario)


def test_adding_a_second_member_does_not_stop_a_cluster_of_one(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        (alone,) = cluster.members
        peer = Url("http", "127.0.0.1", free_ports(1)[0])
        assert (await members_call(alone, "POST", "", str(peer))).status == 201
        assert (await alone.put("/still", value="works")).status == 201
        assert (await members_call(alone, "POST", "", str(peer))).status == 409

    run(tmp_path, scenario, size=1)


def test_removing_who_is_needed_for_a_majority_is_refused(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        away, *others = cluster.members
        await away.stop()
        await until(lambda: all(len(m.server.node.reachable()) == 2 for m in others), "the loss to be noticed")
        await cluster.settle()
        needed = others[0].server.node.status.member_id
        assert (await members_call(others[1], "DELETE", f"/{needed:x}")).status == 500
        assert len(others[1].server.node.membership.members) == 3
        assert (await others[0].put("/x", value="y")).status == 201
        await away.start()

    run(tmp_path, scenario)


def test_one_survivor_becomes_a_cluster_of_its_own_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for i in range(50):
            assert (await cluster.members[i % 3].put(f"/k{i}", value=str(i))).status == 201
        await cluster.settle()
        survivor, *lost = cluster.members
        cluster_id = survivor.server.node.membership.cluster_id
        await cluster.stop()
        directory = DataDir.open(survivor.config.data_dir, None)
        await be_alone(survivor.config, directory)
        await be_alone(survivor.config, directory)
        directory.close()
        await survivor.start()
        await cluster.settle()
        assert [member.name for member in survivor.server.node.membership.members] == [survivor.name]
        assert survivor.server.node.membership.cluster_id == cluster_id
        for i in range(50):
            assert (await survivor.get(f"/k{i}", quorum="true")).node["value"] == str(i)
        assert (await survivor.put("/new", value="x")).status == 201
        await lost[0].start()
        assert await asyncio.wait_for(lost[0].server.run_until_told(), 20) == 0
        await lost[0].stop()

    run(tmp_path, scenario)
