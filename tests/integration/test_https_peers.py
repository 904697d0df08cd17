"""Peers over mutual TLS: the cluster works, and nobody else gets a word in."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from https_cluster import HERE, Pki, answers, change, peer_settings, run_prepared, secured
from in_process import Cluster, MemberProcess, free_ports, until

from cluster.transport.frame import encode_frame
from cluster.transport.handshake import STREAM_PATH, UPGRADE, Identity, request_headers
from etcdpy.joining import NoPeerAnswers
from etcdpy.pki import Kind
from etcdpy.url import Url
from raft.messages import Message, MessageType


def mutual(pki: Pki) -> Callable[[MemberProcess], None]:
    def prepare(member: MemberProcess) -> None:
        secured(member)
        change(member, **peer_settings(pki, member.name))

    return prepare


def test_members_agree_over_mutual_tls_and_catch_up_after_a_pause(tmp_path: Path) -> None:
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        assert (await cluster.followers[0].put("/a", value="1")).status == 201
        late = cluster.followers[1]
        await late.stop()
        for number in range(20):
            assert (await cluster.leader.put(f"/many/{number}", value="x")).status == 201
        await late.start()
        await cluster.check_alike()
        assert (await late.get("/many/19")).node["value"] == "x"

    run_prepared(tmp_path, mutual(pki), scenario)


def test_renewed_certificates_need_no_restart(tmp_path: Path) -> None:
    """Each in turn gets a certificate of a new authority, while both are trusted; then the old one goes."""
    old, new = Pki(tmp_path, "old"), Pki(tmp_path, "new")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(old.ca_files.certificate.read_bytes())

    def prepare(member: MemberProcess) -> None:
        mutual(old)(member)
        change(member, peer_trusted_ca_file=str(bundle), peer_crl_file=None)

    async def scenario(cluster: Cluster) -> None:
        bundle.write_bytes(old.ca_files.certificate.read_bytes() + new.ca_files.certificate.read_bytes())
        for member in cluster.members:
            assert new.issue(Kind.PEER, member.name, HERE)[0] == member.config.peer_cert_file
        bundle.write_bytes(new.ca_files.certificate.read_bytes())
        for member in cluster.members:
            for other in cluster.members:
                for stream in list(other.server._transport._inbound.values()):
                    stream.close()
            await until(lambda: all_connected(cluster), "streams that came up again")
            assert (await member.put("/a", value=member.name)).status in (200, 201)

    run_prepared(tmp_path, prepare, scenario)


def all_connected(cluster: Cluster) -> bool:
    transports = [member.server._transport for member in cluster.running]
    return all(t.active_since(peer) is not None for t in transports for peer in t.peer_ids) and all(
        len(t._inbound) == len(t.peer_ids) for t in transports
    )


async def joining(cluster: Cluster, pki: Pki) -> MemberProcess:
    """A fourth member, added and configured, and not started."""
    asked = cluster.running[0]
    client, peer = (
        Url(scheme, "127.0.0.1", port) for scheme, port in zip(("http", "https"), free_ports(2), strict=True)
    )
    async with cluster.session.post(f"{asked.url}/v2/members", json={"peerURLs": [str(peer)]}) as response:
        assert response.status == 201
    config = dataclasses.replace(
        asked.config,
        name="m3",
        data_dir=str(Path(asked.config.data_dir).parent / "m3"),
        listen_client_urls=(client,),
        advertise_client_urls=(client,),
        listen_peer_urls=(peer,),
        initial_advertise_peer_urls=(peer,),
        initial_cluster={**asked.config.initial_cluster, "m3": (str(peer),)},
        initial_cluster_state="existing",
        **peer_settings(pki, "m3"),
    )
    return MemberProcess(config, cluster.session)


def test_a_member_joins_over_mutual_tls(tmp_path: Path) -> None:
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        await cluster.leader.put("/a", value="1")
        member = await joining(cluster, pki)
        await member.start()
        cluster.members.append(member)
        await cluster.check_alike()
        assert (await member.get("/a", quorum="true")).node["value"] == "1"

    run_prepared(tmp_path, mutual(pki), scenario)


def test_a_member_does_not_join_a_cluster_whose_authority_it_does_not_know(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "other")
    ours, theirs = Pki(tmp_path), Pki(tmp_path / "other")

    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(NoPeerAnswers, match="certificate"):
            await (await joining(cluster, theirs)).start()

    run_prepared(tmp_path, mutual(ours), scenario)


INTRUDERS: dict[str, Callable[[Pki, Pki], ssl.SSLContext | None]] = {
    "plain": lambda ours, theirs: None,
    "no certificate": lambda ours, theirs: ours.client(),
    "another authority": lambda ours, theirs: ours.client(*theirs.issue(Kind.PEER, "m1", HERE)),
    "a client's certificate": lambda ours, theirs: ours.client(*ours.issue(Kind.CLIENT, "root")),
    "a server's certificate": lambda ours, theirs: ours.client(*ours.issue(Kind.SERVER, "m1", HERE)),
    "another host": lambda ours, theirs: ours.client(*ours.issue(Kind.PEER, "evil", ("127.0.0.2", "evil.example"))),
    "a name that only begins alike": lambda ours, theirs: ours.client(
        *ours.issue(Kind.PEER, "evil", ("127.0.0.1.evil.example",))
    ),
    "expired": lambda ours, theirs: ours.client(*ours.issue(Kind.PEER, "old", HERE, ours.period(begin=-2, end=-1))),
    "not yet valid": lambda ours, theirs: ours.client(*ours.issue(Kind.PEER, "new", HERE, ours.period(begin=1, end=2))),
    "revoked": lambda ours, theirs: revoked(ours),
}


def revoked(pki: Pki) -> ssl.SSLContext:
    files = pki.issue(Kind.PEER, "bad", HERE)
    pki.revoke(files[0])
    return pki.client(*files)


def forged_stream(victim: MemberProcess, sender: int | None = None) -> tuple[bytes, bytes]:
    """What the other member would say, if it wanted to be leader for ever."""
    identity = victim.server._identity
    sender = sender or next(iter(victim.server._transport.peer_ids))
    headers = {
        "Host": "peer",
        "Connection": "Upgrade",
        "Upgrade": UPGRADE,
        **request_headers(Identity(identity.cluster_id, sender, "0"), identity.member_id),
    }
    head = [f"GET {STREAM_PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    message = Message(MessageType.APP, to=identity.member_id, sender=sender, term=1 << 40)
    return "\r\n".join([*head, "", ""]).encode(), encode_frame(message)


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_an_intruder_changes_nothing(tmp_path: Path, intruder: str) -> None:
    os.mkdir(tmp_path / "other")
    ours, theirs = Pki(tmp_path), Pki(tmp_path / "other", "other")

    async def scenario(cluster: Cluster) -> None:
        victim = cluster.followers[0]
        status = victim.server.node.status
        context = INTRUDERS[intruder](ours, theirs)
        said = await answers(victim.peer_address, context, *forged_stream(victim))
        assert not said or said.startswith(b"HTTP/1.1 403 "), said[:200]
        assert victim.server.node.status == status
        assert (await victim.put("/a", value="still here")).status == 201
        await cluster.settle()
        assert victim.server.node.status.term == status.term

    run_prepared(tmp_path, mutual(ours), scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_a_stranger_with_a_certificate_of_our_authority_changes_nothing(tmp_path: Path, host: str) -> None:
    """Whatever it says of itself: it is no member."""
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        victim = cluster.followers[0]
        status = victim.server.node.status
        stated = f"X-PeerURLs: https://{host}:2380\r\n\r\n".encode()
        head, frame = forged_stream(victim, sender=0xBAD)
        context = pki.client(*pki.issue(Kind.PEER, "stranger", (host,)))
        for _ in range(3):
            said = await answers(victim.peer_address, context, head[:-2] + stated, frame)
            assert said.startswith(b"HTTP/1.1 404 "), said[:200]
        await until(lambda: victim.server._vouching._asking.done(), "the others' word")
        assert victim.server.node.status == status
        assert 0xBAD not in victim.server._transport.peer_ids

    run_prepared(tmp_path, mutual(pki), scenario)


def leads(cluster: Cluster, member_id: int) -> bool:
    """Whether that member leads; if not, whoever does is asked to hand over to it."""
    leader = next((member.server.node for member in cluster.running if member.server.node.is_leader), None)
    if leader is not None and leader.status.member_id != member_id:
        leader._transfer_to = member_id
        leader._wakeup.set()
    return leader is not None and leader.status.member_id == member_id


def test_a_member_that_joined_while_another_was_away_is_let_in_on_the_others_word(tmp_path: Path) -> None:
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        away = cluster.followers[0]
        await away.stop()
        member = await joining(cluster, pki)
        await member.start()
        cluster.members.append(member)
        await cluster.settle()
        newcomer = member.server.node.status.member_id
        await until(lambda: newcomer in cluster.leader.server.node.membership.voters, "the newcomer's vote")
        await until(lambda: leads(cluster, newcomer), "the newcomer to lead")
        await away.start()
        await cluster.check_alike()

    run_prepared(tmp_path, mutual(pki), scenario)


def test_the_forged_stream_would_have_done_harm_with_a_members_certificate(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        victim = cluster.followers[0]
        context = pki.client(*pki.issue(Kind.PEER, "m9", HERE))
        intruding = asyncio.create_task(answers(victim.peer_address, context, *forged_stream(victim)))
        await until(lambda: victim.server.node.status.term >= 1 << 40, "the forged term")
        assert (await intruding).startswith(b"HTTP/1.1 101 ")

    run_prepared(tmp_path, mutual(pki), scenario)


def test_peers_over_certificates_made_on_the_spot(tmp_path: Path) -> None:
    def prepare(member: MemberProcess) -> None:
        secured(member)
        change(member, peer_auto_tls=True)

    async def scenario(cluster: Cluster) -> None:
        assert (await cluster.followers[0].put("/a", value="1")).status == 201
        said = await answers(cluster.leader.peer_address, None, b"GET /members HTTP/1.0\r\n\r\n")
        assert b"peerURLs" not in said, "the peer port speaks TLS only"

    run_prepared(tmp_path, prepare, scenario)
