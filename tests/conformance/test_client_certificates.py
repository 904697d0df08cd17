"""Users that client certificates name (`--client-cert-auth`, over TLS): etcd, where it is installed, and both lanes of
etcdpy have to agree with one rule."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import itertools
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from etcdpy.pki import KeyPair, Kind, Period, issue, make_authority
from etcdpy.pki_files import PairFiles, write_pair

from .servers import ETCD, NO_ETCD, START_SECONDS, _free_ports, _stop

ETCDPY = [sys.executable, "-m", "etcdpy", "--bcrypt-cost=4"]
COMMANDS = {
    "etcd": [str(ETCD), "--enable-v2=true"],
    "fast-lane": [*ETCDPY, "--fast-lane=on"],
    "aiohttp-lane": [*ETCDPY, "--fast-lane=off"],
}
PERIOD = Period.from_now(datetime.datetime.now(datetime.UTC), 2)
KEYS_REQUESTS = [
    *itertools.product(("GET", "HEAD", "PUT", "POST", "DELETE"), ("/v2/keys/app/x", "/v2/keys/secret")),
    ("GET", "/v2/keys/app/k?quorum=true"),
    ("GET", "/v2/keys/secret?quorum=true"),
    ("GET", "/v2/keys/app/k?wait=true&waitIndex=1"),
    ("GET", "/v2/keys/secret?wait=true&waitIndex=1"),
    ("GET", "/v2/keys/?recursive=true"),
]
REQUESTS = [
    *KEYS_REQUESTS,
    ("GET", "/v2/auth/users"),
    ("GET", "/v2/auth/roles/alice"),
    ("PUT", "/v2/auth/users/alice"),
    ("DELETE", "/v2/auth/users/none"),
    ("POST", "/v2/members"),
    ("DELETE", "/v2/members/1"),
    ("GET", "/v2/members"),
    ("GET", "/v2/stats/self"),
    ("GET", "/v2/auth/enable"),
]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


IDENTITIES: dict[str, tuple[str, str | None, str]] = {
    "root": ("root", None, "root"),
    "alice": ("alice", None, "alice"),
    "a certificate of nobody we know": ("nobody", None, "guest"),
    "a password beats a certificate": ("root", basic("alice", "pw"), "alice"),
    "a greater one, too": ("alice", basic("root", "pw"), "root"),
    "an unknown one, and a password": ("nobody", basic("alice", "pw"), "alice"),
    "a wrong password": ("root", basic("root", "no"), "no one"),
    "an unknown user": ("root", basic("mallory", "pw"), "no one"),
    "another scheme": ("root", "Bearer x", "no one"),
    "no password at all": ("root", "Basic", "no one"),
    "an empty header is none": ("root", "", "root"),
}
"""Whose certificate, what `Authorization`, and as whom that counts."""


def may(who: str, method: str, target: str, guests: bool) -> bool:
    if target in ("/v2/stats/self", "/v2/auth/enable") or (method, target) == ("GET", "/v2/members"):
        return True
    if not target.startswith("/v2/keys"):
        return who == "root"
    return {"root": True, "alice": "/app/" in target, "guest": guests, "no one": False}[who]


class Pki:
    def __init__(self, directory: Path, authority: str = "ca") -> None:
        self._directory = directory
        self._authority = make_authority(authority, PERIOD)
        self._write("ca", self._authority)
        self._write("server", issue(self._authority, Kind.PEER, "server", ("127.0.0.1",), PERIOD))
        for name in ("root", "alice", "nobody"):
            self._write(name, issue(self._authority, Kind.CLIENT, name, (), PERIOD))
        self._write("", self._nameless())

    def _write(self, name: str, pair: KeyPair) -> None:
        write_pair(PairFiles.of(self._directory / f"cert-{name}.pem"), pair)

    def path(self, name: str) -> str:
        return str(self._directory / f"cert-{name}.pem")

    def _nameless(self) -> KeyPair:
        """Its alternative name is a user's, which counts for nothing."""
        key, authority = ec.generate_private_key(ec.SECP256R1()), self._authority
        builder = x509.CertificateBuilder(authority.certificate.subject, x509.Name([]), key.public_key(), 7, *PERIOD)
        names = x509.SubjectAlternativeName([x509.DNSName("root"), x509.RFC822Name("root@localhost")])
        builder = builder.add_extension(names, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        return KeyPair(builder.sign(authority.key, hashes.SHA256()), key)

    def shown_by(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.path("ca"))
        context.load_cert_chain(self.path(name), self.path(name + "-key"))
        return context


class Server:
    """Asked over a new connection each time."""

    def __init__(self, port: int, pki: Pki) -> None:
        self._port, self._pki = port, pki

    def ask(
        self, cert: str, method: str, target: str, value: Any = None, authorization: str | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._pki.shown_by(cert), timeout=START_SECONDS
        )
        headers = {} if authorization is None else {"Authorization": authorization}
        body = None
        if value is not None:
            headers["Content-Type"], body = "application/json", json.dumps(value)
        with contextlib.closing(connection):
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def status(self, identity: str, method: str, target: str) -> int:
        cert, authorization, _ = IDENTITIES[identity]
        return self.ask(cert, method, target, {} if method in ("PUT", "POST") else None, authorization)[0]

    def told(self, method: str, target: str, value: Any = None) -> None:
        """Said by root, and done."""
        status, body = self.ask("root", method, target, value)
        assert status in (200, 201), body

    def set_up(self) -> None:
        for key in ("/app/k", "/secret"):
            self.told("PUT", f"/v2/keys{key}?value=v")
        kv = {"kv": {"read": ["/app/*"], "write": ["/app/*"]}}
        self.told("PUT", "/v2/auth/roles/alice", {"role": "alice", "permissions": kv})
        self.told("PUT", "/v2/auth/users/alice", {"user": "alice", "password": "pw", "roles": ["alice"]})
        self.told("PUT", "/v2/auth/users/root", {"user": "root", "password": "pw"})
        self.told("PUT", "/v2/auth/enable")

    def shut_guests_out(self) -> None:
        self.told(
            "PUT",
            "/v2/auth/roles/guest",
            {"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": ["/*"]}}},
        )


