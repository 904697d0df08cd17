"""URLs as Go reads them, with the texts of Go's and etcd's errors (Go 1.19: net/url; etcd 3.4: pkg/types/urls.go)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from etcdpy.http.go_path import BadEscape, unescape
from etcdpy.http.go_quote import quote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_IN_HOST = re.compile(r"[^\x80-\U0010ffffA-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"%]")
_LOW_ESCAPE = re.compile(r"%[0-7][0-9a-fA-F]")
_PORT = re.compile(r"(?::[0-9]*)?")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_ALLOWED_SCHEMES = ("http", "https", "unix", "unixs")


class UrlError(ValueError):
    """`str()` gives Go's or etcd's text."""


class Url(NamedTuple):
    scheme: str
    host: str
    path: str


def parse_url(text: str) -> Url:
    """Raises `UrlError`."""
    shown = text.partition("#")[0]
    try:
        return _parse(shown)
    except UrlError as error:
        raise UrlError(f"parse {quote(shown)}: {error}") from None
    except BadEscape as error:
        raise UrlError(f"parse {quote(shown)}: invalid URL escape {quote(error.text)}") from None


def _parse(text: str) -> Url:
    if _CONTROL.search(text):
        raise UrlError("net/url: invalid control character in URL")
    scheme, rest = _split_scheme(text)
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, "", "")
        if ":" in rest.partition("/")[0]:
            raise UrlError("first path segment in URL cannot contain colon")
    host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        host, rest = _host(authority), slash + path
    return Url(scheme, host, unescape(rest))


def _split_scheme(text: str) -> tuple[str, str]:
    match = _SCHEME.match(text)
    end = match.end() if match else 0
    if text[end : end + 1] != ":":
        return "", text
    if not match:
        raise UrlError("missing protocol scheme")
    return match[0].lower(), text[end + 1 :]


def _host(authority: str) -> str:
    userinfo, at, host = authority.rpartition("@")
    bracket = host.rfind("]")
    if host.startswith("["):
        if bracket < 0:
            raise UrlError("missing ']' in host")
        port = host[bracket + 1 :]
    else:
        colon = host.rfind(":")
        port = host[colon:] if colon >= 0 else ""
    if not _PORT.fullmatch(port):
        raise UrlError(f"invalid port {quote(port)} after host")
    bad = _BAD_IN_HOST.search(host)
    low = _LOW_ESCAPE.search(host)
    decoded = unescape(host)
    if low and low[0] != "%25":
        raise BadEscape(low[0])
    if bad:
        raise UrlError(f"invalid character {quote(bad[0])} in host name")
    if at and not _USERINFO.fullmatch(userinfo):
        raise UrlError("net/url: invalid userinfo")
    return decoded


def _has_port(host: str) -> bool:
    """Go's net.SplitHostPort succeeds."""
    name, colon, port = host.rpartition(":")
    if name.startswith("["):
        return bool(colon) and name.endswith("]") and not re.search(r"[\[\]]", name[1:-1] + port)
    return bool(colon) and not re.search(r"[:\[\]]", name + port)


def _check_address(text: str, url: Url) -> None:
    """What etcd lets through, and no peer can have: other members would send it requests."""
    port = url.host.rpartition(":")[2]
    if "@" in text or "?" in text or "#" in text:
        raise UrlError(f"URL must be an address and no more: {text}")
    if url.scheme in ("http", "https") and not (port.isdecimal() and 0 < int(port) < 1 << 16):
        raise UrlError(f"URL must have a port from 1 to 65535: {text}")


def parse_member_urls(texts: Sequence[str]) -> list[str]:
    """The URLs of a member, trimmed and in order. Raises `UrlError` for what etcd refuses."""
    if not texts:
        raise UrlError("no valid URLs given")
    urls = [text.strip() for text in texts]
    for text in urls:
        url = parse_url(text)
        if url.scheme not in _ALLOWED_SCHEMES:
            raise UrlError(f"URL scheme must be http, https, unix, or unixs: {text}")
        if not _has_port(url.host):
            raise UrlError(f'URL address does not have the form "host:port": {text}')
        if url.path:
            raise UrlError(f"URL must not contain a path: {text}")
        _check_address(text, url)
    return sorted(urls)
