"""The configuration of a member: one line for each flag, all values parsed, with etcd 3.4's names and defaults.

A new flag is one line in `Config`. A field is named after its flag unless `flag` says otherwise; units come last in a
field's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from etcdpy.flag_values import allowed, boolean, choice, listed, parse_initial_cluster, switch, text, whole
from etcdpy.flags import ConfigError, Flag
from etcdpy.url import Url, parse_listen_urls, parse_urls

MAX_ELECTION_TIMEOUT_MS = 50_000
ELECTION_HEARTBEATS = 5
"""An election timeout is at least as many heartbeat intervals."""

Value = TypeVar("Value")


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
_logging = Section("Logging")
_unsafe = Section("Unsafe")

_CLIENT = "http://localhost:2379"
_PEER = "http://localhost:2380"
_LEVELS = ("debug", "info", "warn", "error", "panic", "fatal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What a member is told at its start. `initial_cluster` has peer URLs by member name."""

    name: str = _member("default", text, "Name of this member for people.")
    data_dir: str = _member("${name}.etcd", text, "Directory of this member's data.")
    wal_dir: str = _member("", text, "Another directory for the write-ahead log.")
    snapshot_count: int = _member("100000", whole(0), "Entries of the log between two snapshots (0 for the default).")
    heartbeat_interval_ms: int = _member("100", whole(1), "Time (ms) between heartbeats.", "heartbeat-interval")
    election_timeout_ms: int = _member(
        "1000", whole(1), "Time (ms) without a leader to an election.", "election-timeout"
    )
    listen_peer_urls: tuple[Url, ...] = _member(_PEER, parse_listen_urls, "URLs to listen on for other members.")
    listen_client_urls: tuple[Url, ...] = _member(_CLIENT, parse_listen_urls, "URLs to listen on for clients.")
    max_snapshots: int = _member("5", whole(0), "Snapshot files to keep (0 is unlimited).")
    max_wals: int = _member("5", whole(0), "Files of the write-ahead log to keep (0 is unlimited).")

    initial_advertise_peer_urls: tuple[Url, ...] = _clustering(
        _PEER, parse_urls, "This member's peer URLs as the other members reach them."
    )
    initial_cluster: Mapping[str, tuple[str, ...]] = _clustering(
        f"default={_PEER}", parse_initial_cluster, "The members of the cluster at its start: name=URL,name=URL."
    )
    initial_cluster_state: str = _clustering("new", choice("new", "existing"), "'existing' joins a running cluster.")
    initial_cluster_token: str = _clustering("etcd-cluster", text, "Keeps apart clusters that have the same URLs.")
    advertise_client_urls: tuple[Url, ...] = _clustering(
        _CLIENT, parse_urls, "This member's client URLs as clients reach them."
    )
    strict_reconfig_check: bool = _clustering("true", boolean, "Refuse changes of members that would lose the quorum.")

    max_request_bytes: int = _api("1572864", whole(1), "Largest request that clients may send.")
    cors: frozenset[str] = _api("*", allowed, "Origins of web pages that may use the API (* for all).")
    v2_quirks: bool = _api("fixed", switch("fixed", "etcd"), "'etcd' gives etcd's bugs, too.")
    fast_lane: bool = _api("on", switch("off", "on"), "Answer plain key requests on a shorter path (on or off).")

    cert_file: str = _client_tls("", text, "Certificate of the client port.")
    key_file: str = _client_tls("", text, "Private key of that certificate.")
    client_cert_auth: bool = _client_tls("false", boolean, "Require certificates of clients.")
    trusted_ca_file: str = _client_tls("", text, "CA certificates that vouch for clients.")
    client_crl_file: str = _client_tls("", text, "Revoked client certificates.")
    auto_tls: bool = _client_tls("false", boolean, "HTTPS for clients with a certificate made here.")
    host_whitelist: frozenset[str] = _client_tls("*", allowed, "Host names that clients without TLS may ask for.")
    auth_guest: str = _client_tls("etcd", choice("etcd", "none"), "What guests may do once auth is enabled.")
    bcrypt_cost: int = _client_tls("10", whole(4, 31), "Cost of a password's hash.")

    peer_cert_file: str = _peer_tls("", text, "Certificate of the peer port.")
    peer_key_file: str = _peer_tls("", text, "Private key of that certificate.")
    peer_client_cert_auth: bool = _peer_tls("false", boolean, "Require certificates of peers.")
    peer_trusted_ca_file: str = _peer_tls("", text, "CA certificates that vouch for peers.")
    peer_crl_file: str = _peer_tls("", text, "Revoked peer certificates.")
    peer_cert_allowed_cn: str = _peer_tls("", text, "Common name that certificates of peers must have.")
    peer_auto_tls: bool = _peer_tls("false", boolean, "HTTPS between peers with certificates made here.")
    tls_min_version: str = _peer_tls("TLS1.2", choice("TLS1.2", "TLS1.3"), "Oldest TLS for clients and peers.")
    cipher_suites: tuple[str, ...] = _peer_tls("", listed, "TLS 1.2 cipher suites for clients and peers, Go's names.")

    log_level: str = _logging("info", choice(*_LEVELS), f"{', '.join(_LEVELS)}.")
    log_format: str = _logging("text", choice("text", "json"), "text or json, one line each on stderr.")
    debug: bool = _logging("false", boolean, "The same as --log-level=debug.")

    force_new_cluster: bool = _unsafe("false", boolean, "Make a cluster of this one member from its data.")

    def check_bootstrap(self) -> None:
        """Whether a new member can begin with this: it is of no concern to one that has data. Raises ConfigError."""
        own = self.initial_cluster.get(self.name)
        if own is None:
            raise ConfigError(
                f'--initial-cluster: couldn\'t find local name "{self.name}" in the initial cluster configuration'
            )
        advertised = tuple(map(str, self.initial_advertise_peer_urls))
        if own != advertised:
            raise ConfigError(
                f"--initial-cluster has {self.name}={','.join(own)}"
                f" but --initial-advertise-peer-urls is {','.join(advertised)}"
            )


