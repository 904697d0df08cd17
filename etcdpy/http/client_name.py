"""Who is at the other end of a connection, by the client certificate that TLS has verified."""

from __future__ import annotations

import asyncio

from cluster.certificate import common_name


def common_name_of(transport: asyncio.BaseTransport | None) -> str | None:
    """The common name in the client's certificate; None if it showed none, was not asked, or has no such name."""
    certificate = None if transport is None else transport.get_extra_info("peercert")
    return common_name(certificate) or None if certificate else None
