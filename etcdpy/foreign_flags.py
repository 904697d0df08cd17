"""etcd's flags that mean nothing to this server: what is ignored with a warning, what is refused, what is long gone.

So that a command line or an environment made for etcd works here, or says clearly why it can't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from etcdpy.flag_values import boolean, choice, refused, text
from etcdpy.flags import Flag

_V3 = "it belongs to etcd's v3 engine"
_V2 = "the v2 API is always served"

_IGNORED: dict[str, tuple[Callable[[str], Any], str]] = {
    "enable-v2": (boolean, _V2),
    "quota-backend-bytes": (text, _V3),
    "backend-*": (text, _V3),
    "max-txn-ops": (text, _V3),
    "max-concurrent-streams": (text, _V3),
    "grpc-*": (text, _V3),
    "enable-grpc-gateway": (boolean, _V3),
    "auto-compaction-*": (text, _V3),
    "auth-token": (text, _V3),
    "auth-token-ttl": (text, _V3),
    "experimental-initial-corrupt-check": (boolean, _V3),
    "experimental-enable-lease-checkpoint": (boolean, _V3),
    "experimental-peer-skip-client-san-verification": (boolean, "it is not supported"),
    "experimental-*": (text, "it is experimental in etcd"),
    "pre-vote": (boolean, "elections always begin with a pre-vote"),
    "initial-election-tick-advance": (boolean, "the first election waits for a whole election timeout"),
    "logger": (text, "see --log-format"),
    "log-outputs": (text, "the log goes to stderr"),
    "log-output": (text, "the log goes to stderr"),
    "log-package-levels": (text, "see --log-level"),
    "enable-pprof": (boolean, "there is no Go profile"),
    "metrics": (choice("basic", "extensive"), "all metrics are exported"),
    "listen-metrics-urls": (text, "metrics are served at the client URLs"),
    "discovery-fallback": (choice("exit", "proxy"), "discovery is not supported"),
    "discovery-proxy": (text, "discovery is not supported"),
    "discovery-srv-name": (text, "discovery is not supported"),
    "proxy-*": (text, "proxy mode is not supported"),
}

_REFUSED: dict[str, tuple[Callable[[str], Any], str]] = {
    "config-file": (refused("not supported, give its settings as flags or as ETCD_… variables", ""), ""),
    "discovery": (refused("discovery is not supported, use --initial-cluster", ""), ""),
    "discovery-srv": (refused("discovery is not supported, use --initial-cluster", ""), ""),
    "listen-client-http-urls": (refused("not supported, use --listen-client-urls", ""), ""),
    "experimental-enable-v2v3": (refused("not supported, there is no v3 backend", ""), ""),
    "proxy": (refused("proxy mode is not supported", "off"), "off"),
}
"""With the harmless default: each would change what the server does, so that ignoring it would be wrong."""

_RENAMED = {
    "addr": "advertise-client-urls",
    "bind-addr": "listen-client-urls",
    "peer-addr": "initial-advertise-peer-urls",
    "peer-bind-addr": "listen-peer-urls",
    "peers": "initial-cluster",
    "peers-file": "initial-cluster",
    "peer-heartbeat-interval": "heartbeat-interval",
    "peer-election-timeout": "election-timeout",
    "n": "name",
    "d": "data-dir",
    "v": "log-level=debug",
    "vv": "log-level=debug",
}
"""etcd 0.4's names, and what they are called since 2.0."""

_DROPPED = (
    *("cluster-active-size", "cluster-remove-delay", "cluster-sync-interval", "config", "cpuprofile", "force"),
    *("http-read-timeout", "http-write-timeout", "max-cluster-size", "max-result-buffer", "max-retry-attempts"),
    *("retry-interval", "snapshot", "trace", "web-url"),
)
"""etcd 0.4's flags that nothing replaces."""


def _rows() -> Iterator[Flag]:
    for name, (parse, default) in _REFUSED.items():
        yield Flag(name, parse, default)
    for name, (parse, reason) in _IGNORED.items():
        yield Flag(name, parse, ignored=reason)
    for name, new in _RENAMED.items():
        yield Flag(name, text, gone=f"use --{new}")
    for name in _DROPPED:
        yield Flag(name, text, gone="leave it out")


FOREIGN = tuple(_rows())
"""Exact names come before the patterns that match them, too."""
