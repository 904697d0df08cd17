"""The command `etcdpy`: from arguments to an exit code.

0 after a clean stop or the member's removal, 1 when running failed, 2 when the configuration can't be used. Every
failure that can be expected is one line on stderr, never a traceback.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.data_dir import DataDirInUse
from cluster.disk import RealDisk
from cluster.failures import DataCorrupt, DiskFull, StorageFailed
from etcdpy import logs
from etcdpy.config import FLAGS, Config, VersionRequested, parse
from etcdpy.descriptors import raise_limit
from etcdpy.flags import ConfigError, HelpRequested
from etcdpy.usage import help_text, version_text

log = logging.getLogger("etcdpy")

OK, FAILED, MISUSED = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT
"""Stopped by Ctrl-C before there was a member that could stop in order."""


def main(argv: Sequence[str] | None = None) -> int:
    """`argv` is without the program's name; that of the process if None."""
    try:
        return _run(parse(sys.argv[1:] if argv is None else argv, os.environ, _has_begun, _address))
    except HelpRequested:
        return _answer(help_text(FLAGS))
    except VersionRequested:
        return _answer(version_text())
    except ConfigError as error:
        return _fail(MISUSED, f"{error}. See 'etcdpy --help'.")
    except DataDirInUse as error:
        return _fail(MISUSED, str(error))
    except OSError as error:
        return _fail(FAILED, str(error))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(config: Config) -> int:
    """Runs a member. Raises DataDirInUse."""
    logs.configure(config.log_level, config.log_format)
    for warning in config.warnings:
        log.warning(warning)
    raise_limit()
    _leave_no_core()
    import uvloop  # here, so that nobody waits for the server's parts to hear of a mistyped flag

    from etcdpy.server import serve

    try:
        return uvloop.run(serve(config))
    except (OSError, StorageFailed, DiskFull, DataCorrupt) as error:
        log.critical("member stopped", extra={"fields": {"reason": str(error)}})
        return FAILED


def _leave_no_core() -> None:
    """Passwords on their way to bcrypt are in memory, and a crash must not write them to a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _has_begun(config: Config) -> bool:
    from cluster.storage import storage_exists

    return storage_exists(RealDisk(), os.path.abspath(config.wal_dir or Path(config.data_dir, "member", "wal")))


def _address(host: str) -> str:
    """The host's first address; the host itself if it has none now, and for localhost, as in etcd."""
    if host == "localhost":
        return host
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        return host


def _answer(text: str) -> int:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # `etcdpy --help | head`: Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def _fail(code: int, reason: str) -> int:
    print(logs.escape(f"etcdpy: {reason}"), file=sys.stderr)
    return code
