"""A URL that a member listens on or tells others: scheme, host and port, nothing else.

Source of the rules and their texts: etcd 3.4's `pkg/types/urls.go` and `embed/config.go`. Unix sockets are not served.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

MAX_PORT = 65_535
_HOST = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")


class Url(NamedTuple):
    """`host` is without the brackets of an IPv6 address."""

    scheme: str
    host: str
    port: int

    @property
    def text(self) -> str:
        return str(self)

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Raises ValueError, in etcd's words."""
    scheme, separator, address = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise ValueError(f"URL scheme must be http or https: {text}")
    address, *path = re.split("[/?#]", address, maxsplit=1)
    if path:
        raise ValueError(f"URL must not contain a path: {text}")
    host, colon, port = address.rpartition(":")
    if not colon or not _HOST.fullmatch(host):
        raise ValueError(f'URL address does not have the form "host:port": {text}')
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= MAX_PORT):
        raise ValueError(f"URL port is not a number up to {MAX_PORT}: {text}")
    return Url(scheme.lower(), host.strip("[]"), int(port))


def parse_urls(text: str) -> tuple[Url, ...]:
    """A list with commas, each URL once, sorted as etcd sorts it: by text. Raises ValueError."""
    if not text.strip():
        raise ValueError("no valid URLs given")
    return tuple(sorted({parse_url(each.strip()) for each in text.split(",")}, key=str))


def parse_advertised_urls(text: str) -> tuple[Url, ...]:
    """URLs to tell others, so they must name a host. Raises ValueError."""
    urls = parse_urls(text)
    for url in urls:
        if not url.host:
            raise ValueError(f"unexpected empty host ({url})")
    return urls


def parse_listen_urls(text: str) -> tuple[Url, ...]:
    """URLs to bind to, so their hosts are addresses of this machine. Raises ValueError."""
    urls = parse_urls(text)
    for url in urls:
        if url.host != "localhost" and not _is_address(url.host):
            raise ValueError(f"expected IP in URL for binding ({url})")
    return urls


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
