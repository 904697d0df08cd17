"""TLS on a live listener: who gets in, and what happens when files change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
from certificates import BOTH_ENDS, Authority, Issued
from cryptography.hazmat.primitives.serialization import Encoding
from transport_harness import LOOPS, run_on, turns

from cluster.tls import Tls, TlsConfig, TlsError, load

pytestmark = pytest.mark.parametrize("loop", LOOPS)

END = b"-----END CERTIFICATE-----\n"


class Echo(asyncio.Protocol):
    """Answers what it gets; `made` counts the connections that reached it."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Listener:
    """`async with Listener(tls) as listener`: an echo server on a loopback port."""

    def __init__(self, tls: Tls, handshake_seconds: float = 5.0) -> None:
        self.protocol = type("CountedEcho", (Echo,), {"made": 0})
        self.port = 0
        self._tls = tls
        self._seconds = handshake_seconds

    async def __aenter__(self) -> Listener:
        self._server = await asyncio.get_running_loop().create_server(
            self._tls.guard(self.protocol),
            "127.0.0.1",
            ssl=self._tls.listening,
            ssl_handshake_timeout=self._seconds,
            ssl_shutdown_timeout=1,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await turns()

    @property
    def connections(self) -> int:
        return int(self.protocol.made)

    async def admits(self, context: ssl.SSLContext) -> bool:
        """Whether a new connection gets an answer."""
        before = self.connections
        try:
            stream = await self.open(context)
            answered = await stream.ask()
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            answered = False
        else:
            stream.writer.transport.abort()
        assert answered == (self.connections > before), "the protocol heard of a connection that was refused"
        return answered

    async def open(self, context: ssl.SSLContext) -> Stream:
        return Stream(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context))


class Stream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self) -> bool:
        self.writer.write(b"hello")
        return await asyncio.wait_for(self.reader.readexactly(5), 10) == b"hello"

    @property
    def server_serial(self) -> int:
        return int(self.writer.get_extra_info("peercert")["serialNumber"], 16)


