"""`etcdpyctl pki`: makes and renews the certificates of a cluster, all in one directory.

ca.pem, ca-key.pem                      the authority
KIND-NAME.pem, KIND-NAME-key.pem        what it issued; KIND is server, peer or client
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from cryptography.x509 import Certificate

from etcdpy import pki as certificates
from etcdpy.pki import Description, KeyPair, Kind, Period, PkiError
from etcdpy.pki_files import PairFiles, read_certificate, read_pair, write_certificate, write_pair

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("pki"),
    show_default=True,
    help="Where it all is.",
)
_force = click.option("--force", is_flag=True, help="Replace files that are there.")
_DAYS = click.IntRange(1, 36_500)


@click.group()
def pki() -> None:
    """Certificates for clients, servers and peers."""


@pki.command()
@_directory
@click.option("--name", default="etcdpy CA", show_default=True, help="Its common name.")
@click.option("--days", type=_DAYS, default=AUTHORITY_DAYS, show_default=True, help="Days until it expires.")
@_force
def init(directory: Path, name: str, days: int, force: bool) -> None:
    """Make a certificate authority. Its key (ca-key.pem) can make anybody a member: keep it away from the servers."""
    with _failures():
        authority = certificates.make_authority(name, Period.from_now(_now(), days))
        files = _authority_files(directory)
        write_pair(files, authority, replace=force)
        _tell(files.certificate, authority)


@pki.command()
@click.argument("kind", type=click.Choice(["server", "peer", "client"]))
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--host", "hosts", multiple=True, help="Address or host name under which it is dialled; may be repeated.")
@_directory
@click.option("--days", type=_DAYS, default=LEAF_DAYS, show_default=True, help="Days until they expire.")
@_force
def issue(kind: str, names: Sequence[str], hosts: Sequence[str], directory: Path, days: int, force: bool) -> None:
    """Issue certificates: 'server' to members for their clients, 'peer' to members for each other, 'client' to users.

    NAME becomes the common name, which is the user for --client-cert-auth.
    """
    if kind != Kind.CLIENT and not hosts:
        raise click.UsageError(f"a {kind} certificate needs --host, the addresses and names under which it is dialled")
    with _failures():
        authority = read_pair(_authority_files(directory))
        for name in names:
            pair = certificates.issue(authority, Kind(kind), name, hosts, Period.from_now(_now(), days))
            files = PairFiles.of(directory / f"{kind}-{_file_name(name)}.pem")
            write_pair(files, pair, replace=force)
            _tell(files.certificate, pair)


@pki.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@_directory
@click.option("--days", type=_DAYS, help="Days until it expires [as before].")
def renew(files: Sequence[Path], directory: Path, days: int | None) -> None:
    """Make certificates valid for longer; names, usages and keys stay. Members notice without a restart.

    FILE is a certificate of the directory's authority, or that authority's own.
    """
    with _failures():
        authority = read_pair(_authority_files(directory))
        for path in files:
            renewed = _renewed(authority, read_certificate(path), days)
            write_certificate(path, renewed)
            _tell(path, KeyPair(renewed, authority.key))


@pki.command()
@click.argument("files", nargs=-1, metavar="[FILE...]", type=click.Path(path_type=Path))
@_directory
def show(files: Sequence[Path], directory: Path) -> None:
    """Say what certificates are for and when they expire; without FILE, all of the directory."""
    with _failures():
        paths = files or _certificate_files(directory)
        if not paths:
            raise PkiError(f"no certificates in {directory}")
        for path in paths:
            click.echo(_text(path, certificates.describe(read_certificate(path))))


def _renewed(authority: KeyPair, certificate: Certificate, days: int | None) -> Certificate:
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    period = Period.from_now(_now(), days or lifetime.days)
    if certificate.public_key() == authority.key.public_key():
        return certificates.renew_authority(authority, period)
    return certificates.renew(authority, certificate, period)


def _certificate_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.pem") if not path.stem.endswith("-key"))


def _authority_files(directory: Path) -> PairFiles:
    return PairFiles.of(directory / "ca.pem")


def _file_name(name: str) -> str:
    if name.startswith(".") or "/" in name or "\0" in name or name.endswith("-key"):
        raise PkiError(f"a name that can't be part of a file's: {name!r}")
    return name


def _tell(path: Path, pair: KeyPair) -> None:
    click.echo(_text(path, certificates.describe(pair.certificate)))


def _text(path: Path, about: Description) -> str:
    hosts = f" for {', '.join(about.hosts)}" if about.hosts else ""
    return f"{path}: {about.kind} {about.common_name!r}{hosts}, {_expiry(about.period)}"


def _expiry(period: Period) -> str:
    now = _now()
    if period.begin > now:
        return f"not valid before {period.begin:%Y-%m-%d %H:%M} UTC"
    word = "EXPIRED" if period.end < now else "expires"
    days = round((period.end - now) / datetime.timedelta(days=1))
    left = f"{days} days left" if days >= 0 else f"{-days} days ago"
    return f"{word} {period.end:%Y-%m-%d %H:%M} UTC ({left})"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@contextmanager
def _failures() -> Iterator[None]:
    """What can be expected to fail is one line."""
    try:
        yield
    except PkiError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
