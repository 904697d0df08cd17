"""Certificates and keys on disk: PEM, for their owner only, each file replaced whole or not at all.

A pair's key is written before its certificate, so where there is a certificate, there is its key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from etcdpy.pki import KeyPair, PkiError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class PairFiles(NamedTuple):
    """Where a certificate and its key are: `name.pem` and `name-key.pem`."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, certificate: Path) -> PairFiles:
        return cls(certificate, certificate.with_name(f"{certificate.stem}-key{certificate.suffix}"))


def write_pair(files: PairFiles, pair: KeyPair, replace: bool = False) -> None:
    """Raises PkiError if a file is there that must not be replaced, OSError."""
    if not replace:
        for path in files:
            if os.path.lexists(path):
                raise PkiError(f"{path} exists (--force replaces it)")
    files.certificate.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    if replace:
        files.certificate.unlink(missing_ok=True)  # never a certificate beside another one's key
    pem = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(files.key, pem)
    write_certificate(files.certificate, pair.certificate)


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Replaces what is there. Raises OSError."""
    _write(path, certificate.public_bytes(serialization.Encoding.PEM))


def read_pair(files: PairFiles) -> KeyPair:
    """Raises PkiError."""
    certificate = read_certificate(files.certificate)
    try:
        key = serialization.load_pem_private_key(_read(files.key), None)
    except (ValueError, TypeError) as error:
        raise PkiError(f"{files.key} is no private key in PEM: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{files.key} is no ECDSA key")
    if key.public_key() != certificate.public_key():
        raise PkiError(f"{files.key} does not belong to {files.certificate}")
    return KeyPair(certificate, key)


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of the file. Raises PkiError."""
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise PkiError(f"{path} is no certificate in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError(f"cannot read {path}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
