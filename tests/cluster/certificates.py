"""A throw-away authority for tests, which issues whatever it is asked for, and revokes it."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.tls import TlsConfig

PEM = serialization.Encoding.PEM
HOUR = datetime.timedelta(hours=1)
BOTH_ENDS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Issued(NamedTuple):
    cert_file: Path
    key_file: Path
    serial_number: int

    @property
    def files(self) -> tuple[str, str]:
        return str(self.cert_file), str(self.key_file)


class Authority:
    """With a `parent` it is one of those in between, and what it issues comes with its own certificate."""

    def __init__(self, folder: Path, name: str = "ca", days: float = 30, parent: Authority | None = None) -> None:
        self.folder, self.name, self.parent = folder, name, parent
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._revoked: list[int] = []
        self.path = folder / f"{name}.pem"
        signer = parent or self
        builder = signer._builder(name, self._key.public_key(), days=days).add_extension(
            x509.BasicConstraints(True, None), critical=True
        )
        certificate = builder.sign(signer._key, hashes.SHA256())
        self.serial_number = certificate.serial_number
        self.pem = certificate.public_bytes(PEM)
        self.path.write_bytes(self.pem)

    def _builder(
        self, name: str, key: ec.EllipticCurvePublicKey, *, days: float, since: datetime.timedelta = -HOUR
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (self.name, name))
        return (
            x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def issue(
        self,
        name: str,
        hosts: tuple[str, ...] = ("127.0.0.1",),
        usages: tuple[x509.ObjectIdentifier, ...] = BOTH_ENDS,
        days: float = 1,
        since: datetime.timedelta = -HOUR,
    ) -> Issued:
        """Writes NAME.pem and NAME-key.pem, over what is there."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(name, key.public_key(), days=days, since=since)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_name, hosts))), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        issued = Issued(self.folder / f"{name}.pem", self.folder / f"{name}-key.pem", certificate.serial_number)
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        issued.key_file.write_bytes(key.private_bytes(PEM, *private))
        issued.cert_file.write_bytes(certificate.public_bytes(PEM) + (self.pem if self.parent else b""))
        return issued

    def expired(self, name: str) -> Issued:
        return self.issue(name, days=-1 / 48, since=-2 * HOUR)

    def not_yet_valid(self, name: str) -> Issued:
        return self.issue(name, since=HOUR)

    def revoke(self, *issued: Issued | Authority, encoding: serialization.Encoding = PEM) -> Path:
        """Adds to the list, and writes it: NAME.crl."""
        now = datetime.datetime.now(datetime.UTC)
        self._revoked += [each.serial_number for each in issued]
        builder = x509.CertificateRevocationListBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]), now - HOUR, now + HOUR
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder(serial, now - HOUR).build()
            builder = builder.add_revoked_certificate(entry)
        path = self.folder / f"{self.name}.crl"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(encoding))
        return path

    def tls_config(self, issued: Issued, **changes: object) -> TlsConfig:
        """Mutual TLS with that certificate, trusting this authority."""
        config = TlsConfig(*issued.files, str(self.path), verify_clients=True)
        return config._replace(**changes)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
