"""What the text of a flag means. Each function takes the text and gives the value, or raises ValueError saying what is
wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from etcdpy.url import parse_url

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    """Go's booleans (`strconv.ParseBool`)."""
    if value not in _TRUE and value not in _FALSE:
        raise ValueError("not a boolean (true or false)")
    return value in _TRUE


def whole(least: int, most: int = (1 << 63) - 1) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise ValueError("not a whole number")
        if not least <= int(value) <= most:
            raise ValueError(f"must be at least {least}" if int(value) < least else f"must be at most {most}")
        return int(value)

    return parse


def choice(*values: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(f"must be {' or '.join(values)}")
        return value

    return parse


def switch(off: str, on: str) -> Callable[[str], bool]:
    """A boolean with names of its own for false and true."""
    parse = choice(off, on)
    return lambda value: parse(value) == on


def listed(value: str) -> tuple[str, ...]:
    """A list with commas."""
    return tuple(filter(None, (each.strip() for each in value.split(","))))


def allowed(value: str) -> frozenset[str]:
    """A list with commas of what is let in; `*` or nothing lets in all."""
    return frozenset(listed(value)) or frozenset("*")


def parse_initial_cluster(value: str) -> Mapping[str, tuple[str, ...]]:
    """Peer URLs by member name, sorted, from `name=URL,name=URL`; a member with several URLs is named as often."""
    members: dict[str, list[str]] = {}
    for entry in listed(value):
        name, equals, url = entry.partition("=")
        if not equals:
            raise ValueError(f'"{entry}" does not have the form "name=URL"')
        members.setdefault(name, []).append(str(parse_url(url)))
    urls = [url for each in members.values() for url in each]
    if len(set(urls)) < len(urls):
        raise ValueError(f"initial cluster {value} has duplicate url")
    return {name: tuple(sorted(each)) for name, each in members.items()}
