"""A request as handlers see it: no socket, no library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from etcdpy.auth.credentials import Credentials
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
    address: str = ""
    """The host that the connection comes from."""

    @property
    def credentials(self) -> Credentials:
        authorization = (self.authorization or "").encode("utf-8", "surrogateescape")
        return Credentials(authorization, self.common_name, self.address)


Handler = Callable[[Request], Awaitable[Response | Watch]]
"""Answers a request, or says that it asks for a watch, which needs the connection."""
