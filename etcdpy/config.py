"""The configuration of a member: one line for each flag, all values parsed, with etcd 3.4's names and defaults.

A new flag is one line in `Config`. A field is named after its flag unless `flag` says otherwise; units come last in a
field's name. Nothing here touches disk or network: what must be asked there is handed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from etcdpy.flag_values import (
    allowed,
    at_most,
    boolean,
    choice,
    initial_cluster,
    level,
    listed,
    optional,
    switch,
    text,
    whole,
)
from etcdpy.flags import ConfigError, Flag, read_flags
from etcdpy.foreign_flags import FOREIGN
from etcdpy.http.go_quote import quote
from etcdpy.url import Url, parse_advertised_urls, parse_listen_urls, parse_url

MAX_ELECTION_TIMEOUT_MS = 50_000
ELECTION_HEARTBEATS = 5
"""An election timeout is at least as many heartbeat intervals."""
MAX_REQUEST_BYTES = 32 << 20
"""Twice as much goes into a record of the log and into a message between members."""
DEFAULT_SNAPSHOT_COUNT = 100_000

Value = TypeVar("Value")


class VersionRequested(Exception):
    """`--version` stood on the command line, and nothing was wrong with the rest."""


class Section:
    """A heading of `--help`. Called, it declares one flag under it."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __call__(self, default: str, parse: Callable[[str], Value], help: str, flag: str = "") -> Value:
        """`default` is what a user would write to get it."""
        metadata = {"flag": flag, "parse": parse, "default": default, "section": self._title, "help": help}
        declared: Value = dataclasses.field(default_factory=lambda: parse(default), metadata=metadata)
        return declared


_member = Section("Member")
_clustering = Section("Clustering")
_api = Section("API")
_client_tls = Section("Security of clients")
_peer_tls = Section("Security of peers")
_tls = Section("Security of both")
_auth = Section("Auth")
_logging = Section("Logging")
_unsafe = Section("Unsafe")

