"""What a client says about itself, and the reading of `Authorization` (Go 1.19: net/http, parseBasicAuth)."""

from __future__ import annotations

import binascii
from typing import NamedTuple


class Credentials:
    """`authorization` is the header's value, empty for none. `common_name` is that of a verified client certificate,
    where those count. `address` is the client's host. `digest` is the verifier's own, once it has seen these."""

    __slots__ = ("address", "authorization", "common_name", "digest")

    def __init__(self, authorization: bytes = b"", common_name: str | None = None, address: str = "") -> None:
        self.authorization = authorization
        self.common_name = common_name
        self.address = address
        self.digest = b""

    def __repr__(self) -> str:
        return "Credentials(...)"  # tracebacks and logs must not show a password


NO_CREDENTIALS = Credentials()


class Login(NamedTuple):
    user: str
    password: bytes

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


def parse_basic(authorization: bytes) -> Login | None:
    """None for everything that is not Basic, or not well formed."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic" or len(encoded) % 4:
        return None
    try:
        decoded = binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(b":")
    return Login(user.decode("utf-8", "surrogateescape"), password) if colon else None
