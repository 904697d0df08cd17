"""Flags from the command line and the environment, as etcd (that is, Go's `flag` package) reads them.

Owns the syntax. Which flags there are is `etcdpy/config.py`'s; what their text means is `etcdpy/flag_values.py`'s.

One dash or two; `--flag=value` or `--flag value`; a boolean may go without a value and takes one only after `=`; the
last of several wins. Each flag is also `ETCD_FLAG` in the environment, which the command line beats.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from etcdpy.flag_values import boolean

PREFIX = "ETCD_"

V3_ENGINE = (
    *("enable-v2", "quota-backend-bytes", "backend-*", "max-txn-ops", "max-concurrent-streams", "grpc-*"),
    *("auto-compaction-*", "enable-grpc-gateway", "auth-token", "auth-token-ttl", "experimental-*"),
)
"""Flags of etcd's v3 engine, which is not here: accepted with a warning."""

WITHOUT_EFFECT = {
    "pre-vote": "elections always begin with a pre-vote",
    "initial-election-tick-advance": "a member always waits a whole election timeout first",
    "unsafe-no-fsync": "every write is synced",
    "logger": "see --log-format",
    "log-outputs": "the log goes to stderr",
    "log-package-levels": "see --log-level",
    "metrics": "see /metrics",
}
"""Other flags of etcd that may stand where they stood: accepted with a warning."""

RENAMED = {
    "addr": "--advertise-client-urls",
    "bind-addr": "--listen-client-urls",
    "peer-addr": "--initial-advertise-peer-urls",
    "peer-bind-addr": "--listen-peer-urls",
    "peers": "--initial-cluster",
    "peers-file": "--initial-cluster",
    "peer-heartbeat-interval": "--heartbeat-interval",
    "peer-election-timeout": "--election-timeout",
    "v": "--log-level=debug",
    "vv": "--log-level=debug",
}
"""etcd 0.4's names, and what they are called since 2.0."""


class ConfigError(Exception):
    """The configuration can't be used. The text is one line for the operator that says which flag and why."""


class Flag(NamedTuple):
    """One flag. `field` is where its value goes; `parse` raises ValueError; `default` is text, as given by a user."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str = ""
    section: str = ""
    help: str = ""

    @property
    def is_boolean(self) -> bool:
        return self.parse is boolean


HELP, VERSION = "help", "version"

_QUESTIONS = (Flag("help", HELP, boolean), Flag("h", HELP, boolean), Flag("version", VERSION, boolean))
"""Flags that ask for an answer instead of a member. They are not read from the environment, where `ETCD_VERSION` often
has another meaning."""


class Given(NamedTuple):
    """What was given: values by field, what to warn of once there is a log, and HELP or VERSION if asked for."""

    values: dict[str, Any]
    warnings: list[str]
    question: str | None = None


def read_flags(flags: Iterable[Flag], arguments: Sequence[str], environment: Mapping[str, str]) -> Given:
    """`arguments` are without the program's name. Raises ConfigError."""
    known = {flag.name: flag for flag in flags}
    given = Given({}, [])
    _read_environment(known, environment, given)
    known |= {flag.name: flag for flag in _QUESTIONS}
    for name, value in _split(known, arguments):
        if name in known:
            given.values[known[name].field] = _parse(known[name], value, f"flag --{name}")
        else:
            given.warnings.append(f"flag --{name} {why_ignored(name)}")
    asked = [question for question in (HELP, VERSION) if given.values.pop(question, False)]
    return given._replace(question=asked[0]) if asked else given


def why_ignored(name: str) -> str | None:
    """Why a flag that etcd has does nothing here; None for a flag that etcd does not have either."""
    if any(fnmatchcase(name, pattern) for pattern in V3_ENGINE):
        return "belongs to etcd's v3 engine and has no effect"
    return f"has no effect: {WITHOUT_EFFECT[name]}" if name in WITHOUT_EFFECT else None


def _read_environment(known: Mapping[str, Flag], environment: Mapping[str, str], given: Given) -> None:
    for variable, value in sorted(environment.items()):
        name = variable.removeprefix(PREFIX).lower().replace("_", "-")
        if not variable.startswith(PREFIX) or not value:
            continue
        if name in known and variable.isupper():
            given.values[known[name].field] = _parse(known[name], value, variable)
        else:
            reason = why_ignored(name)
            given.warnings.append(f"{variable} {reason}" if reason else f"unrecognized environment variable {variable}")


def _split(known: Mapping[str, Flag], arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names with the texts of their values."""
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        name, equals, value = _name(argument).partition("=")
        _check_known(known, name)
        if not equals:
            value = _value(known.get(name), name, waiting)
        yield name, value


def _name(argument: str) -> str:
    """A flag's argument without its dashes."""
    name = argument.removeprefix("-").removeprefix("-")
    if name == argument or not name:
        raise ConfigError(f'"{argument}" is not a valid flag')
    if name[0] in "-=":
        raise ConfigError(f"bad flag syntax: {argument}")
    return name


def _check_known(known: Mapping[str, Flag], name: str) -> None:
    if name in known or why_ignored(name):
        return
    if name in RENAMED:
        raise ConfigError(f"flag --{name} of etcd 0.4 is not supported any more: use {RENAMED[name]}")
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean --{nearest[0]}?)" if nearest else " (see --help)"
    raise ConfigError(f"flag provided but not defined: --{name}{hint}")


def _value(flag: Flag | None, name: str, waiting: list[str]) -> str:
    """The value of a flag without `=`: the next argument, for those that need one."""
    if flag is not None and flag.is_boolean:
        return "true"
    if flag is None and (not waiting or waiting[-1].startswith("-")):
        return ""
    if not waiting:
        raise ConfigError(f"flag needs an argument: --{name}")
    return waiting.pop()


def _parse(flag: Flag, value: str, source: str) -> Any:
    try:
        return flag.parse(value)
    except ValueError as error:
        raise ConfigError(f'invalid value "{value}" for {source}: {error}') from None
