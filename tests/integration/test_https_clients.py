"""Clients over HTTPS: mixed schemes, real clients with and without certificates, what is no TLS, and auto TLS."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import etcd
import pytest
from https_cluster import Pki, answers, change, run_prepared, server_settings, with_https_url
from in_process import Cluster, MemberProcess, free_ports

import etcdpy.server
from etcdpy.pki import Kind, Period, self_signed
from etcdpy.pki_files import PairFiles, read_certificate, write_pair

GET = b"GET /v2/keys/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def served(pki: Pki, **settings: Any) -> Callable[[MemberProcess], None]:
    """Plain HTTP as ever, and an https URL besides."""

    def prepare(member: MemberProcess) -> None:
        with_https_url(member, free_ports(1)[0])
        change(member, **server_settings(pki), **settings)

    return prepare


def demanding(pki: Pki) -> Callable[[MemberProcess], None]:
    return served(pki, trusted_ca_file=pki.ca_file, client_cert_auth=True, client_crl_file=str(pki.crl_file))


def https_address(cluster: Cluster) -> tuple[str, int]:
    url = cluster.members[0].config.advertise_client_urls[0]
    return url.host, url.port


async def fetch(cluster: Cluster, context: ssl.SSLContext, method: str = "GET", value: str | None = None) -> Any:
    """The answer of a new connection. Raises aiohttp.ClientError."""
    host, port = https_address(cluster)
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    data = None if value is None else {"value": value}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"https://{host}:{port}/v2/keys/a", data=data) as response,
    ):
        return await response.json(content_type=None)


async def admits(cluster: Cluster, context: ssl.SSLContext) -> bool:
    try:
        await fetch(cluster, context)
    except aiohttp.ClientError:
        return False
    return True


def test_http_and_https_beside_each_other_show_the_same(tmp_path: Path) -> None:
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        member = cluster.members[0]
        await member.put("/a", value="plain")
        assert (await fetch(cluster, pki.client()))["node"]["value"] == "plain"
        await fetch(cluster, pki.client(), "PUT", "secret")
        assert (await member.get("/a")).node["value"] == "secret"
        assert (await member.request("GET", "/v2/machines")).body == str(
            member.config.advertise_client_urls[0]
        ).encode()
        plain_on_tls = await answers(https_address(cluster), None, GET)
        assert b"HTTP/1.1 200" not in plain_on_tls
        tls_on_plain = await answers(("127.0.0.1", member.config.listen_client_urls[0].port), pki.client(), GET)
        assert tls_on_plain == b""

    run_prepared(tmp_path, served(pki), scenario, size=1)


def test_many_requests_on_one_connection_and_a_watch(tmp_path: Path) -> None:
    """Both lanes, and the change from one to the other, work over TLS."""
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        host, port = https_address(cluster)
        connector = aiohttp.TCPConnector(ssl=pki.client(), limit=1)
        async with aiohttp.ClientSession(f"https://{host}:{port}", connector=connector) as session:
            for number in range(50):
                async with session.put(f"/v2/keys/n/{number}", data={"value": "x" * 5000}) as response:
                    assert response.status == 201
            async with session.get("/v2/keys/n?recursive=true") as response:
                assert len((await response.json(content_type=None))["node"]["nodes"]) == 50
            index = int((await cluster.members[0].put("/a", value="1")).headers["X-Etcd-Index"])
            async with session.get(f"/v2/keys/a?wait=true&waitIndex={index}") as response:
                assert (await response.json(content_type=None))["node"]["value"] == "1"

    run_prepared(tmp_path, served(pki), scenario, size=1)


def test_pipelined_requests_over_tls_are_answered_in_order(tmp_path: Path) -> None:
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        put = b"PUT /v2/keys/p?value=%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        requests = b"".join(put % number for number in range(100)) + GET
        said = await answers(https_address(cluster), pki.client(), requests)
        assert said.count(b'"action":"set"') == 100
        assert [f'"value":"{n}","mod'.encode() in said for n in range(100)] == [True] * 100

    run_prepared(tmp_path, served(pki), scenario, size=1)


CLIENTS: dict[str, tuple[bool, Callable[[Pki, Pki], ssl.SSLContext]]] = {
    "a user": (True, lambda ours, theirs: ours.client(*ours.issue(Kind.CLIENT, "alice"))),
    "nobody": (False, lambda ours, theirs: ours.client()),
    "another authority's": (False, lambda ours, theirs: ours.client(*theirs.issue(Kind.CLIENT, "alice"))),
    "a server": (False, lambda ours, theirs: ours.client(*ours.issue(Kind.SERVER, "alice", ("127.0.0.1",)))),
    "expired": (
        False,
        lambda ours, theirs: ours.client(*ours.issue(Kind.CLIENT, "alice", (), ours.period(end=-1))),
    ),
    "not yet valid": (
        False,
        lambda ours, theirs: ours.client(*ours.issue(Kind.CLIENT, "alice", (), ours.period(begin=1))),
    ),
}


@pytest.mark.parametrize("who", CLIENTS)
@pytest.mark.parametrize("flag", ["client_cert_auth", "trusted_ca_file only"])
def test_who_may_come_in_when_certificates_are_demanded(tmp_path: Path, who: str, flag: str) -> None:
    os.mkdir(tmp_path / "other")
    ours, theirs = Pki(tmp_path), Pki(tmp_path / "other")
    admitted, client = CLIENTS[who]
    prepare = served(ours, trusted_ca_file=ours.ca_file, client_cert_auth=flag == "client_cert_auth")

    async def scenario(cluster: Cluster) -> None:
        assert await admits(cluster, client(ours, theirs)) == admitted

    run_prepared(tmp_path, prepare, scenario, size=1)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_certificate_authority_and_revocations_change_without_a_restart(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "other")
    ours, theirs = Pki(tmp_path), Pki(tmp_path / "other")
    alice, bob = ours.issue(Kind.CLIENT, "alice"), ours.issue(Kind.CLIENT, "bob")
    carol = theirs.issue(Kind.CLIENT, "carol")

    async def who(cluster: Cluster) -> list[bool]:
        return [await admits(cluster, ours.client(*each)) for each in (alice, bob, carol)]

    async def scenario(cluster: Cluster) -> None:
        assert await who(cluster) == [True, True, False]
        ours.revoke(bob[0])
        assert await who(cluster) == [True, False, False]
        os.replace(both, ca_file)
        assert await who(cluster) == [True, False, True]
        write(ca_file, b"broken")
        assert [await admits(cluster, ours_and_theirs) for ours_and_theirs in contexts] == [True, True]
        write(ca_file, ours_only)
        assert await who(cluster) == [True, False, False]
        server_settings(ours)
        assert await who(cluster) == [True, False, False]

    contexts = [ours.client(*each) for each in (alice, carol)]
    ca_file, both = Path(ours.ca_file), tmp_path / "both.pem"
    ours_only = ca_file.read_bytes()
    both.write_bytes(ours_only + Path(theirs.ca_file).read_bytes())
    run_prepared(tmp_path, demanding(ours), scenario, size=1)


def test_a_handshake_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert etcdpy.server.HANDSHAKE_SECONDS <= 10
    monkeypatch.setattr(etcdpy.server, "HANDSHAKE_SECONDS", 0.3)
    pki = Pki(tmp_path)

    async def scenario(cluster: Cluster) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        silent = [answers(https_address(cluster), None, data) for data in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01")]
        assert [said for said in await asyncio.gather(*silent) if b"HTTP/1" in said] == []
        assert clock() - begun < 3
        assert await admits(cluster, pki.client())

    run_prepared(tmp_path, served(pki), scenario, size=1)


# Real clients.


async def tool(*command: str) -> tuple[int | None, str]:
    """Exit code and output."""
    assert shutil.which(command[0]), f"{command[0]} is needed (apt-get install {command[0]} or etcd-client)"
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "ETCDCTL_API": "2", "NO_PROXY": "127.0.0.1"},
    )
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, said.decode()


def test_curl(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    cert_file, key_file = pki.issue(Kind.CLIENT, "alice")

    async def scenario(cluster: Cluster) -> None:
        url = f"https://127.0.0.1:{https_address(cluster)[1]}/v2/keys/a"
        curl = ("curl", "-sS", "--max-time", "10")
        shown = ("--cert", cert_file, "--key", key_file)
        code, said = await tool(*curl, "--cacert", pki.ca_file, *shown, url, "-XPUT", "-dvalue=1")
        assert (code, '"value":"1"' in said) == (0, True), said
        assert (await tool(*curl, "--cacert", pki.ca_file, url))[0] != 0, "no certificate"
        assert (await tool(*curl, *shown, url))[0] == 60, "curl does not know the authority"
        versions = ("--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0")
        assert (await tool(*curl, "--cacert", pki.ca_file, *shown, *versions, url))[0] == 35

    run_prepared(tmp_path, demanding(pki), scenario, size=1)


def test_etcdctl(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    cert_file, key_file = pki.issue(Kind.CLIENT, "alice")

    async def scenario(cluster: Cluster) -> None:
        etcdctl = ("etcdctl", "--endpoints", f"https://127.0.0.1:{https_address(cluster)[1]}", "--ca-file", pki.ca_file)
        shown = ("--cert-file", cert_file, "--key-file", key_file)
        assert await tool(*etcdctl, *shown, "set", "/a", "1") == (0, "1\n")
        assert await tool(*etcdctl, *shown, "get", "/a") == (0, "1\n")
        assert "isLeader=true" in (await tool(*etcdctl, *shown, "member", "list"))[1]
        code, said = await tool(*etcdctl, "get", "/a")
        assert code != 0, said
        assert "1\n" not in said.splitlines()

    run_prepared(tmp_path, demanding(pki), scenario, size=1)


def python_etcd(port: int, **settings: Any) -> Any:
    client = etcd.Client(host="127.0.0.1", port=port, protocol="https", read_timeout=10, **settings)
    try:
        client.write("/a", "1")
        return client.read("/a").value
    finally:
        client.http.clear()


def test_python_etcd(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    files = pki.issue(Kind.CLIENT, "alice")

    async def scenario(cluster: Cluster) -> None:
        port = https_address(cluster)[1]
        assert await asyncio.to_thread(python_etcd, port, ca_cert=pki.ca_file, cert=files) == "1"
        with pytest.raises(etcd.EtcdException):
            await asyncio.to_thread(python_etcd, port, ca_cert=pki.ca_file)

    run_prepared(tmp_path, demanding(pki), scenario, size=1)


# Auto TLS.


def auto(member: MemberProcess) -> None:
    with_https_url(member, free_ports(1)[0])
    change(member, auto_tls=True)


def made_here(member: MemberProcess) -> PairFiles:
    directory = Path(member.config.data_dir, "fixtures", "client")
    return PairFiles(directory / "cert.pem", directory / "key.pem")


def test_auto_tls_needs_no_files_and_keeps_its_own(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        member = cluster.members[0]
        files = made_here(member)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (*files, files.key.parent, files.key.parent.parent)] == [
            0o600,
            0o600,
            0o700,
            0o700,
        ]
        pinned = ssl.create_default_context(cafile=str(files.certificate))
        assert await admits(cluster, pinned)
        await member.stop()
        await member.start()
        await cluster.settle()
        assert await admits(cluster, pinned), "another certificate after a restart"

    run_prepared(tmp_path, auto, scenario, size=1)


@pytest.mark.parametrize("damage", ["about to expire", "another host's", "broken", "key gone"])
def test_auto_tls_makes_a_useless_certificate_anew(tmp_path: Path, damage: str) -> None:
    def prepare(member: MemberProcess) -> None:
        auto(member)
        now = datetime.datetime.now(datetime.UTC)
        days, host = (20, "127.0.0.1") if damage == "about to expire" else (900, "127.0.0.2")
        files = made_here(member)
        write_pair(files, self_signed("old", (host,), Period.from_now(now, days)))
        if damage == "broken":
            files.certificate.write_bytes(b"broken")
        elif damage == "key gone":
            files.key.unlink()

    async def scenario(cluster: Cluster) -> None:
        files = made_here(cluster.members[0])
        assert await admits(cluster, ssl.create_default_context(cafile=str(files.certificate)))
        assert read_certificate(files.certificate).subject.rfc4514_string() == "CN=etcdpy"

    run_prepared(tmp_path, prepare, scenario, size=1)


def test_expiring_certificates_are_in_the_metrics_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pki = Pki(tmp_path)

    def prepare(member: MemberProcess) -> None:
        served(pki)(member)
        pki.issue(Kind.SERVER, "server", ("127.0.0.1",), pki.period(end=29))

    async def scenario(cluster: Cluster) -> None:
        member = cluster.members[0]
        assert member.config.cert_file
        expiry = read_certificate(Path(member.config.cert_file)).not_valid_after_utc.timestamp()
        lines = (await member.request("GET", "/metrics")).body.decode().splitlines()
        name = f'etcdpy_certificate_expiry_timestamp_seconds{{file="{member.config.cert_file}"}} '
        assert [float(line.removeprefix(name)) for line in lines if line.startswith(name)] == [expiry]
        said = [record for record in caplog.records if record.message == "certificate expires soon"]
        assert [(record.fields["file"], record.fields["days_left"]) for record in said] == [
            (member.config.cert_file, 28)
        ]

    run_prepared(tmp_path, prepare, scenario, size=1)
