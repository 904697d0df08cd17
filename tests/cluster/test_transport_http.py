"""The peer port as HTTP: what is not raft's, and TLS underneath."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from certificates import BOTH_ENDS, Authority
from transport_harness import (
    CLUSTER,
    LOOPS,
    Cluster,
    Member,
    answer,
    append,
    eventually,
    extra,
    run_on,
    snap,
    stream_head,
    turns,
)

from cluster.tls import Tls
from cluster.transport.handler import peer_handler

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n".encode()


def test_plain_requests_are_answered_beside_the_streams(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), Member(2)) as cluster:
            await cluster.connected()
            said = await answer(one.port, get("/members"))
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")
            assert json.loads(said.split(b"\r\n\r\n", 1)[1]) == []
            for path in ("/raft", "/raft/", "/raft/stream/", "/raft/snapshot/x", "/"):
                assert (await answer(one.port, get(path))).startswith(b"HTTP/1.1 404 "), path
            keep_alive = get("/members").replace(b"close", b"keep-alive")
            assert (await answer(one.port, keep_alive + get("/members"))).count(b" 200 OK") == 2

    run_on(loop, test)


def test_a_refused_caller_that_keeps_trying_is_one_line_in_the_log(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1)), Cluster(stranger := Member(2)):
            stranger.transport.add_peer(1, [one.url])
            for _ in range(5):
                await asyncio.sleep(0.05)
                stranger.transport._peers[1].wake()
            lines = [r.message for r in caplog.records]
            assert sorted(lines) == ["peer refused", "peer refused us"]

    run_on(loop, test)


def test_a_caller_that_is_gone_before_it_is_answered_is_no_error(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1)):
            one.transport.add_peer(2, ["http://127.0.0.1:9"])
            handle = peer_handler(one.transport, extra)
            handled = asyncio.Event()

            async def handle_too_late(request: web.BaseRequest) -> web.StreamResponse:
                assert request.transport is not None
                request.transport.close()
                handled.set()
                return await handle(request)

            server = web.Server(handle_too_late, access_log=None)
            listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
            assert await answer(listener.sockets[0].getsockname()[1], stream_head(CLUSTER, 2, 1)) == b""
            assert handled.is_set()
            assert not one.sees_inbound(2)
            listener.close()
            await server.shutdown(1)
            assert not [record for record in caplog.records if record.levelname == "ERROR"]

    run_on(loop, test)


def mutual(authority: Authority, name: str, **changes: object) -> Tls:
    return Tls(authority.tls_config(authority.issue(name), **changes))


def test_everything_works_over_mutual_tls(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")

    async def test() -> None:
        one, two = (Member(n, tls=mutual(authority, f"m{n}")) for n in (1, 2))
        async with Cluster(one, two) as cluster:
            await cluster.connected()
            batch = [append(1, 2, bytes(50_000), n) for n in range(20)]
            one.transport.send(batch)
            await eventually(lambda: two.received == batch)
            one.files.files[snap(1, 2).snapshot] = bytes(range(256)) * 4096
            one.transport.send([snap(1, 2)])
            await eventually(lambda: one.snapshots_sent == [(2, True)])
            assert two.files.files == one.files.files
            one.transport.remove_peer(2)
            await eventually(lambda: two.told_removed)

    run_on(loop, test)


async def no_more_calls(one: Member, two: Member) -> None:
    """So that no handshake is under way when the listeners close."""
    one.transport.remove_peer(two.id)
    two.transport.remove_peer(one.id)
    await turns()


INTRUDERS = {
    "plain": lambda ours, theirs: mutual(ours, "two"),
    "no certificate": lambda ours, theirs: NoCertificate(ours.tls_config(ours.issue("two"))),
    "other authority": lambda ours, theirs: Tls(ours.tls_config(theirs.issue("two"))),
    "expired": lambda ours, theirs: Tls(ours.tls_config(ours.expired("two"))),
    "not yet valid": lambda ours, theirs: Tls(ours.tls_config(ours.not_yet_valid("two"))),
    "for servers only": lambda ours, theirs: Tls(ours.tls_config(ours.issue("two", usages=BOTH_ENDS[:1]))),
    "another host's": lambda ours, theirs: Tls(ours.tls_config(ours.issue("two", hosts=("127.0.0.2", "localhost")))),
    "a user's": lambda ours, theirs: Tls(ours.tls_config(ours.issue("two", hosts=()))),
}


class NoCertificate(Tls):
    """Dials without showing one."""

    def dialling(self) -> ssl.SSLContext:
        assert self.config.trusted_ca_file
        return ssl.create_default_context(cafile=self.config.trusted_ca_file)


@pytest.mark.parametrize("caller", INTRUDERS)
def test_a_caller_without_a_members_certificate_stays_outside(loop: str, caller: str, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ca"), Authority(tmp_path, "other")

    async def test() -> None:
        one = Member(1, tls=mutual(ours, "one"))
        two = Member(2, tls=INTRUDERS[caller](ours, theirs), listens_on_tls=False)
        async with Cluster(one), Cluster(two):
            one.transport.add_peer(2, [two.url])
            url = one.url.replace("https", "http") if caller == "plain" else one.url
            two.transport.add_peer(1, [url])
            await eventually(lambda: two.transport._peers[1]._said)
            assert not one.sees_inbound(2)
            assert one.received == []
            assert two.told_removed == 0
            await no_more_calls(one, two)

    run_on(loop, test)


def test_a_certificate_of_another_host_sends_no_snapshot(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def test() -> None:
        one = Member(1, tls=mutual(authority, "one"))
        two = Member(2, tls=Tls(authority.tls_config(authority.issue("two", hosts=("10.0.0.1",)))))
        async with Cluster(one), Cluster(two):
            one.transport.add_peer(2, [two.url])
            two.transport.add_peer(1, [one.url])
            two.files.files[snap(2, 1).snapshot] = b"state"
            two.transport.send([snap(2, 1)])
            await eventually(lambda: two.snapshots_sent == [(1, False)])
            assert one.files.files == {}
            assert one.received == []
            await no_more_calls(one, two)

    run_on(loop, test)


def listener_of(kind: str, folder: Path) -> tuple[Tls, Tls]:
    """A dialler, and a listener that it must not talk to."""
    ours, theirs = Authority(folder, "ca"), Authority(folder, "other")
    if kind == "other authority":
        return mutual(ours, "one"), Tls(ours.tls_config(theirs.issue("two")))
    if kind == "another host's":
        return mutual(ours, "one"), Tls(ours.tls_config(ours.issue("two", hosts=("127.0.0.2",))))
    if kind == "another common name":
        return mutual(ours, "one", allowed_cn="one"), mutual(ours, "two")
    issued = ours.issue("two")
    return mutual(ours, "one", crl_file=str(ours.revoke(issued))), Tls(ours.tls_config(issued))


@pytest.mark.parametrize("kind", ["other authority", "another host's", "another common name", "revoked"])
def test_a_listener_with_a_wrong_certificate_is_not_talked_to(loop: str, kind: str, tmp_path: Path) -> None:
    dialler, listener = listener_of(kind, tmp_path)

    async def test() -> None:
        one, two = Member(1, tls=dialler, listens_on_tls=False), Member(2, tls=listener)
        async with Cluster(one), Cluster(two):
            two.transport.add_peer(1, [one.url])
            one.transport.add_peer(2, [two.url])
            await eventually(lambda: one.transport._peers[2]._said)
            assert not one.connected(2)
            assert not two.sees_inbound(1)
            await no_more_calls(one, two)

    run_on(loop, test)
