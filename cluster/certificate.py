"""What a verified certificate says of its owner, as `ssl.SSLSocket.getpeercert` gives it. Pure functions.

Names are matched as in RFC 6125 and Go's `x509.Certificate.VerifyHostname`: only subject alternative names count, an
address only equals an address, and a wildcard stands for the whole first label and nothing else.
"""

from __future__ import annotations

import ipaddress
import ssl
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

Certificate = Mapping[str, Any]


def chain_of(connection: ssl.SSLObject) -> list[x509.Certificate]:
    """The other side's certificate and all that vouch for it, up to the trusted one; where a session was taken up again
    and nothing was verified, those that it showed when it began."""
    if sys.version_info >= (3, 13):
        encoded = connection.get_verified_chain() or connection.get_unverified_chain()
        return [x509.load_der_x509_certificate(each) for each in encoded]
    inner: Any = connection._sslobj  # type: ignore[attr-defined]  # it can do the same, but not yet in public
    found = inner.get_verified_chain() or inner.get_unverified_chain() or ()
    return [x509.load_pem_x509_certificate(each.public_bytes().encode()) for each in found]


def common_name(certificate: Certificate) -> str:
    """The subject's common name, the last of several as in Go; "" for none."""
    pairs = (pair for relative_name in certificate.get("subject", ()) for pair in relative_name)
    return next((value for key, value in reversed(list(pairs)) if key == "commonName"), "")


def expires_at(certificate: Certificate) -> float:
    """In seconds since the Unix epoch."""
    return float(ssl.cert_time_to_seconds(certificate["notAfter"]))


def names_host(certificate: Certificate, host: str) -> bool:
    """Whether the certificate was made out to this address or host name."""
    names: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    address = _address(host)
    if address is not None:
        return any(kind == "IP Address" and _address(value) == address for kind, value in names)
    return any(kind == "DNS" and _matches(value, host) for kind, value in names)


def names_one_of(certificate: Certificate, urls: Iterable[str]) -> bool:
    """Whether the certificate was made out to the host of one of these URLs."""
    return any(names_host(certificate, urlsplit(url).hostname or "") for url in urls)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip())  # OpenSSL's text of an IPv6 address ends in a line feed
    except ValueError:
        return None


def _matches(pattern: str, host: str) -> bool:
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if not host or not pattern.startswith("*."):
        return bool(host) and pattern == host
    label, _, rest = host.partition(".")
    return bool(label) and "." in rest and rest == pattern[2:]
