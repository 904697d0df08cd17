"""Flags from the command line and the environment, as etcd (that is, Go's `flag` package) reads them.

Owns the syntax. Which flags there are is `etcdpy/config.py`'s and `etcdpy/foreign_flags.py`'s; what their text means is
`etcdpy/flag_values.py`'s.

One dash or two; `--flag=value` or `--flag value`; a boolean may go without a value and takes one only after `=`; the
last of several wins. Each flag is also `ETCD_FLAG` in the environment, which the command line beats (Go 1.19:
`flag.FlagSet.parseOne`; etcd 3.4: `pkg/flags/flag.go`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etcdpy.flag_values import boolean
from etcdpy.http.go_quote import quote

PREFIX = "ETCD_"
_LONGEST_GUESSED = 64


class ConfigError(Exception):
    """The configuration can't be used. The text is one line for the operator that says which flag and why."""


class HelpRequested(Exception):
    """`--help` or `-h` stood on the command line."""


class Flag(NamedTuple):
    """One flag. `parse` raises ValueError; `default` is a text for it.

    A flag with `ignored`, which says why, has no effect and a warning. If its name ends with `*`, it stands for all
    that begin so, none of which is a boolean. A flag with `gone`, which says what to use instead, is an error.
    """

    name: str
    parse: Callable[[str], Any]
    default: str = ""
    section: str = ""
    help: str = ""
    in_environment: bool = True
    ignored: str = ""
    gone: str = ""

    def matches(self, name: str) -> bool:
        return name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name


class Given(NamedTuple):
    """What was given: values by the flag's name, and warnings for the log."""

    values: dict[str, Any]
    warnings: list[str]


def read_flags(flags: Iterable[Flag], arguments: Sequence[str], environment: Mapping[str, str]) -> Given:
    """Raises ConfigError, HelpRequested."""
    known = list(flags)
    given = Given({}, [])
    for flag, name, text in _split(known, arguments):
        _take(given, flag, name, text, f"flag -{name}")
    _read_environment(known, environment, given)
    return given


def _read_environment(known: Sequence[Flag], environment: Mapping[str, str], given: Given) -> None:
    on_command_line = frozenset(given.values)
    for variable, text in sorted(environment.items()):
        name = variable.removeprefix(PREFIX).lower().replace("_", "-")
        if not variable.startswith(PREFIX) or not text:
            continue
        flag = _find(known, name) if variable.isupper() and "-" not in variable else None
        if flag is None or flag.gone or not flag.in_environment:
            given.warnings.append(f"unrecognized environment variable {variable}")
        elif name in on_command_line:
            given.warnings.append(f"environment variable {variable} is ignored: --{name} is given")
        else:
            _take(given, flag, name, text, variable)


def _take(given: Given, flag: Flag, name: str, text: str, source: str) -> None:
    try:
        given.values[name] = flag.parse(text)
    except ValueError as error:
        raise ConfigError(f"invalid value {quote(text)} for {source}: {error}") from None
    if flag.ignored:
        given.warnings.append(f"--{name} is ignored: {flag.ignored}")


def _split(known: Sequence[Flag], arguments: Sequence[str]) -> Iterator[tuple[Flag, str, str]]:
    """Flags with their names and the texts of their values, in order."""
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        if argument == "--" and not waiting:
            return
        name, equals, text = _name(argument if argument != "--" else waiting.pop(), argument == "--").partition("=")
        flag = _known(known, name)
        yield flag, name, text if equals else _value(flag, name, waiting)


def _name(argument: str, positional: bool) -> str:
    """A flag's argument without its dashes."""
    name = argument.removeprefix("-").removeprefix("-")
    if positional or name == argument or not name:
        raise ConfigError(f"{quote(argument)} is not a valid flag{_hint_at_boolean(argument)}")
    if name[0] in "-=":
        raise ConfigError(f"bad flag syntax: {argument}")
    return name


def _hint_at_boolean(argument: str) -> str:
    return " (a boolean takes its value as --flag=value)" if argument in ("true", "false") else ""


def _find(known: Sequence[Flag], name: str) -> Flag | None:
    return next((flag for flag in known if flag.matches(name)), None)


def _known(known: Sequence[Flag], name: str) -> Flag:
    flag = _find(known, name)
    if flag is None and name in ("help", "h"):
        raise HelpRequested
    if flag is None:
        raise ConfigError(f"flag provided but not defined: -{name}{_hint_at_nearest(known, name)}")
    if flag.gone:
        raise ConfigError(f"flag -{name} is not supported any more: {flag.gone}")
    return flag


def _hint_at_nearest(known: Sequence[Flag], name: str) -> str:
    names = [flag.name for flag in known if not flag.gone]
    nearest = difflib.get_close_matches(name[:_LONGEST_GUESSED], names, n=1)
    return f" (did you mean --{nearest[0]}?)" if nearest else ""


def _value(flag: Flag, name: str, waiting: list[str]) -> str:
    """The value of a flag without `=`: the next argument, for those that need one."""
    if flag.parse is boolean:
        return "true"
    if flag.name.endswith("*") and (not waiting or waiting[-1].startswith("-")):
        return ""  # perhaps a boolean
    if not waiting:
        raise ConfigError(f"flag needs an argument: -{name}")
    return waiting.pop()
