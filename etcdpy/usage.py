"""What `--help` and `--version` answer, in the form of etcd's answers: scripts read them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from itertools import groupby

from etcdpy import __version__
from etcdpy.flags import Flag
from etcdpy.http.version import ETCD_VERSION

_HEAD = """Usage:

  etcdpy [flags]
    Start a member of a cluster.

  etcdpy --version
    Show the version.

  etcdpy -h | --help
    Show this text.

Each flag is also read from the environment, as ETCD_DATA_DIR for --data-dir; the command line beats it.
Flags of etcd that have no meaning here are accepted with a warning.
"""


def help_text(flags: Iterable[Flag]) -> str:
    """All flags under their sections. `flags` of one section stand together."""
    sections = groupby(flags, lambda flag: flag.section)
    return "\n".join([_HEAD, *(_section(title, members) for title, members in sections)])


def _section(title: str, flags: Iterable[Flag]) -> str:
    rows = (f"  --{flag.name} '{flag.default}'\n    {flag.help}\n" for flag in flags)
    return f"{title}:\n{''.join(rows)}"


def version_text() -> str:
    """The version of etcd is the one whose behaviour this is."""
    system = f"{platform.system().lower()}/{platform.machine()}"
    return (
        f"etcdpy Version: {__version__}\n"
        f"etcd Version: {ETCD_VERSION}\n"
        f"Python Version: {platform.python_version()}\n"
        f"Python OS/Arch: {system}\n"
    )
