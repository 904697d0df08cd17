"""Members on HTTPS, in this process, with certificates of an authority of their own."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from in_process import DEADLINE_SECONDS, Cluster, MemberProcess

from etcdpy.pki import Kind, Period, issue, make_authority
from etcdpy.pki_files import PairFiles, write_pair
from etcdpy.url import Url

DAY = datetime.timedelta(days=1)
HERE = ("127.0.0.1",)


class Pki:
    """An authority, and files of what it issues; `revoke` writes its list anew."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.authority = make_authority(name, self.period())
        self.ca_files = PairFiles.of(directory / f"{name}.pem")
        self.crl_file = directory / f"{name}.crl"
        self._revoked: list[int] = []
        write_pair(self.ca_files, self.authority)
        self.revoke()

    @property
    def ca_file(self) -> str:
        return str(self.ca_files.certificate)

    @staticmethod
    def period(begin: float = -2, end: float = 60) -> Period:
        """In days from now."""
        now = datetime.datetime.now(datetime.UTC)
        return Period(now + begin * DAY, now + end * DAY)

    def issue(
        self, kind: Kind, name: str, hosts: tuple[str, ...] = (), period: Period | None = None
    ) -> tuple[str, str]:
        """The certificate's and the key's file."""
        pair = issue(self.authority, kind, name, hosts, period or self.period())
        files = PairFiles.of(self.directory / f"{kind}-{name}.pem")
        write_pair(files, pair, replace=True)
        return str(files.certificate), str(files.key)

    def revoke(self, *cert_files: str) -> None:
        for path in cert_files:
            self._revoked.append(x509.load_pem_x509_certificate(Path(path).read_bytes()).serial_number)
        begin, end = self.period()
        builder = x509.CertificateRevocationListBuilder(self.authority.certificate.subject, begin, end)
        for serial in self._revoked:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, begin).build())
        self.crl_file.write_bytes(builder.sign(self.authority.key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def client(self, *files: str) -> ssl.SSLContext:
        """What a client needs: the authority, and its own certificate if it has one."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if files:
            context.load_cert_chain(*files)
        return context


def peer_settings(pki: Pki, name: str, hosts: tuple[str, ...] = HERE) -> dict[str, Any]:
    cert_file, key_file = pki.issue(Kind.PEER, name, hosts)
    return {
        "peer_cert_file": cert_file,
        "peer_key_file": key_file,
        "peer_trusted_ca_file": pki.ca_file,
        "peer_client_cert_auth": True,
        "peer_crl_file": str(pki.crl_file),
    }


def server_settings(pki: Pki) -> dict[str, Any]:
    cert_file, key_file = pki.issue(Kind.SERVER, "server", HERE)
    return {"cert_file": cert_file, "key_file": key_file}


def secured(member: MemberProcess) -> None:
    """Turns a member's URLs, all but the plain one that the tests ask, into https."""
    config = member.config
    member.config = dataclasses.replace(
        config,
        listen_peer_urls=tuple(url._replace(scheme="https") for url in config.listen_peer_urls),
        initial_advertise_peer_urls=tuple(url._replace(scheme="https") for url in config.initial_advertise_peer_urls),
        initial_cluster={
            name: tuple(url.replace("http://", "https://") for url in urls)
            for name, urls in config.initial_cluster.items()
        },
    )


def with_https_url(member: MemberProcess, port: int) -> str:
    """Clients may use this URL, too."""
    url = Url("https", "127.0.0.1", port)
    config = member.config
    urls = (*config.listen_client_urls, url)
    member.config = dataclasses.replace(config, listen_client_urls=urls, advertise_client_urls=(url,))
    return str(url)


def change(member: MemberProcess, **settings: Any) -> None:
    member.config = dataclasses.replace(member.config, **settings)


Scenario = Callable[[Cluster], Awaitable[None]]


def run_prepared(
    directory: Path, prepare: Callable[[MemberProcess], object], scenario: Scenario, size: int = 3
) -> None:
    """Like `in_process.run`, for members whose configurations `prepare` has changed."""

    async def all_of_it() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS)) as session:
            cluster = Cluster(directory, session, size, {})
            for member in cluster.members:
                prepare(member)
            try:
                await cluster.start()
                await scenario(cluster)
                await cluster.check_alike()
            finally:
                await cluster.stop()

    uvloop.run(all_of_it())


async def answers(address: tuple[str, int], context: ssl.SSLContext | None, data: bytes, more: bytes = b"") -> bytes:
    """What a connection says to `data`, and to `more` once it has changed protocols, until it is closed; b"" if it does
    not come about."""
    try:
        reader, writer = await asyncio.open_connection(*address, ssl=context)
    except (OSError, ssl.SSLError):
        return b""
    said = b""
    try:
        writer.write(data)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while piece := await reader.read(65536):
                said += piece
                if said.startswith(b"HTTP/1.1 101 "):
                    writer.write(more)
                    more = b""
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.transport.abort()
    return said