@contextlib.contextmanager
def running(command: list[str], directory: Path, authority: str = "ca") -> Iterator[Server]:
    pki, (client, peer) = Pki(directory, authority), _free_ports(2)
    flags = {
        "name": "m",
        "data-dir": directory / "data",
        "initial-cluster": f"m=http://127.0.0.1:{peer}",
        "cert-file": pki.path("server"),
        "key-file": pki.path("server-key"),
        "trusted-ca-file": pki.path("ca"),
        "client-cert-auth": "true",
        **dict.fromkeys(("listen-client-urls", "advertise-client-urls"), f"https://127.0.0.1:{client}"),
        **dict.fromkeys(("listen-peer-urls", "initial-advertise-peer-urls"), f"http://127.0.0.1:{peer}"),
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in flags.items())], stdout=log, stderr=log
        )
    with contextlib.ExitStack() as stack:
        stack.callback(_stop, process)
        server = Server(client, pki)
        deadline = time.monotonic() + START_SECONDS
        while not is_healthy(server):
            assert time.monotonic() < deadline, (directory / "log").read_text()
            assert process.poll() is None, (directory / "log").read_text()
            time.sleep(0.05)
        server.set_up()
        yield server


def is_healthy(server: Server) -> bool:
    try:
        return server.ask("root", "GET", "/health")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("kind", COMMANDS)
def test_who_somebody_is_and_what_that_allows(kind: str, tmp_path: Path) -> None:
    if kind == "etcd" and ETCD is None:
        pytest.skip(NO_ETCD)
    with running(COMMANDS[kind], tmp_path) as server:
        for guests in (True, False):
            if not guests:
                server.shut_guests_out()
            cells = list(itertools.product(IDENTITIES, REQUESTS))
            for identity, (method, target) in cells[::4] if kind == "etcd" else cells:  # etcd pays for each password
                allowed = may(IDENTITIES[identity][2], method, target, guests)
                status = server.status(identity, method, target)
                assert (status != 401) is allowed, (guests, identity, method, target, status)
                assert status < 500


@pytest.mark.parametrize("kind", ["fast-lane", "aiohttp-lane"])
def test_a_certificate_without_a_name_is_a_guests_and_its_authority_has_no_say(kind: str, tmp_path: Path) -> None:
    """etcd 3.4 drops the connection for the first, and takes the authority's common name for a user's."""
    with running(COMMANDS[kind], tmp_path, authority="root") as server:
        for guests in (True, False):
            if not guests:
                server.shut_guests_out()
            for cert, (method, target) in itertools.product(("", "nobody"), REQUESTS):
                status, _ = server.ask(cert, method, target, {} if method in ("PUT", "POST") else None)
                assert (status != 401) is may("guest", method, target, guests), (cert, method, target, status)
