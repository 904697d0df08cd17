"""Which certificates have been taken back: what CRL files say (RFC 5280). Pure.

As in etcd 3.4 (pkg/transport: checkCRL), a list counts whoever signed it and however old it is. The certificate at the
beginning of a chain is looked up by its serial number alone, as there; the authorities behind it are looked up in the
lists of their own issuers only, for the serial numbers of authorities are small and occur again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cryptography import x509

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class Revocations:
    def __init__(self, lists: Iterable[x509.CertificateRevocationList] = ()) -> None:
        self.entries = frozenset((each.issuer, entry.serial_number) for each in lists for entry in each)
        self.serial_numbers = frozenset(serial_number for _, serial_number in self.entries)

    @classmethod
    def read(cls, data: bytes) -> Revocations:
        """`data` is one list in DER, or any number in PEM. Raises ValueError."""
        encoded = _PEM.findall(data)
        return cls(map(x509.load_pem_x509_crl, encoded) if encoded else [x509.load_der_x509_crl(data)])

    def concern(self, chain: Sequence[x509.Certificate]) -> bool:
        """Whether a certificate of the chain was taken back; the first one is whose the chain is."""
        return any(each.serial_number in self.serial_numbers for each in chain[:1]) or any(map(self.lists, chain[1:]))

    def lists(self, authority: x509.Certificate) -> bool:
        return (authority.issuer, authority.serial_number) in self.entries