def client(authority: Authority, shown: Issued | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if shown is not None:
        context.load_cert_chain(*shown.files)
    return context


Test = Callable[[Listener], Awaitable[None]]


def run(loop: str, tls: Tls, test: Test) -> None:
    async def listening() -> None:
        async with Listener(tls) as listener:
            await test(listener)

    run_on(loop, listening)


# Who gets in.


CLIENTS: dict[str, Callable[[Authority, Authority], Issued | None]] = {
    "no certificate": lambda ours, theirs: None,
    "another authority's": lambda ours, theirs: theirs.issue("user"),
    "an authority's of the same name": lambda ours, theirs: Authority(theirs.folder, ours.name + "2").issue("user"),
    "expired": lambda ours, theirs: ours.expired("user"),
    "not yet valid": lambda ours, theirs: ours.not_yet_valid("user"),
    "for servers only": lambda ours, theirs: ours.issue("user", usages=BOTH_ENDS[:1]),
}


@pytest.mark.parametrize("shown", CLIENTS)
def test_a_client_that_must_show_a_certificate_must_show_a_good_one(loop: str, shown: str, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    certificate = CLIENTS[shown](ours, theirs)

    async def test(listener: Listener) -> None:
        assert not await listener.admits(client(ours, certificate))
        assert await listener.admits(client(ours, ours.issue("good")))

    run(loop, Tls(ours.tls_config(ours.issue("server"))), test)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_revoked_certificate_is_refused(loop: str, encoding: Encoding, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    good, bad, worse = (authority.issue(name) for name in ("good", "bad", "worse"))
    crl = authority.revoke(bad, worse, encoding=encoding)

    async def test(listener: Listener) -> None:
        assert not await listener.admits(client(authority, bad))
        assert not await listener.admits(client(authority, worse))
        assert await listener.admits(client(authority, good))

    run(loop, Tls(authority.tls_config(authority.issue("server"), crl_file=str(crl))), test)


def test_all_lists_in_a_file_count(loop: str, tmp_path: Path) -> None:
    one, two = Authority(tmp_path, "one"), Authority(tmp_path, "two")
    first, second = one.issue("first"), two.issue("second")
    both = tmp_path / "both.crl"
    both.write_bytes(one.revoke(first).read_bytes() + two.revoke(second).read_bytes())
    found = load(one.tls_config(first, crl_file=str(both))).revocations.serial_numbers
    assert found == {first.serial_number, second.serial_number}


def show_alone(user: Issued) -> None:
    """Takes the authority in between out of what the user shows."""
    user.cert_file.write_bytes(user.cert_file.read_bytes().partition(END)[0] + END)


@pytest.mark.parametrize("kept_by", ["the client", "us"])
def test_what_a_revoked_authority_has_issued_is_refused(loop: str, kept_by: str, tmp_path: Path) -> None:
    """Whether the client shows it, or it stands in the file of authorities."""
    root = Authority(tmp_path)
    good, bad = Authority(tmp_path, "good", parent=root), Authority(tmp_path, "bad", parent=root)
    users = [good.issue("user"), bad.issue("other")]
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(root.pem + (good.pem + bad.pem if kept_by == "us" else b""))
    if kept_by == "us":
        for user in users:
            show_alone(user)
    settings = {"crl_file": str(root.revoke()), "trusted_ca_file": str(trusted)}

    async def test(listener: Listener) -> None:
        assert [await listener.admits(client(root, user)) for user in users] == [True, True]
        root.revoke(bad)
        assert [await listener.admits(client(root, user)) for user in users] == [True, False]

    run(loop, Tls(root.tls_config(root.issue("server"), **settings)), test)


def test_a_list_concerns_the_authorities_that_its_own_one_has_issued(loop: str, tmp_path: Path) -> None:
    """Serial numbers are only unique for each authority."""
    root = Authority(tmp_path)
    between = Authority(tmp_path, "between", parent=root)
    user = between.issue("user")
    same_number = user._replace(serial_number=between.serial_number)
    crl = between.revoke(same_number)

    async def test(listener: Listener) -> None:
        assert await listener.admits(client(root, user))

    run(loop, Tls(root.tls_config(root.issue("server"), crl_file=str(crl))), test)


def test_a_server_whose_authority_was_revoked_is_not_talked_to(loop: str, tmp_path: Path) -> None:
    root = Authority(tmp_path)
    between = Authority(tmp_path, "between", parent=root)
    dialler = Tls(root.tls_config(root.issue("one"), crl_file=str(root.revoke())))

    async def test(listener: Listener) -> None:
        stream = await listener.open(dialler.dialling())
        shown = stream.writer.get_extra_info("ssl_object")
        assert dialler.judge_server(shown) is None
        root.revoke(between)
        dialler.refresh()
        assert dialler.judge_server(shown) == "certificate revoked"
        stream.writer.transport.abort()

    run(loop, Tls(root.tls_config(between.issue("two"))), test)


@pytest.mark.parametrize(
    ("setting", "value"), [("allowed_cn", "alice"), ("allowed_hostname", "alice.example"), ("allowed_hostname", "::1")]
)
def test_an_allowed_name_keeps_out_every_other(loop: str, setting: str, value: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    alice = authority.issue("alice", hosts=("alice.example", "::1"))
    bob = authority.issue("bob", hosts=("bob.example", "alice.example.org", "127.0.0.1"))

    async def test(listener: Listener) -> None:
        assert await listener.admits(client(authority, alice))
        assert not await listener.admits(client(authority, bob))

    run(loop, Tls(authority.tls_config(authority.issue("server"), **{setting: value})), test)


def test_without_client_verification_anyone_gets_in_encrypted(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def test(listener: Listener) -> None:
        assert await listener.admits(client(authority))
        assert await listener.admits(client(authority, Authority(tmp_path, "other").issue("whoever")))

    run(loop, Tls(authority.tls_config(authority.issue("server"), verify_clients=False)), test)


# What TLS is spoken.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused_by_the_server(loop: str, version: ssl.TLSVersion, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = client(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL's client would not even ask
    context.minimum_version = context.maximum_version = version

    tls = Tls(authority.tls_config(authority.issue("server"), verify_clients=False))

    async def test(listener: Listener) -> None:
        assert not await listener.admits(context)
        tls.listening.minimum_version = version
        for server in (tls.listening, tls._loaded.server):
            server.set_ciphers("ALL:@SECLEVEL=0")
        assert await listener.admits(context), "it was refused for another reason"

    run(loop, tls, test)


@pytest.mark.parametrize(
    ("settings", "version", "admitted"),
    [
        ({"min_version": "TLS1.3"}, ssl.TLSVersion.TLSv1_2, False),
        ({"min_version": "TLS1.3"}, ssl.TLSVersion.TLSv1_3, True),
        ({"max_version": "TLS1.2"}, ssl.TLSVersion.TLSv1_3, False),
        ({"max_version": "TLS1.2"}, ssl.TLSVersion.TLSv1_2, True),
    ],
)
def test_versions_can_be_narrowed(
    loop: str, settings: dict[str, object], version: ssl.TLSVersion, admitted: bool, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = client(authority)
    context.minimum_version = context.maximum_version = version

    async def test(listener: Listener) -> None:
        assert await listener.admits(context) == admitted

    run(loop, Tls(authority.tls_config(authority.issue("server"), verify_clients=False, **settings)), test)


@pytest.mark.parametrize(
    ("offered", "suites", "admitted"),
    [
        ("AES128-GCM-SHA256", (), False),  # no forward secrecy
        ("ECDHE-ECDSA-AES128-SHA256", (), False),  # CBC
        ("ECDHE-ECDSA-AES256-GCM-SHA384", (), True),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",), False),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",), True),
    ],
)
def test_suites_of_tls_1_2(loop: str, offered: str, suites: tuple[str, ...], admitted: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = client(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(offered)

    async def test(listener: Listener) -> None:
        assert await listener.admits(context) == admitted

    run(loop, Tls(authority.tls_config(authority.issue("server"), verify_clients=False, cipher_suites=suites)), test)


def test_renegotiation_is_refused(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def test(listener: Listener) -> None:
        command = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{listener.port}"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(process.communicate(b"R\n"), 10)
        assert b"RENEGOTIATING" in said
        assert b"no renegotiation" in said

    run(loop, Tls(authority.tls_config(authority.issue("server"), verify_clients=False)), test)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 8, b"\x16\x03\x01\xff\xff"])
def test_what_is_no_handshake_is_cut(loop: str, data: bytes, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = Tls(authority.tls_config(authority.issue("server"), verify_clients=False))

    async def test() -> None:
        async with Listener(tls, handshake_seconds=0.2) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(data)
            said = b""
            with contextlib.suppress(ConnectionError):  # a reset is a cut too
                said = await asyncio.wait_for(reader.read(), 5)
            assert said == b"" or said[0] == 0x15, "an alert at most"
            assert listener.connections == 0
            assert await listener.admits(client(authority))
            writer.transport.abort()

    run_on(loop, test)


def test_a_handshake_that_takes_too_long_is_cut_however_much_it_trickles(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = Tls(authority.tls_config(authority.issue("server"), verify_clients=False))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)

    async def trickle(writer: asyncio.StreamWriter) -> None:
        for byte in hello:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    async def test() -> None:
        async with Listener(tls, handshake_seconds=0.3) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            trickling = asyncio.create_task(trickle(writer))
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 5)
            trickling.cancel()
            await asyncio.gather(trickling, return_exceptions=True)
            assert listener.connections == 0
            writer.transport.abort()

    run_on(loop, test)


# Files that change.


def test_a_new_certificate_is_shown_to_new_connections(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.issue("server")

    async def test(listener: Listener) -> None:
        old = await listener.open(client(authority))
        second = authority.issue("server")
        new = await listener.open(client(authority))
        assert (old.server_serial, new.server_serial) == (first.serial_number, second.serial_number)
        assert await old.ask()
        assert await new.ask()
        for stream in (old, new):
            stream.writer.transport.abort()

    run(loop, Tls(authority.tls_config(first, verify_clients=False)), test)


def test_a_new_certificate_is_shown_when_dialling(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    dialler = Tls(authority.tls_config(authority.issue("one")))
    dialler.dialling()
    authority.expired("one")

    async def test(listener: Listener) -> None:
        assert not await listener.admits(dialler.dialling())
        authority.issue("one")
        assert await listener.admits(dialler.dialling())

    run(loop, Tls(authority.tls_config(authority.issue("server"))), test)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_authorities_come_and_go_without_a_restart(loop: str, version: ssl.TLSVersion, tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(old.pem)
    ours, theirs = (client(old, authority.issue(authority.name + "-user")) for authority in (old, new))
    ours.maximum_version = theirs.maximum_version = version

    async def test(listener: Listener) -> None:
        assert [await listener.admits(each) for each in (ours, theirs)] == [True, False]
        staying = await listener.open(ours)
        bundle.write_bytes(old.pem + new.pem)
        assert [await listener.admits(each) for each in (ours, theirs)] == [True, True]
        replacement = tmp_path / "replacement.pem"
        replacement.write_bytes(new.pem)
        os.replace(replacement, bundle)
        assert [await listener.admits(each) for each in (ours, theirs)] == [False, True]
        assert await staying.ask(), "connections that are up go on"
        staying.writer.transport.abort()

    run(loop, Tls(old.tls_config(old.issue("server"), trusted_ca_file=str(bundle))), test)


def test_a_certificate_is_revoked_without_a_restart(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    user = authority.issue("user")
    crl = authority.revoke()

    async def test(listener: Listener) -> None:
        assert await listener.admits(client(authority, user))
        authority.revoke(user)
        assert not await listener.admits(client(authority, user))

    run(loop, Tls(authority.tls_config(authority.issue("server"), crl_file=str(crl))), test)


BROKEN: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"-----BEGIN GARBAGE-----\n"),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", BROKEN)
@pytest.mark.parametrize("file", ["server.pem", "server-key.pem", "ca.pem", "ca.crl"])
def test_a_broken_file_keeps_the_old_content_and_is_said_once(
    loop: str, file: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    user, bad = authority.issue("user"), authority.issue("bad")
    config = authority.tls_config(authority.issue("server"), crl_file=str(authority.revoke(bad)))
    good, refused = client(authority, user), client(authority, bad)

    async def test(listener: Listener) -> None:
        content = (tmp_path / file).read_bytes()
        BROKEN[damage](tmp_path / file)
        for _ in range(3):
            assert await listener.admits(good)
            assert not await listener.admits(refused)
        said = [record for record in caplog.records if record.message == "changed TLS files not used"]
        assert len(said) == 1
        assert str(tmp_path / file) in said[0].fields["reason"]
        (tmp_path / file).write_bytes(content)
        assert await listener.admits(good)
        assert not await listener.admits(refused)
        assert sum(record.message == "TLS files read again" for record in caplog.records) == 1

    caplog.set_level("INFO")
    run(loop, Tls(config), test)


def test_a_key_and_its_certificate_need_not_change_at_once(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.issue("server")
    files = [path.read_bytes() for path in first[:2]]

    async def serial(listener: Listener) -> int:
        stream = await listener.open(client(authority))
        stream.writer.transport.abort()
        return stream.server_serial

    async def test(listener: Listener) -> None:
        second = authority.issue("server")
        new_certificate = second.cert_file.read_bytes()
        second.cert_file.write_bytes(files[0])
        assert await serial(listener) == first.serial_number
        second.cert_file.write_bytes(new_certificate)
        assert await serial(listener) == second.serial_number

    run(loop, Tls(authority.tls_config(first, verify_clients=False)), test)


# Sessions that are taken up again skip the handshake's checks, so they must not skip ours.


class Resuming:
    """A client of TLS 1.2 on a plain socket, which takes its session up again."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._port, self._context = port, context
        self.session: ssl.SSLSession | None = None
        self.resumed = False

    async def admitted(self) -> bool:
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> bool:
        plain = socket.create_connection(("127.0.0.1", self._port), 10)
        try:
            with self._context.wrap_socket(plain, server_hostname="127.0.0.1", session=self.session) as tls:
                self.resumed, self.session = bool(tls.session_reused), self.session or tls.session
                tls.sendall(b"hello")
                answered = tls.recv(5) == b"hello"
                tls.unwrap()  # a session whose connection was just cut is not remembered
                return answered
        except OSError:
            return False


@pytest.mark.parametrize(
    "change",
    ["nothing", "revoked", "shown authority revoked", "authority gone", "authority revoked", "certificate renewed"],
)
def test_a_session_does_not_outlive_the_trust_it_began_with(loop: str, change: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    between, known = (Authority(tmp_path, name, parent=authority) for name in ("between", "known"))
    issuer = {"shown authority revoked": between, "authority revoked": known}.get(change, authority)
    user = issuer.issue("user")
    if issuer is known:
        show_alone(user)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.pem + known.pem)
    files = {"crl_file": str(authority.revoke()), "trusted_ca_file": str(trusted)}
    config = authority.tls_config(authority.issue("server"), **files)

    async def test(listener: Listener) -> None:
        resuming = Resuming(listener.port, client(authority, user))
        assert await resuming.admitted()
        if change == "revoked":
            authority.revoke(user)
        elif change.endswith("authority revoked"):
            authority.revoke(issuer)
        elif change == "authority gone":
            trusted.write_bytes(Authority(tmp_path, "new").pem)
        elif change == "certificate renewed":
            authority.issue("server")
        assert await resuming.admitted() == (change in ("nothing", "certificate renewed"))

    run(loop, Tls(config), test)


def test_a_session_ends_with_its_certificate(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    now = [0.0]
    tls = Tls(authority.tls_config(authority.issue("server")), wall=lambda: now[0])

    async def test(listener: Listener) -> None:
        resuming = Resuming(listener.port, client(authority, authority.issue("user")))
        assert await resuming.admitted()
        now[0] = 1e11  # long after all certificates
        admitted = await resuming.admitted()
        assert admitted is not resuming.resumed

    run(loop, tls, test)


# Files that can't be used at the start.


def test_what_can_not_be_used_is_named(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, other = authority.issue("server"), authority.issue("other")
    encrypted, garbage = tmp_path / "encrypted.pem", tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    subprocess.run(
        ["openssl", "ec", "-in", server.key_file, "-out", encrypted, "-aes256", "-passout", "pass:secret"],
        check=True,
        capture_output=True,
    )
    good = TlsConfig(*server.files, trusted_ca_file=str(authority.path), verify_clients=True)
    cases = {
        "No such file": good._replace(cert_file=str(tmp_path / "none.pem")),
        "the private key is encrypted": good._replace(key_file=str(encrypted)),
        "mismatch": good._replace(key_file=str(other.key_file)),
        "garbage.pem: no certificate": good._replace(trusted_ca_file=str(garbage)),
        "garbage.pem": good._replace(crl_file=str(garbage)),
        "insecure TLS cipher suite 'TLS_RSA_WITH_RC4_128_SHA'": good._replace(
            cipher_suites=("TLS_RSA_WITH_RC4_128_SHA",)
        ),
    }
    for reason, config in cases.items():
        with pytest.raises(TlsError) as raised:
            load(config)
        assert reason in str(raised.value)
        assert "_ssl.c" not in str(raised.value)
