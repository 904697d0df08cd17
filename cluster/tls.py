"""TLS for listening and for dialling, from files that may change while we run.

Owns the SSL contexts and the judgement on the other side's certificate beyond what OpenSSL checks: the CRL, the name it
must have, and sessions that began under an older trust. Knows nothing of members, users or HTTP.

Files are looked at (one `stat` each) before every handshake, and read again when one of them is another file or was
changed. New handshakes use the new content, connections that are up go on. Content that cannot be used is said once and
changes nothing. Files that belong together need not be replaced at the same time: until they fit, the old ones count.

A connection has passed all checks before its protocol hears of it. TLS below 1.2, renegotiation and compression are
off; so are tickets where clients show certificates, for they would outlive a revocation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from cryptography import x509

from cluster.certificate import Certificate, chain_of, common_name, expires_at, names_host
from cluster.ciphers import openssl_ciphers
from cluster.revocations import Revocations

HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0
MAX_REFUSED_LOGGED = 256

log = logging.getLogger(__name__)

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class TlsError(Exception):
    """The files can't be used, or the settings name a cipher suite that can't be had."""


class TlsConfig(NamedTuple):
    """PEM files and what is asked of the other side. `verify_clients`: who dials us must show a certificate.
    `verify_servers`: whom we dial must. Either is checked against `trusted_ca_file`, or the system's authorities."""

    cert_file: str
    key_file: str
    trusted_ca_file: str | None = None
    crl_file: str | None = None
    verify_clients: bool = False
    verify_servers: bool = True
    allowed_cn: str | None = None
    allowed_hostname: str | None = None
    min_version: str = "TLS1.2"
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.cert_file, self.key_file, self.trusted_ca_file, self.crl_file)))


class Loaded(NamedTuple):
    """The files' content, ready for use. `trust` changes when the authorities do, or when one of them is taken back.
    `expiries` has the first end of validity in each file of certificates, in seconds since the Unix epoch."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    revocations: Revocations
    trust: frozenset[x509.Certificate]
    expiries: dict[str, float]


def load(config: TlsConfig) -> Loaded:
    """Raises TlsError."""
    server = _context(config, ssl.PROTOCOL_TLS_SERVER, config.verify_clients)
    client = _context(config, ssl.PROTOCOL_TLS_CLIENT, config.verify_servers)
    if config.verify_clients:
        server.options |= ssl.OP_NO_TICKET
        server.num_tickets = 0
    revocations = _revocations(config.crl_file)
    read = {path: _certificates(path) for path in filter(None, (config.cert_file, config.trusted_ca_file))}
    authorities = read[config.trusted_ca_file] if config.trusted_ca_file else []
    trust = frozenset(authority for authority in authorities if not revocations.lists(authority))
    expiries = {path: min(each.not_valid_after_utc.timestamp() for each in found) for path, found in read.items()}
    return Loaded(server, client, revocations, trust, expiries)


def _context(config: TlsConfig, protocol: int, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _version(config.min_version)
    context.maximum_version = _version(config.max_version) if config.max_version else ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.check_hostname = verify and protocol == ssl.PROTOCOL_TLS_CLIENT
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    try:
        context.set_ciphers(openssl_ciphers(config.cipher_suites))
    except ValueError as error:
        raise TlsError(str(error)) from None
    _load_certificate(context, config)
    if verify:
        _load_authorities(context, config.trusted_ca_file, protocol)
    return context


def _version(name: str) -> ssl.TLSVersion:
    return {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}[name]


def _load_certificate(context: ssl.SSLContext, config: TlsConfig) -> None:
    try:
        context.load_cert_chain(config.cert_file, config.key_file, password=_no_password)
    except (OSError, ValueError) as error:
        raise TlsError(f"cannot use {config.cert_file} with {config.key_file}: {_reason(error)}") from None


def _no_password() -> str:
    """Without this, OpenSSL would ask on the terminal."""
    raise ValueError("the private key is encrypted")


def _load_authorities(context: ssl.SSLContext, path: str | None, protocol: int) -> None:
    is_server = protocol == ssl.PROTOCOL_TLS_SERVER
    if path is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH if is_server else ssl.Purpose.SERVER_AUTH)
        return
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise TlsError(f"cannot use {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """OpenSSL's errors begin with a library and end with a line of its source."""
    if isinstance(error, ssl.SSLError):
        return re.sub(r"^\[[^\]]*\] | ?\(_ssl\.c:\d+\)$", "", str(error))
    return str(getattr(error, "strerror", None) or error)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsError(f"cannot read {path}: {_reason(error)}") from None


