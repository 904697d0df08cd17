"""The peer port as HTTP: what is not raft's, and TLS underneath."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from transport_harness import (
    LOOPS,
    Cluster,
    Member,
    answer,
    append,
    eventually,
    run_on,
    snap,
)

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


class Authority:
    """A throw-away CA; `issue` gives a certificate and key file for 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key.public_key(), is_ca=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name: str, public_key: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        issuer, subject = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (self.name, name))
        builder = (
            x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        )
        if not is_ca:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        files = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        files[0].write_bytes(self._sign(name, key.public_key(), is_ca=False).public_bytes(pem))
        files[1].write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )
        return files


def contexts(authority: Authority, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For listening (a client certificate is asked for) and for dialling."""
    files = authority.issue(name)
    listen = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path)
    listen.verify_mode = ssl.CERT_REQUIRED
    dial = ssl.create_default_context(cafile=authority.path)
    for context in (listen, dial):
        context.load_cert_chain(*files)
    return listen, dial


def test_everything_works_over_mutual_tls(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")

    async def test() -> None:
        one, two = (
            Member(n, listen_tls=listen, dial_tls=dial)
            for n in (1, 2)
            for listen, dial in [contexts(authority, f"m{n}")]
        )
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


@pytest.mark.parametrize("caller", ["plain", "no certificate", "other authority"])
def test_a_caller_without_our_authoritys_certificate_stays_outside(loop: str, caller: str, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ca"), Authority(tmp_path, "other")

    async def test() -> None:
        listen, dial = contexts(ours, "one")
        one = Member(1, listen_tls=listen, dial_tls=dial)
        intruder_context = ssl.create_default_context(cafile=ours.path)
        if caller == "other authority":
            intruder_context.load_cert_chain(*theirs.issue("two"))
        two = Member(2, dial_tls=intruder_context)
        async with Cluster(one), Cluster(two):
            one.transport.add_peer(2, [two.url])
            url = one.url.replace("https", "http") if caller == "plain" else one.url
            two.transport.add_peer(1, [url])
            await eventually(lambda: two.transport._peers[1]._said)
            assert not one.sees_inbound(2)
            assert one.received == []
            assert two.told_removed == 0

    run_on(loop, test)


def test_a_listener_of_another_authority_is_not_talked_to(loop: str, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ca"), Authority(tmp_path, "other")

    async def test() -> None:
        one = Member(1, dial_tls=contexts(ours, "one")[1])
        two = Member(2, listen_tls=contexts(theirs, "two")[0])
        async with Cluster(one), Cluster(two):
            two.transport.add_peer(1, [one.url])
            one.transport.add_peer(2, [two.url])
            await eventually(lambda: one.transport._peers[2]._said)
            assert not one.connected(2)

    run_on(loop, test)
