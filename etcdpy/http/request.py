"""A request as handlers see it: no socket, no library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from etcdpy.commands import Watch
from etcdpy.http.render import Response


class BodyTooLarge(Exception):
    """The body is larger than was allowed. Reading has stopped; the connection must end."""


class Request(NamedTuple):
    """`path` is decoded and clean, `query` raw. Headers that occur more than once count with their first value."""

    method: str
    path: str
    query: str
    content_type: str | None
    content_length: int | None
    authorization: str | None
    read: Callable[[int], Awaitable[bytes]]
    """The body, if it has at most that many bytes; else raises `BodyTooLarge`. May be called once."""
    common_name: str | None = None
    """Whom the connection's verified client certificate names, where that counts (`--client-cert-auth`)."""


Handler = Callable[[Request], Awaitable[Response | Watch]]
"""Answers a request, or says that it asks for a watch, which needs the connection."""