def _certificates(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise TlsError(f"cannot use {path}: {error}") from None


def _revocations(path: str | None) -> Revocations:
    if path is None:
        return Revocations()
    try:
        return Revocations.read(_read(path))
    except ValueError as error:
        raise TlsError(f"cannot use {path}: {error}") from None


class Tls:
    """The TLS of one kind of connection: what the files say now."""

    def __init__(self, config: TlsConfig, wall: Callable[[], float] = time.time) -> None:
        """`wall` gives seconds since the Unix epoch. Raises TlsError."""
        self.config = config
        self._wall = wall
        self._seen = _signatures(config.files)
        self._loaded = load(config)
        self._trusted_since = 0.0
        self._refused: set[tuple[str, str]] = set()
        self._listening = load(config).server
        self._listening.sni_callback = self._begin_handshake

    @property
    def listening(self) -> ssl.SSLContext:
        """For a listener. Each handshake gets what is in the files when it begins."""
        return self._listening

    def dialling(self) -> ssl.SSLContext:
        """For one dialled connection."""
        self.refresh()
        return self._loaded.client

    @property
    def expiries(self) -> dict[str, float]:
        """When the first certificate in each file of certificates expires, in seconds since the Unix epoch."""
        self.refresh()
        return self._loaded.expiries

    def refresh(self) -> None:
        """Reads the files again if they changed. A failure is said once, and the old content stays."""
        signatures = _signatures(self.config.files)
        if signatures == self._seen:
            return
        self._seen = signatures
        try:
            loaded = load(self.config)
        except TlsError as error:
            log.warning("changed TLS files not used", extra={"fields": {"reason": str(error)}})
            return
        if loaded.trust != self._loaded.trust:
            self._trusted_since = self._wall()
        self._loaded = loaded
        log.info("TLS files read again", extra={"fields": {"cert_file": self.config.cert_file}})

    def guard(self, protocol: ProtocolFactory) -> ProtocolFactory:
        """A factory for `create_server`, with `listening`, whose connections reach `protocol` once they are judged."""
        return lambda: _Gate(self._admits, protocol)

    def judge_server(self, connection: ssl.SSLObject) -> str | None:
        """What is wrong with the server of a dialled connection whose handshake is done; None for nothing."""
        return self._judge(connection) if self.config.verify_servers else None

    def judge_client(self, connection: ssl.SSLObject) -> str | None:
        """The same for who dialled us."""
        return self._judge(connection) if self.config.verify_clients else None

    def _judge(self, connection: ssl.SSLObject) -> str | None:
        certificate: Certificate = connection.getpeercert() or {}
        if not certificate:
            return "no certificate"
        if self.config.crl_file and self._loaded.revocations.concern(chain_of(connection)):
            return "certificate revoked"
        if self.config.allowed_cn and common_name(certificate) != self.config.allowed_cn:
            return "common name not allowed"
        if self.config.allowed_hostname and not names_host(certificate, self.config.allowed_hostname):
            return "host name not allowed"
        return self._judge_session(connection, certificate)

    def _judge_session(self, connection: ssl.SSLObject, certificate: Certificate) -> str | None:
        """A session that is taken up again skips OpenSSL's checks."""
        session = connection.session
        if not connection.session_reused or session is None:
            return None
        if session.time <= self._trusted_since:
            return "session from before the authorities changed"
        return "certificate expired" if expires_at(certificate) < self._wall() else None

    def _begin_handshake(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.refresh()
        connection.context = self._loaded.server

    def _admits(self, transport: asyncio.BaseTransport) -> bool:
        """A client that keeps trying is logged once."""
        reason = self.judge_client(transport.get_extra_info("ssl_object"))
        remote = str((transport.get_extra_info("peername") or [""])[0])
        if reason and (remote, reason) not in self._refused and len(self._refused) < MAX_REFUSED_LOGGED:
            self._refused.add((remote, reason))
            log.warning("TLS connection refused", extra={"fields": {"remote": remote, "reason": reason}})
        return reason is None


class _Gate(asyncio.Protocol):
    """What a listener's connection meets first: it is called when the handshake is done, and steps aside."""

    def __init__(self, admits: Callable[[asyncio.BaseTransport], bool], protocol: ProtocolFactory) -> None:
        self._admits = admits
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        if not self._admits(transport):
            transport.abort()
            return
        protocol = self._protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _signatures(paths: Iterable[str]) -> tuple[tuple[int, ...], ...]:
    return tuple(map(_signature, paths))


def _signature(path: str) -> tuple[int, ...]:
    """Changes when the file is replaced or written to; empty if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
