"""How Go reads a request target and its ServeMux cleans a path (Go 1.19: net/url, net/http/server.go, path).

Owns the one decision of which key a request means: whatever looks at a path later sees it decoded and clean. Text is
`str` decoded with surrogateescape (PEP 383), so bytes that are not UTF-8 keep their identity. Knows nothing of etcd.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_BAD_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CLEAN = re.compile(r"/(?:[^/.%][^/%]*/)*(?:[^/.%][^/%]*)?")
"""Paths that cleaning leaves alone and that have nothing to decode: almost all that are ever sent."""
_UNESCAPED_IN_PATH = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~$&+,/:;=@")


class BadTarget(ValueError):
    """A request target that Go answers with 400 before any handler sees it."""


class BadEscape(ValueError):
    """`text` is the piece that is not a percent-escape, as Go's url.EscapeError names it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Target(NamedTuple):
    """A request target taken apart: the decoded path, and the query as it was sent, without the `?`."""

    path: str
    query: str


def unescape(text: str) -> str:
    """Decodes percent-escapes. Raises `BadEscape` at the first `%` that two hexadecimal digits do not follow."""
    if "%" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape")
    bad = _BAD_ESCAPE.search(raw)
    if bad:
        piece = raw[bad.start() : bad.start() + 3]
        raise BadEscape(piece.decode("utf-8", "surrogateescape"))
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


def escape_path(path: str) -> str:
    """Percent-encodes a path for a `Location` (Go: URL.EscapedPath)."""
    raw = path.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _UNESCAPED_IN_PATH else f"%{byte:02X}" for byte in raw)


def clean_path(path: str) -> str:
    """The canonical form: no empty, `.` or `..` component. A final slash stays (Go: http.cleanPath)."""
    if _CLEAN.fullmatch(path):
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    cleaned = "/" + "/".join(parts)
    return cleaned + "/" if parts and path.endswith("/") else cleaned


def parse_target(target: str) -> Target:
    """Takes a request target apart as Go's url.ParseRequestURI does; the path is decoded but not cleaned. Raises
    `BadTarget`."""
    if not target or _CONTROL.search(target):
        raise BadTarget(target)
    if target == "*":
        return Target("*", "")
    rest, _, query = target.partition("?")
    if not rest.startswith("/"):
        rest = _path_of_absolute(rest)
    try:
        return Target(unescape(rest), query)
    except BadEscape as error:
        raise BadTarget(target) from error


def _path_of_absolute(uri: str) -> str:
    """`http://host/a` means `/a`; a URI without a path, as `a:b`, means the empty path."""
    scheme = _SCHEME.match(uri)
    if not scheme:
        raise BadTarget(uri)
    rest = uri[scheme.end() :]
    if not rest.startswith("//"):
        return rest if rest.startswith("/") else ""
    _, slash, path = rest[2:].partition("/")
    return slash + path
