"""What the text of a flag means. Each function takes the text and gives the value, or raises ValueError saying what is
wrong with it. Nothing here knows a flag's name, and nothing touches disk or network.

Numbers and booleans are Go 1.19's (`strconv`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping

from etcdpy.http.go_quote import quote
from etcdpy.url import parse_url

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_DIGITS = re.compile(r"[0-9][0-9a-zA-Z_]{0,99}")
_OLD_OCTAL = re.compile(r"0[0-7_]+")
_MAX_UINT = (1 << 64) - 1


def text(value: str) -> str:
    return value


def optional(value: str) -> str | None:
    """None if the text is empty."""
    return value or None


def boolean(value: str) -> bool:
    """Go's booleans (`strconv.ParseBool`)."""
    if value not in _TRUE and value not in _FALSE:
        raise ValueError("parse error: not a boolean (true or false)")
    return value in _TRUE


def whole(least: int, most: int = _MAX_UINT) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def parse(value: str) -> int:
        number = _uint(value)
        if not least <= number <= most:
            raise ValueError(f"must be at least {least}" if number < least else f"must be at most {most}")
        return number

    return parse


def _uint(value: str) -> int:
    """`strconv.ParseUint` of base 0: `0x10`, `0b1`, `0o17`, `017` and `1_000` are numbers, too."""
    reason = "parse error: not a whole number"
    if not _DIGITS.fullmatch(value):
        raise ValueError(reason)
    try:
        return int("0o" + value[1:] if _OLD_OCTAL.fullmatch(value) else value, 0)
    except ValueError:
        raise ValueError(reason) from None


def at_most(value: str) -> int:
    """How many of something to keep: 0 is unlimited, so as many as there can be."""
    return whole(0, sys.maxsize)(value) or sys.maxsize


def choice(*values: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(f"must be {', '.join(values[:-1])} or {values[-1]}")
        return value

    return parse


def switch(off: str, on: str) -> Callable[[str], bool]:
    """Two words for false and true."""
    chosen = choice(off, on)
    return lambda value: chosen(value) == on


def level(value: str) -> str:
    """etcd's log levels, in small letters or in capitals."""
    levels = ("debug", "info", "warn", "error", "panic", "fatal")
    return choice(*levels)(value.lower() if value.isupper() else value)


def listed(value: str) -> tuple[str, ...]:
    """A list with commas."""
    return tuple(filter(None, (each.strip() for each in value.split(","))))


def allowed(value: str) -> frozenset[str]:
    """A list with commas of what is let in; `*` or nothing lets in all."""
    return frozenset(listed(value) or ("*",))


def refused(reason: str, *harmless: str) -> Callable[[str], str]:
    """For a flag that would change what the server does, and cannot be had: takes only what changes nothing."""

    def parse(value: str) -> str:
        if value not in harmless:
            raise ValueError(reason)
        return value

    return parse


def initial_cluster(value: str) -> Mapping[str, tuple[str, ...]]:
    """Peer URLs by member name, sorted, from `name=URL,name=URL`; a member with several URLs is named as often."""
    members: dict[str, list[str]] = {}
    for entry in listed(value):
        name, _, url = entry.partition("=")
        if not name or not url:
            raise ValueError(f"{quote(entry)} does not have the form name=URL")
        members.setdefault(name, []).append(str(parse_url(url)))
    urls = [url for each in members.values() for url in each]
    if len(set(urls)) < len(urls):
        raise ValueError(f"initial cluster {value} has duplicate url")
    return {name: tuple(sorted(each)) for name, each in members.items()}