_CLIENT = "http://localhost:2379"
_PEER = "http://localhost:2380"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What a member is told at its start. `initial_cluster` has peer URLs by name; `warnings` are for the log."""

    name: str = _member("default", text, "Name of this member for people.")
    data_dir: str = _member("", text, "Directory of this member's data (${name}.etcd unless given).")
    wal_dir: str | None = _member("", optional, "Another directory for the write-ahead log.")
    snapshot_count: int = _member("100000", whole(0), "Entries of the log between two snapshots (0 for the default).")
    heartbeat_interval_ms: int = _member("100", whole(1), "Time (ms) between heartbeats.", "heartbeat-interval")
    election_timeout_ms: int = _member(
        "1000", whole(1), "Time (ms) without a leader to an election.", "election-timeout"
    )
    listen_peer_urls: tuple[Url, ...] = _member(_PEER, parse_listen_urls, "URLs to listen on for other members.")
    listen_client_urls: tuple[Url, ...] = _member(_CLIENT, parse_listen_urls, "URLs to listen on for clients.")
    max_snapshots: int = _member("5", at_most, "Snapshot files to keep (0 is unlimited).")
    max_wals: int = _member("5", at_most, "Files of the write-ahead log to keep (0 is unlimited).")

    initial_advertise_peer_urls: tuple[Url, ...] = _clustering(
        _PEER, parse_advertised_urls, "This member's peer URLs as the other members reach them."
    )
    initial_cluster: Mapping[str, tuple[str, ...]] = _clustering(
        f"default={_PEER}", initial_cluster, "The members of the cluster at its start: name=URL,name=URL."
    )
    initial_cluster_state: str = _clustering("new", choice("new", "existing"), "'existing' joins a running cluster.")
    initial_cluster_token: str = _clustering("etcd-cluster", text, "Keeps apart clusters that have the same URLs.")
    advertise_client_urls: tuple[Url, ...] = _clustering(
        _CLIENT, parse_advertised_urls, "This member's client URLs as clients reach them."
    )
    strict_reconfig_check: bool = _clustering("true", boolean, "Refuse changes of members that would lose the quorum.")

    max_request_bytes: int = _api("1572864", whole(1, MAX_REQUEST_BYTES), "Largest request that clients may send.")
    cors: frozenset[str] = _api("*", allowed, "Origins of web pages that may use the API (* for all).")
    host_whitelist: frozenset[str] = _api("*", allowed, "Host names that clients without TLS may ask for (* for all).")
    v2_quirks: bool = _api("fixed", switch("fixed", "etcd"), "'etcd' gives etcd's bugs, too ('fixed' or 'etcd').")
    fast_lane: bool = _api("on", switch("off", "on"), "Answer plain key requests on a shorter path ('on' or 'off').")

    cert_file: str | None = _client_tls("", optional, "Certificate of the client port.")
    key_file: str | None = _client_tls("", optional, "Private key of that certificate.")
    client_cert_auth: bool = _client_tls("false", boolean, "Require certificates of clients.")
    trusted_ca_file: str | None = _client_tls("", optional, "CA certificates that vouch for clients.")
    client_crl_file: str | None = _client_tls("", optional, "Revoked client certificates.")
    client_cert_allowed_hostname: str | None = _client_tls("", optional, "Host name that client certificates need.")
    auto_tls: bool = _client_tls("false", boolean, "HTTPS for clients with a certificate made here.")

    peer_cert_file: str | None = _peer_tls("", optional, "Certificate of the peer port.")
    peer_key_file: str | None = _peer_tls("", optional, "Private key of that certificate.")
    peer_client_cert_auth: bool = _peer_tls("false", boolean, "Require certificates of peers.")
    peer_trusted_ca_file: str | None = _peer_tls("", optional, "CA certificates that vouch for peers.")
    peer_crl_file: str | None = _peer_tls("", optional, "Revoked peer certificates.")
    peer_cert_allowed_cn: str | None = _peer_tls("", optional, "Common name that certificates of peers need.")
    peer_cert_allowed_hostname: str | None = _peer_tls("", optional, "Host name that certificates of peers need.")
    peer_auto_tls: bool = _peer_tls("false", boolean, "HTTPS between peers with certificates made here.")

    tls_min_version: str = _tls("TLS1.2", choice("TLS1.2", "TLS1.3"), "Oldest version of TLS ('TLS1.2' or 'TLS1.3').")
    tls_max_version: str = _tls("", choice("", "TLS1.2", "TLS1.3"), "Newest version of TLS (the newest unless given).")
    cipher_suites: tuple[str, ...] = _tls("", listed, "Cipher suites of TLS 1.2, by Go's names (all good ones).")

    auth_guest: str = _auth("etcd", choice("etcd", "none"), "Who has no name may do what etcd allows, or nothing.")
    bcrypt_cost: int = _auth("10", whole(4, 31), "Cost of a password's hash (4 to 31).")

    log_level: str = _logging("info", level, "debug, info, warn, error, panic or fatal.")
    log_format: str = _logging("text", choice("text", "json"), "text or json, one line each, on stderr.")

    force_new_cluster: bool = _unsafe("false", boolean, "Make a cluster of this one member from its data.")
    unsafe_no_fsync: bool = _unsafe("false", boolean, "Lose acknowledged writes when the machine fails.")

    warnings: tuple[str, ...] = ()


def _flag(field: dataclasses.Field[Any]) -> Flag:
    declared = field.metadata
    name = declared["flag"] or field.name.replace("_", "-")
    return Flag(name, declared["parse"], declared["default"], declared["section"], declared["help"])


_FIELDS = {_flag(field): field.name for field in dataclasses.fields(Config) if field.metadata}

_OTHER_NAMES = (
    Flag("debug", boolean, "false", "Deprecated", "The same as --log-level=debug."),
    Flag("ca-file", optional, "", "Deprecated", "The same as --trusted-ca-file and --client-cert-auth."),
    Flag("peer-ca-file", optional, "", "Deprecated", "The same as --peer-trusted-ca-file and --peer-client-cert-auth."),
)
_VERSION = Flag("version", boolean, in_environment=False)
"""Images and scripts set ETCD_VERSION to a version, which is not a question."""

FLAGS = (*_FIELDS, *_OTHER_NAMES)
"""What `--help` shows."""

_ACCEPTED = (*FLAGS, _VERSION, *FOREIGN)


def _never(config: Config) -> bool:
    return False


def _as_written(host: str) -> str:
    return host


def parse(
    argv: Sequence[str],
    environ: Mapping[str, str],
    has_begun: Callable[[Config], bool] = _never,
    resolve: Callable[[str], str] = _as_written,
) -> Config:
    """The configuration from the arguments (without the program's name) and the environment.

    `has_begun` says whether a member has its data already: then what a cluster begins with no longer matters, as in
    etcd. `resolve` gives a host's address, because etcd lets `--initial-cluster` have the name and
    `--initial-advertise-peer-urls` the address.

    Raises ConfigError; HelpRequested and VersionRequested if asked for.
    """
    if read_flags(_ACCEPTED, argv, {}).values.get(_VERSION.name):
        raise VersionRequested
    given = read_flags(_ACCEPTED, argv, environ)
    values = {field: given.values[flag.name] for flag, field in _FIELDS.items() if flag.name in given.values}
    config = _complete(Config(**values, warnings=tuple(given.warnings)), given.values)
    _check_times(config)
    _check_urls(config, given.values)
    _check_tls(config)
    if not has_begun(config):
        _check_initial_cluster(config, resolve)
    return dataclasses.replace(config, warnings=(*config.warnings, *_tls_warnings(config)))


def _complete(config: Config, given: Mapping[str, Any]) -> Config:
    """Defaults that depend on other flags, and flags under their other names."""
    changes: dict[str, Any] = {
        "data_dir": config.data_dir or f"{config.name}.etcd",
        "snapshot_count": config.snapshot_count or DEFAULT_SNAPSHOT_COUNT,
    }
    if not config.initial_cluster or "initial-cluster" not in given:
        changes["initial_cluster"] = {config.name: tuple(map(str, config.initial_advertise_peer_urls))}
    if given.get("debug"):
        changes["log_level"] = "debug"
    for prefix in ("", "peer-"):
        if given.get(f"{prefix}ca-file"):
            field = prefix.replace("-", "_")
            changes |= {f"{field}trusted_ca_file": given[f"{prefix}ca-file"], f"{field}client_cert_auth": True}
    return dataclasses.replace(config, **changes)


def _check_times(config: Config) -> None:
    heartbeat, election = config.heartbeat_interval_ms, config.election_timeout_ms
    if election < ELECTION_HEARTBEATS * heartbeat:
        raise ConfigError(
            f"--election-timeout[{election}ms] should be at least as {ELECTION_HEARTBEATS} times"
            f" as --heartbeat-interval[{heartbeat}ms]"
        )
    if election > MAX_ELECTION_TIMEOUT_MS:
        raise ConfigError(
            f"--election-timeout[{election}ms] is too long, and should be set less than {MAX_ELECTION_TIMEOUT_MS}ms"
        )


def _check_urls(config: Config, given: Mapping[str, Any]) -> None:
    if "listen-client-urls" in given and "advertise-client-urls" not in given:
        raise ConfigError("--advertise-client-urls is required when --listen-client-urls is set explicitly")
    listened = (*config.listen_client_urls, *config.listen_peer_urls)
    addresses = [(url.host, url.port) for url in listened if url.port]
    if len(set(addresses)) < len(addresses):
        raise ConfigError("--listen-client-urls and --listen-peer-urls name an address twice")


def _check_initial_cluster(config: Config, resolve: Callable[[str], str]) -> None:
    own = config.initial_cluster.get(config.name)
    if own is None:
        raise ConfigError(
            f"--initial-cluster: couldn't find local name {quote(config.name)} in the initial cluster configuration"
        )
    advertised = tuple(map(str, config.initial_advertise_peer_urls))
    if own != advertised and _resolved(own, resolve) != _resolved(advertised, resolve):
        raise ConfigError(
            f"--initial-cluster has {config.name}={','.join(own)}"
            f" but --initial-advertise-peer-urls is {','.join(advertised)}"
        )


def _resolved(urls: Sequence[str], resolve: Callable[[str], str]) -> list[tuple[str, str, int]]:
    return sorted((url.scheme, resolve(url.host), url.port) for url in map(parse_url, urls))


def _check_tls(config: Config) -> None:
    _check_pair(config.cert_file, config.key_file, "")
    _check_pair(config.peer_cert_file, config.peer_key_file, "peer-")
    _check_certificate(config.listen_client_urls, config.cert_file, config.auto_tls, "")
    _check_certificate(config.listen_peer_urls, config.peer_cert_file, config.peer_auto_tls, "peer-")
    if config.tls_max_version and config.tls_max_version < config.tls_min_version:
        raise ConfigError("--tls-max-version is older than --tls-min-version")
    if config.client_cert_auth and not config.trusted_ca_file:
        raise ConfigError("--client-cert-auth needs --trusted-ca-file")
    if config.peer_client_cert_auth and not config.peer_trusted_ca_file:
        raise ConfigError("--peer-client-cert-auth needs --peer-trusted-ca-file")


def _check_pair(cert_file: str | None, key_file: str | None, prefix: str) -> None:
    if bool(cert_file) != bool(key_file):
        raise ConfigError(f"--{prefix}cert-file and --{prefix}key-file must both be given, or neither")


def _check_certificate(urls: tuple[Url, ...], cert_file: str | None, auto_tls: bool, prefix: str) -> None:
    url = next((url for url in urls if url.is_tls), None)
    if url is not None and not cert_file and not auto_tls:
        kind = "peer" if prefix else "client"
        raise ConfigError(
            f"TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided for {kind} url {url}"
            " with HTTPS scheme"
        )


def _tls_warnings(config: Config) -> list[str]:
    """In etcd's words (`embed/etcd.go`)."""
    kinds = (
        ("client", config.listen_client_urls, config.cert_file, config.client_cert_auth),
        ("peer", config.listen_peer_urls, config.peer_cert_file, config.peer_client_cert_auth),
    )
    return [
        f"The scheme of {kind} url {url} is HTTP while {kind} key/cert files are presented. Ignored key/cert files."
        for kind, urls, cert_file, cert_auth in kinds
        for url in urls
        if not url.is_tls and (cert_file or cert_auth)
    ]
