"""Certificates for a cluster: an authority, and what it issues to servers, peers and clients. Pure functions.

All keys are ECDSA P-256. What a certificate is good for is in it (RFC 5280): a server's serves, a client's dials, a
peer's does both, and only an authority signs. A certificate never outlives the authority that issued it.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MAX_COMMON_NAME = 64
CLOCK_SKEW = datetime.timedelta(minutes=5)
"""A certificate is valid a little earlier than it was made: clocks differ."""

_HOST_NAME = re.compile(r"(\*\.)?([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61})")


class PkiError(Exception):
    """What was asked for cannot be had; the text says why."""


class Kind(StrEnum):
    AUTHORITY = "ca"
    SERVER = "server"
    PEER = "peer"
    CLIENT = "client"
    UNKNOWN = "unknown"


class KeyPair(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Period(NamedTuple):
    """From when until when a certificate is valid."""

    begin: datetime.datetime
    end: datetime.datetime

    @classmethod
    def from_now(cls, now: datetime.datetime, days: int) -> Period:
        try:
            return cls(now - CLOCK_SKEW, now + datetime.timedelta(days=days))
        except OverflowError:
            raise PkiError(f"{days} days is too long") from None


class Description(NamedTuple):
    """What a person wants to know of a certificate."""

    kind: Kind
    common_name: str
    hosts: tuple[str, ...]
    issuer: str
    serial_number: int
    period: Period


_USAGES = {
    Kind.SERVER: (ExtendedKeyUsageOID.SERVER_AUTH,),
    Kind.PEER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Kind.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


def make_authority(common_name: str, period: Period) -> KeyPair:
    """Raises PkiError."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    return KeyPair(_sign_authority(name, key, period), key)


def renew_authority(authority: KeyPair, period: Period) -> x509.Certificate:
    """The same authority, valid for longer: what it issued stays good."""
    return _sign_authority(authority.certificate.subject, authority.key, period)


def issue(authority: KeyPair, kind: Kind, common_name: str, hosts: Sequence[str], period: Period) -> KeyPair:
    """A certificate of that kind for these addresses and host names. Raises PkiError."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(_name(common_name), key.public_key(), _USAGES[kind])
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(_general_names(hosts)), critical=False)
    return KeyPair(_sign(builder, authority, period), key)


def renew(authority: KeyPair, certificate: x509.Certificate, period: Period) -> x509.Certificate:
    """The same certificate for the same key, valid for longer. Raises PkiError if this authority didn't issue it."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception as error:  # of many types: the signature, the algorithm, the name
        raise PkiError("it was not issued by this authority") from error
    builder = x509.CertificateBuilder().subject_name(certificate.subject).public_key(certificate.public_key())
    for extension in certificate.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    return _sign(builder, authority, period)


def self_signed(common_name: str, hosts: Sequence[str], period: Period) -> KeyPair:
    """A certificate for both ends that nobody vouches for. Raises PkiError."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = _leaf(name, key.public_key(), _USAGES[Kind.PEER])
    builder = builder.add_extension(x509.SubjectAlternativeName(_general_names(hosts)), critical=False)
    certificate = _dated(builder.issuer_name(name), period).sign(key, hashes.SHA256())
    return KeyPair(certificate, key)


def describe(certificate: x509.Certificate) -> Description:
    return Description(
        _kind(certificate),
        _common_name(certificate.subject),
        hosts_of(certificate),
        _common_name(certificate.issuer),
        certificate.serial_number,
        Period(certificate.not_valid_before_utc, certificate.not_valid_after_utc),
    )


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The addresses and host names that it was made out to."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def _kind(certificate: x509.Certificate) -> Kind:
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return Kind.AUTHORITY
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return Kind.UNKNOWN
    return next((kind for kind, needed in _USAGES.items() if usages == set(needed)), Kind.UNKNOWN)


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[-1].value) if values else ""


def _name(common_name: str) -> x509.Name:
    if not 0 < len(common_name) <= MAX_COMMON_NAME or not common_name.isprintable():
        raise PkiError(f"a name has 1 to {MAX_COMMON_NAME} printable characters: {common_name[:100]!r}")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(host) for host in dict.fromkeys(hosts)]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    is_like_an_address = host.replace(".", "").isdigit()
    if is_like_an_address or len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise PkiError(f"not an address or host name: {host[:100]!r}")
    return x509.DNSName(host)


def _sign_authority(name: x509.Name, key: ec.EllipticCurvePrivateKey, period: Period) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _dated(builder, period).sign(key, hashes.SHA256())


def _leaf(
    name: x509.Name, key: ec.EllipticCurvePublicKey, usages: Sequence[x509.ObjectIdentifier]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, authority: KeyPair, period: Period) -> x509.Certificate:
    issuer = authority.certificate
    if issuer.not_valid_after_utc <= period.begin:
        raise PkiError("the authority has expired; renew it first")
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.issuer_name(issuer.subject).add_extension(identifier, critical=False)
    period = Period(period.begin, min(period.end, issuer.not_valid_after_utc))
    return _dated(builder, period).sign(authority.key, hashes.SHA256())


def _dated(builder: x509.CertificateBuilder, period: Period) -> x509.CertificateBuilder:
    return builder.serial_number(x509.random_serial_number()).not_valid_before(period.begin).not_valid_after(period.end)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
