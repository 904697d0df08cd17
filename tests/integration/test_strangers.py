"""Who calls on the peer port over plain HTTP and is not known there: a liar, or a member that joined meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

from in_process import Cluster, MemberProcess, run

from cluster.transport.frame import encode_frame
from cluster.transport.handshake import STREAM_PATH, UPGRADE, Identity, request_headers
from raft.messages import Message, MessageType

STRANGER = 0xBAD
FAR_TERM = 1 << 40


async def call(victim: MemberProcess, sender: int = STRANGER) -> bytes:
    """What a stranger hears that says where it is, and would lead for ever."""
    identity = victim.server._identity
    stated = Identity(identity.cluster_id, sender, "0", ("http://127.0.0.1:9",))
    headers = {
        "Host": "peer",
        "Connection": "Upgrade",
        "Upgrade": UPGRADE,
        **request_headers(stated, identity.member_id),
    }
    head = [f"GET {STREAM_PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    message = Message(MessageType.APP, to=identity.member_id, sender=sender, term=FAR_TERM)
    reader, writer = await asyncio.open_connection(*victim.peer_address)
    writer.write("\r\n".join([*head, "", ""]).encode())
    try:
        said = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        if b" 101 " in said:
            writer.write(encode_frame(message))
            await asyncio.sleep(0.1)
    finally:
        writer.transport.abort()
    return said


async def insist(victim: MemberProcess) -> set[bytes]:
    """The status lines of many calls, with an answer of the others between them."""
    heard = set()
    for _ in range(4):
        heard.add((await call(victim)).split(b"\r\n")[0])
        asking = victim.server._vouching._asking
        if asking is not None:
            await asyncio.wait([asking], timeout=10)
    return heard


def test_a_liar_moves_nothing_while_a_majority_says_that_it_is_none_of_theirs(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.followers[1].stop()
        victim = cluster.followers[0]
        term = victim.server.node.status.term
        assert await insist(victim) == {b"HTTP/1.1 404 sender is not a member"}
        assert STRANGER not in victim.server._transport.peer_ids
        assert victim.server.node.status.term == term
        assert (await victim.put("/a", value="1")).status == 201

    run(tmp_path, scenario)


def test_a_liar_moves_nothing_in_a_cluster_of_one(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        (victim,) = cluster.members
        term = victim.server.node.status.term
        assert await insist(victim) == {b"HTTP/1.1 404 sender is not a member"}
        assert victim.server.node.status.term == term

    run(tmp_path, scenario, size=1)


async def replace(cluster: Cluster, old: MemberProcess, number: int) -> MemberProcess:
    """A member with another id, other addresses and other files takes the place of `old`."""
    member = await cluster.join(f"new{number}", cluster.leader)
    await cluster.settle()
    gone = f"{old.server.node.status.member_id:x}"
    async with cluster.session.delete(f"{member.url}/v2/members/{gone}") as response:
        assert response.status == 204
    await old.stop()
    cluster.members.remove(old)
    await cluster.settle()
    return member


def test_a_member_that_was_away_while_all_others_were_replaced_comes_back(tmp_path: Path) -> None:
    """Nobody is left who could vouch for them; then they are believed."""

    async def scenario(cluster: Cluster) -> None:
        away, *others = (*cluster.followers, cluster.leader)
        await away.stop()
        for number, old in enumerate(others):
            await replace(cluster, old, number)
        assert (await cluster.leader.put("/late", value="1")).status == 201
        await away.start()
        await cluster.check_alike()
        assert (await away.get("/late", quorum="true")).node["value"] == "1"

    run(tmp_path, scenario)


def test_a_member_that_joined_while_another_was_away_is_let_in_on_the_others_word(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        away, other = cluster.followers
        await away.stop()
        newcomer = await replace(cluster, other, 0)
        await away.start()
        await cluster.check_alike()
        assert newcomer.server.node.status.member_id in away.server._transport.peer_ids
        with_another_liar = await insist(away)
        assert with_another_liar == {b"HTTP/1.1 404 sender is not a member"}

    run(tmp_path, scenario)
