"""File descriptors: as many as the system allows, and always some left for the log, the snapshots and the peers.

A client costs nothing to connect and one descriptor here. Were the last one his, the log could not begin its next file,
and the member would have to stop.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from typing import cast

_Factory = Callable[[], asyncio.BaseProtocol]

RESERVED = 128


def raise_limit() -> None:
    """To what the hard limit allows, as Go's runtime does. The soft one, often 1024, is for programs that use
    select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sparing(protocol: _Factory) -> _Factory:
    """A factory that gives `protocol`'s while descriptors are left over, and turns the client away at once when only
    the reserve is."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_reserved = limit - min(RESERVED, limit // 4)
    return lambda: protocol() if _next_descriptor() < first_reserved else TurnedAway()


def _next_descriptor() -> int:
    """The system gives the lowest one that is free."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return sys.maxsize
    os.close(descriptor)
    return descriptor


class TurnedAway(asyncio.Protocol):
    """Ends the connection that it is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()
