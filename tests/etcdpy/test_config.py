"""The configuration: etcd's defaults, what belongs together, and what is refused before anything starts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdpy.config import FLAGS, Config, VersionRequested, parse
from etcdpy.flags import ConfigError, HelpRequested
from etcdpy.foreign_flags import FOREIGN
from etcdpy.url import Url
from etcdpy.usage import help_text

CLIENT = ["--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379"]
TLS_CLIENT = ["--listen-client-urls", "https://127.0.0.1:1", "--advertise-client-urls", "https://127.0.0.1:1"]
TLS_PEER = ["--listen-peer-urls", "https://127.0.0.1:2", "--initial-advertise-peer-urls", "https://127.0.0.1:2"]
CERTIFICATE = ["--cert-file", "c.pem", "--key-file", "k.pem"]


def parsed(arguments: str, **environment: str) -> Config:
    return parse(arguments.split(), environment)


def reason_against(*arguments: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(arguments, environment)
    return str(caught.value)


def test_the_defaults_are_etcds() -> None:
    config = parse([], {})
    assert config.name == "default"
    assert config.data_dir == "default.etcd"
    assert config.wal_dir is None
    assert config.listen_client_urls == config.advertise_client_urls == (Url("http", "localhost", 2379),)
    assert config.listen_peer_urls == config.initial_advertise_peer_urls == (Url("http", "localhost", 2380),)
    assert config.initial_cluster == {"default": ("http://localhost:2380",)}
    assert (config.initial_cluster_state, config.initial_cluster_token) == ("new", "etcd-cluster")
    assert (config.heartbeat_interval_ms, config.election_timeout_ms) == (100, 1000)
    assert (config.snapshot_count, config.max_snapshots, config.max_wals) == (100_000, 5, 5)
    assert config.max_request_bytes == 1_572_864
    assert (config.log_level, config.log_format) == ("info", "text")
    assert config.cors == config.host_whitelist == {"*"}
    assert (config.v2_quirks, config.fast_lane, config.strict_reconfig_check) == (False, True, True)
    assert (config.force_new_cluster, config.unsafe_no_fsync) == (False, False)
    assert (config.auth_guest, config.bcrypt_cost) == ("etcd", 10)
    assert (config.cert_file, config.peer_cert_file, config.auto_tls, config.client_cert_auth) == (
        None,
        None,
        False,
        False,
    )
    assert (config.tls_min_version, config.tls_max_version, config.cipher_suites) == ("TLS1.2", "", ())
    assert config.warnings == ()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse([], {}).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ("--name infra1", "data_dir", "infra1.etcd"),
        ("--name infra1 --data-dir /data", "data_dir", "/data"),
        ("--name infra1", "initial_cluster", {"infra1": ("http://localhost:2380",)}),
        (
            "--name a --initial-advertise-peer-urls http://a:2,http://a:1",
            "initial_cluster",
            {"a": ("http://a:1", "http://a:2")},
        ),
        ("--initial-advertise-peer-urls http://a:1,http://a:1", "initial_cluster", {"default": ("http://a:1",)}),
        ("--wal-dir /wal", "wal_dir", "/wal"),
        ("--snapshot-count 0", "snapshot_count", 100_000),
        ("--snapshot-count 10", "snapshot_count", 10),
        ("--heartbeat-interval 1 --election-timeout 5", "election_timeout_ms", 5),
        ("--heartbeat-interval 10000 --election-timeout 50000", "heartbeat_interval_ms", 10_000),
        ("--initial-cluster-state existing", "initial_cluster_state", "existing"),
        ("--strict-reconfig-check=false", "strict_reconfig_check", False),
        ("--v2-quirks etcd", "v2_quirks", True),
        ("--fast-lane=off", "fast_lane", False),
        ("--cors http://a,http://b", "cors", {"http://a", "http://b"}),
        ("--cors=", "cors", {"*"}),
        ("--host-whitelist a,b", "host_whitelist", {"a", "b"}),
        ("--log-level WARN", "log_level", "warn"),
        ("--log-level error --debug", "log_level", "debug"),
        ("--debug=false", "log_level", "info"),
        ("--log-format json", "log_format", "json"),
        ("--cipher-suites A,B", "cipher_suites", ("A", "B")),
        ("--force-new-cluster", "force_new_cluster", True),
        ("--ca-file ca.pem", "trusted_ca_file", "ca.pem"),
        ("--ca-file ca.pem", "client_cert_auth", True),
        ("--peer-ca-file ca.pem", "peer_trusted_ca_file", "ca.pem"),
        ("--peer-ca-file ca.pem", "peer_client_cert_auth", True),
        ("--peer-cert-allowed-cn peer", "peer_cert_allowed_cn", "peer"),
    ],
)
def test_values(arguments: str, field: str, value: Any) -> None:
    assert getattr(parsed(arguments), field) == value


def test_urls_are_parsed() -> None:
    config = parsed("--listen-client-urls http://[::1]:2379,http://127.0.0.1:2379 --advertise-client-urls HTTP://a:1")
    assert config.listen_client_urls == (Url("http", "127.0.0.1", 2379), Url("http", "::1", 2379))
    assert [str(url) for url in config.listen_client_urls] == ["http://127.0.0.1:2379", "http://[::1]:2379"]
    assert [url.text for url in config.advertise_client_urls] == ["http://a:1"]


def test_a_three_member_cluster_from_the_environment() -> None:
    config = parse(
        [],
        {
            "ETCD_NAME": "b",
            "ETCD_INITIAL_CLUSTER": "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://10.0.0.2:2380",
            "ETCD_LISTEN_PEER_URLS": "http://0.0.0.0:2380",
            "ETCD_LISTEN_CLIENT_URLS": "http://0.0.0.0:2379",
            "ETCD_ADVERTISE_CLIENT_URLS": "http://10.0.0.2:2379",
            "ETCD_HEARTBEAT_INTERVAL": "50",
            "ETCD_ENABLE_V2": "true",
            "ETCD_VERSION": "v3.4.23",
            "ETCDCTL_API": "2",
        },
    )
    assert config.name == "b"
    assert config.initial_cluster == {"a": ("http://10.0.0.1:2380",), "b": ("http://10.0.0.2:2380",)}
    assert config.heartbeat_interval_ms == 50
    assert config.warnings == (
        "--enable-v2 is ignored: the v2 API is always served",
        "unrecognized environment variable ETCD_VERSION",
    )


@pytest.mark.parametrize(
    "urls",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:",
        "127.0.0.1:2379",
        "ftp://127.0.0.1:2379",
        "unix://127.0.0.1:2379",
        "http://127.0.0.1:2379/",
        "http://127.0.0.1:2379?a=b",
        "http://127.0.0.1:65536",
        "http://127.0.0.1:00000099999",
        "http://127.0.0.1:-1",
        "http://127.0.0.1:x",
        "http://127.0.0.1:٣",
        "http://[::1:2379",
        "http://::1:2379",
        "http://a b:2379",
        "http://user@127.0.0.1:2379",
        "http://127.0.0.1:2379,",
        "http://127.0.0.1:2379 http://127.0.0.1:2380",
        "http://node1:2379",
        "",
    ],
)
def test_bad_urls_to_listen_on(urls: str) -> None:
    reason = reason_against("--advertise-client-urls", "http://a:1", "--listen-client-urls", urls)
    assert "for flag -listen-client-urls: " in reason


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--heartbeat-interval 0", 'invalid value "0" for flag -heartbeat-interval: must be at least 1'),
        ("--election-timeout 0", 'invalid value "0" for flag -election-timeout: must be at least 1'),
        (
            "--election-timeout 499",
            "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            "--election-timeout 50001",
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (
            "--listen-client-urls http://127.0.0.1:1",
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--advertise-client-urls http://:2379",
            'invalid value "http://:2379" for flag -advertise-client-urls: unexpected empty host (http://:2379)',
        ),
        (
            "--listen-peer-urls http://127.0.0.1:1,https://127.0.0.1:1",
            "--listen-client-urls and --listen-peer-urls name an address twice",
        ),
        (
            "--name x --initial-cluster y=http://localhost:2380",
            '--initial-cluster: couldn\'t find local name "x" in the initial cluster configuration',
        ),
        (
            "--initial-cluster default=http://localhost:2381",
            "--initial-cluster has default=http://localhost:2381"
            " but --initial-advertise-peer-urls is http://localhost:2380",
        ),
        (
            "--initial-cluster default=http://localhost:2380,default=http://localhost:2381",
            "--initial-cluster has default=http://localhost:2380,http://localhost:2381"
            " but --initial-advertise-peer-urls is http://localhost:2380",
        ),
        (
            "--initial-cluster-state old",
            'invalid value "old" for flag -initial-cluster-state: must be new or existing',
        ),
        ("--bcrypt-cost 3", 'invalid value "3" for flag -bcrypt-cost: must be at least 4'),
        ("--max-request-bytes 0", 'invalid value "0" for flag -max-request-bytes: must be at least 1'),
        (
            "--config-file etcd.yml",
            'invalid value "etcd.yml" for flag -config-file:'
            " not supported, give its settings as flags or as ETCD_… variables",
        ),
        ("--proxy on", 'invalid value "on" for flag -proxy: proxy mode is not supported'),
        (
            "--discovery http://d",
            'invalid value "http://d" for flag -discovery: discovery is not supported, use --initial-cluster',
        ),
        ("-peers a", "flag -peers is not supported any more: use --initial-cluster"),
        ("--cert-file c", "--cert-file and --key-file must both be given, or neither"),
        ("--peer-key-file k", "--peer-cert-file and --peer-key-file must both be given, or neither"),
        ("--client-cert-auth", "--client-cert-auth needs --trusted-ca-file"),
        ("--peer-client-cert-auth", "--peer-client-cert-auth needs --peer-trusted-ca-file"),
        ("--tls-min-version TLS1.3 --tls-max-version TLS1.2", "--tls-max-version is older than --tls-min-version"),
        ("--tls-min-version SSL3", 'invalid value "SSL3" for flag -tls-min-version: must be TLS1.2 or TLS1.3'),
        (
            " ".join(TLS_CLIENT),
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1"
            " with HTTPS scheme",
        ),
        (
            " ".join(TLS_PEER),
            "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url https://127.0.0.1:2"
            " with HTTPS scheme",
        ),
    ],
)
def test_what_is_refused(arguments: str, reason: str) -> None:
    assert reason_against(*arguments.split()) == reason


@pytest.mark.parametrize(
    "arguments",
    [
        [*TLS_CLIENT, *CERTIFICATE],
        [*TLS_CLIENT, "--auto-tls"],
        [*TLS_PEER, "--peer-auto-tls"],
        [*TLS_PEER, "--peer-cert-file=c", "--peer-key-file=k", "--peer-client-cert-auth", "--peer-trusted-ca-file=t"],
    ],
)
def test_https_with_certificates(arguments: list[str]) -> None:
    assert parse(arguments, {}).warnings == ()


def test_certificates_that_no_url_uses_are_warned_of() -> None:
    (warning,) = parse(CERTIFICATE, {}).warnings
    assert warning.startswith("The scheme of client url http://localhost:2379 is HTTP while client key/cert files are")


def test_a_member_that_has_data_keeps_its_cluster() -> None:
    arguments = ["--initial-cluster", "other=http://a:1"]
    config = parse(arguments, {}, has_begun=lambda config: config.data_dir == "default.etcd")
    assert config.initial_cluster == {"other": ("http://a:1",)}
    assert reason_against(*arguments)


def test_a_name_may_stand_for_the_address_that_is_advertised() -> None:
    arguments = [
        "--initial-cluster",
        "default=http://node1:2380",
        "--initial-advertise-peer-urls",
        "http://10.0.0.1:2380",
    ]
    addresses = {"node1": "10.0.0.1", "node2": "10.0.0.2"}
    config = parse(arguments, {}, resolve=lambda host: addresses.get(host, host))
    assert config.initial_cluster == {"default": ("http://node1:2380",)}
    with pytest.raises(ConfigError, match="but --initial-advertise-peer-urls is"):
        parse(
            [argument.replace("node1", "node2") for argument in arguments],
            {},
            resolve=lambda host: addresses.get(host, host),
        )


@pytest.mark.parametrize(
    "flag",
    [
        "--enable-v2",
        "--enable-v2=false",
        "--auto-compaction-retention=1",
        "--auto-compaction-mode revision",
        "--quota-backend-bytes 8589934592",
        "--max-txn-ops=128",
        "--grpc-keepalive-min-time 5s",
        "--backend-batch-limit 1",
        "--experimental-initial-corrupt-check",
        "--experimental-compact-hash-check-enabled",
        "--experimental-watch-progress-notify-interval 10m",
        "--auth-token simple",
        "--initial-election-tick-advance=false",
        "--logger zap",
        "--log-outputs stderr",
        "--log-package-levels etcdmain=DEBUG",
        "--pre-vote",
        "--enable-pprof",
        "--metrics extensive",
        "--listen-metrics-urls http://127.0.0.1:9",
        "--discovery-fallback exit",
        "--proxy-failure-wait 5000",
    ],
)
def test_etcds_flags_without_effect_here(flag: str) -> None:
    config = parse([*flag.split(), "--name", "after"], {})
    assert config.name == "after"
    (warning,) = config.warnings
    assert warning.startswith(flag.partition(" ")[0].partition("=")[0] + " is ignored: ")


def test_what_changes_nothing_is_accepted_without_a_word() -> None:
    assert parsed("--proxy off --discovery= --config-file=").warnings == ()


def test_version() -> None:
    with pytest.raises(VersionRequested):
        parse(["--version", "--election-timeout", "1"], {"ETCD_SNAPSHOT_COUNT": "x"})
    assert parsed("--version=false").name == "default"


def test_every_default_is_what_the_help_says() -> None:
    plain = parse([], {})
    shown = [argument for flag in FLAGS if flag.default for argument in (f"--{flag.name}={flag.default}",)]
    assert parse(shown, {}) == plain
    text = help_text(FLAGS)
    for flag in FLAGS:
        assert f"  --{flag.name} '{flag.default}'\n    {flag.help}\n" in text


def test_no_two_flags_have_one_name() -> None:
    names = [flag.name for flag in (*FLAGS, *FOREIGN)]
    assert len(names) == len(set(names))


NAMES = st.sampled_from([flag.name.replace("*", "x") for flag in (*FLAGS, *FOREIGN)])
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "true", "0", "1", "5", "http://127.0.0.1:1", "https://a:1", "a=http://a:1", "new", "--", "-"]),
)
ARGUMENTS = st.one_of(
    VALUES,
    st.builds("{}{}".format, st.sampled_from(["-", "--", "---", ""]), NAMES),
    st.builds("{}{}={}".format, st.sampled_from(["-", "--"]), NAMES, VALUES),
)
VARIABLES = st.one_of(
    NAMES.map(lambda name: "ETCD_" + name.upper().replace("-", "_")), st.text(max_size=9).map("ETCD_".__add__)
)


@settings(deadline=None)
@given(st.lists(ARGUMENTS, max_size=6), st.dictionaries(VARIABLES, VALUES, max_size=3))
def test_anything_gives_a_configuration_or_one_reason(arguments: list[str], environment: dict[str, str]) -> None:
    try:
        config = parse(arguments, environment)
    except (ConfigError, HelpRequested, VersionRequested):
        return
    assert config.election_timeout_ms >= 5 * config.heartbeat_interval_ms > 0
    assert config.name in config.initial_cluster
    assert config.listen_client_urls
    assert config.advertise_client_urls


def outcome(arguments: list[str], environment: dict[str, str]) -> Config | str:
    try:
        return parse(arguments, environment)
    except ConfigError as reason:
        return str(reason)


@given(st.lists(st.sampled_from([flag for flag in FLAGS if flag.default]), unique=True))
def test_the_environment_says_the_same_as_the_command_line(flags: list[Any]) -> None:
    arguments = [f"--{flag.name}={flag.default}" for flag in flags]
    environment = {"ETCD_" + flag.name.upper().replace("-", "_"): flag.default for flag in flags}
    assert outcome(arguments, {}) == outcome([], environment)
