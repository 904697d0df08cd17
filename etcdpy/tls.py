"""From the flags of a member to the TLS of its ports, with certificates made here where `--auto-tls` asks for them.

Differences from etcd, all towards safety: peers with certificates always have to show them to each other, whatever
`--peer-client-cert-auth` says, and without `--peer-trusted-ca-file` the system's authorities vouch for them.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cluster.tls import Tls, TlsConfig, TlsError
from etcdpy.config import Config
from etcdpy.flags import ConfigError
from etcdpy.pki import Period, PkiError, hosts_of, self_signed
from etcdpy.pki_files import DIRECTORY_MODE, PairFiles, read_pair, write_pair
from etcdpy.url import Url

AUTO_TLS_DAYS = 3650
AUTO_TLS_DAYS_LEFT = 30
"""A certificate made here that is about to expire is made anew at the start."""


class MemberTls(NamedTuple):
    """None where no certificate was given, which is right for ports that only speak plain HTTP."""

    clients: Tls | None
    peers: Tls | None

    def expiries(self) -> Mapping[str, float]:
        """When the first certificate of each file expires, in seconds since the Unix epoch."""
        used = [tls.expiries for tls in self if tls is not None]
        return {path: expiry for expiries in used for path, expiry in expiries.items()}


def make_tls(config: Config, data_dir: str) -> MemberTls:
    """Raises ConfigError if a file can't be used."""
    clients, peers = _client_config(config, data_dir), _peer_config(config, data_dir)
    return MemberTls(clients and _checked(clients, "clients"), peers and _checked(peers, "peers"))


def warnings(config: Config) -> list[str]:
    """What an operator should know of how open this member is."""
    found = [
        f"{kind} url {url} is NOT ENCRYPTED and can be reached from other machines:"
        f" whoever can reach it may {what}; use https:// and --{prefix}cert-file"
        for kind, prefix, urls, what in (
            ("client", "", config.listen_client_urls, "read and write everything"),
            ("peer", "peer-", config.listen_peer_urls, "act as a member of the cluster"),
        )
        for url in urls
        if not url.is_tls and not is_loopback(url.host)
    ]
    if config.peer_auto_tls and not config.peer_cert_file:
        found.append("--peer-auto-tls encrypts, but does not check who the other members are")
    elif config.peer_cert_file and not config.peer_trusted_ca_file:
        found.append("without --peer-trusted-ca-file, peers are checked against the system's authorities")
    for prefix, auto, file in (
        ("", config.auto_tls, config.cert_file),
        ("peer-", config.peer_auto_tls, config.peer_cert_file),
    ):
        if auto and file:
            found.append(f"--{prefix}auto-tls is ignored, because --{prefix}cert-file is given")
    return found


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _checked(config: TlsConfig, whose: str) -> Tls:
    try:
        return Tls(config)
    except TlsError as error:
        raise ConfigError(f"TLS for {whose}: {error}") from None


def _client_config(config: Config, data_dir: str) -> TlsConfig | None:
    files = _files(config.cert_file, config.key_file)
    if files is None and config.auto_tls:
        files = _made_here(Path(data_dir, "fixtures", "client"), config.listen_client_urls)
    if files is None:
        return None
    return TlsConfig(
        *files,
        trusted_ca_file=config.trusted_ca_file,
        crl_file=config.client_crl_file,
        verify_clients=bool(config.client_cert_auth or config.trusted_ca_file),
        allowed_hostname=config.client_cert_allowed_hostname,
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
        cipher_suites=config.cipher_suites,
    )


def _peer_config(config: Config, data_dir: str) -> TlsConfig | None:
    files = _files(config.peer_cert_file, config.peer_key_file)
    is_checked = files is not None
    if files is None and config.peer_auto_tls:
        files = _made_here(Path(data_dir, "fixtures", "peer"), config.listen_peer_urls)
    if files is None:
        return None
    return TlsConfig(
        *files,
        trusted_ca_file=config.peer_trusted_ca_file,
        crl_file=config.peer_crl_file,
        verify_clients=is_checked,
        verify_servers=is_checked,
        allowed_cn=config.peer_cert_allowed_cn,
        allowed_hostname=config.peer_cert_allowed_hostname,
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
        cipher_suites=config.cipher_suites,
    )


def _files(cert_file: str | None, key_file: str | None) -> tuple[str, str] | None:
    return (cert_file, key_file) if cert_file and key_file else None


def _made_here(directory: Path, urls: Sequence[Url]) -> tuple[str, str] | None:
    """A self-signed certificate for the hosts of these URLs, kept from start to start. None if no URL needs it."""
    hosts = [url.host or "localhost" for url in urls if url.is_tls]
    if not hosts:
        return None
    files = PairFiles(directory / "cert.pem", directory / "key.pem")
    if not _is_still_good(files, hosts):
        directory.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC)
        write_pair(files, self_signed("etcdpy", hosts, Period.from_now(now, AUTO_TLS_DAYS)), replace=True)
    return str(files.certificate), str(files.key)


def _is_still_good(files: PairFiles, hosts: Sequence[str]) -> bool:
    try:
        certificate = read_pair(files).certificate
    except PkiError:
        return False
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left > datetime.timedelta(days=AUTO_TLS_DAYS_LEFT) and set(hosts) <= set(hosts_of(certificate))
