"""Requests that a web page made a browser send: to whom, and from where.

A name that a page has made point at this machine (DNS rebinding) is told by `Host`, a page's own request by `Origin`
and `Sec-Fetch-Site`. etcd clients send an address or the member's name, and neither of the others. Pure.

Hosts (`--host-whitelist`, for listeners without TLS only): a list lets in what it names, everywhere. `*` lets in all,
but where a listener without TLS is reached on loopback, which only this machine's programs and browsers can do, it
means those that no page can have made up: addresses, `localhost`, names without a dot, and the advertised ones.

Origins (`--cors`): a list lets in what it names, and pages that come from here. `*` lets any page read, and write only
as etcd does where a browser has asked before (PUT, DELETE), unless the browser says that the page is another site's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

_PORT = re.compile(r":[0-9]*\Z")
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_FOREIGN_SITES = frozenset(("cross-site", "same-site"))


class Guard(NamedTuple):
    """`hosts` and `origins` are the flags'; `*` for all. `own_hosts` are names of this member."""

    hosts: frozenset[str] = frozenset(("*",))
    origins: frozenset[str] = frozenset(("*",))
    own_hosts: frozenset[str] = frozenset()

    def is_safe_host(self, host: str, *, on_loopback: bool) -> bool:
        """Whether a request without TLS may ask for `host` (with or without a port). Empty: none was said."""
        name = host_name(host)
        if "*" not in self.hosts:
            return name in self.hosts
        return not on_loopback or is_local_name(name) or name in self.own_hosts

    def is_safe_origin(self, method: str, origin: str, site: str, host: str) -> bool:
        """Whether a page, if there is one, may send this. `site` is `Sec-Fetch-Site`."""
        if method in _READS or origin in self.origins or _is_same(origin, host):
            return True
        if site in _FOREIGN_SITES:
            return False
        return not origin or ("*" in self.origins and method != "POST")


def own_host_names(urls: Iterable[str]) -> frozenset[str]:
    """The names in URLs like `http://name:2379`."""
    return frozenset(host_name(url.partition("://")[2]) for url in urls)


def host_name(host: str) -> str:
    """Without port and brackets, in small letters."""
    return _PORT.sub("", host).strip("[]").rstrip(".").lower()


def is_local_name(name: str) -> bool:
    if "." not in name and ":" not in name:
        return True
    if name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    return bool(host) and origin.partition("://")[2].lower() == host.lower()
