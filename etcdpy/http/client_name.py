"""Who is at the other end of a connection: by the client certificate that TLS has verified, and by address."""

from __future__ import annotations

import asyncio
import ipaddress

from cluster.certificate import common_name


def common_name_of(transport: asyncio.BaseTransport | None) -> str | None:
    """The common name in the client's certificate; None if it showed none, was not asked, or has no such name."""
    certificate = None if transport is None else transport.get_extra_info("peercert")
    return common_name(certificate) or None if certificate else None


def address_of(transport: asyncio.BaseTransport | None) -> str:
    """The client's host; "" if it is gone already."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def is_plain_loopback(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the connection came to a loopback address, without TLS."""
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return False
    own = transport.get_extra_info("sockname")
    return bool(own) and ipaddress.ip_address(own[0].partition("%")[0]).is_loopback