def _flag(field: dataclasses.Field[Any]) -> Flag:
    declared = field.metadata
    name = declared["flag"] or field.name.replace("_", "-")
    return Flag(name, field.name, declared["parse"], declared["default"], declared["section"], declared["help"])


FLAGS = tuple(map(_flag, dataclasses.fields(Config)))


def make_config(given: Mapping[str, Any]) -> Config:
    """The configuration from the values that were given, by field. Raises ConfigError."""
    config = _complete(Config(**given), given)
    _check_times(config)
    _check_urls(config, given)
    _check_tls(config)
    return config


def _complete(config: Config, given: Mapping[str, Any]) -> Config:
    """Defaults that depend on other flags."""
    cluster = config.initial_cluster
    if "initial_cluster" not in given:
        cluster = {config.name: tuple(map(str, config.initial_advertise_peer_urls))}
    return dataclasses.replace(
        config,
        data_dir=config.data_dir.replace("${name}", config.name),
        snapshot_count=config.snapshot_count or 100_000,
        initial_cluster=cluster,
        log_level="debug" if config.debug else config.log_level,
    )


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
    if "listen_client_urls" in given and "advertise_client_urls" not in given:
        raise ConfigError("--advertise-client-urls is required when --listen-client-urls is set explicitly")
    listened = (*config.listen_client_urls, *config.listen_peer_urls)
    addresses = [(url.host, url.port) for url in listened if url.port]
    if len(set(addresses)) < len(addresses):
        raise ConfigError("--listen-client-urls and --listen-peer-urls name an address twice")


def _check_tls(config: Config) -> None:
    _check_pair(config.cert_file, config.key_file, "")
    _check_pair(config.peer_cert_file, config.peer_key_file, "peer-")
    _check_certificate(config.listen_client_urls, config.cert_file, config.auto_tls, "")
    _check_certificate(config.listen_peer_urls, config.peer_cert_file, config.peer_auto_tls, "peer-")
    if config.client_cert_auth and not config.trusted_ca_file:
        raise ConfigError("--client-cert-auth needs --trusted-ca-file")
    if config.peer_client_cert_auth and not config.peer_trusted_ca_file:
        raise ConfigError("--peer-client-cert-auth needs --peer-trusted-ca-file")


def _check_pair(cert_file: str, key_file: str, prefix: str) -> None:
    if bool(cert_file) != bool(key_file):
        raise ConfigError(f"--{prefix}cert-file and --{prefix}key-file go together")


def _check_certificate(urls: tuple[Url, ...], cert_file: str, auto_tls: bool, prefix: str) -> None:
    url = next((url for url in urls if url.is_tls), None)
    if url is not None and not cert_file and not auto_tls:
        kind = "peer" if prefix else "client"
        raise ConfigError(
            f"TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided for {kind} url {url}"
            " with HTTPS scheme"
        )
