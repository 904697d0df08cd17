"""`etcdpyctl member`: what is done to one member of a cluster."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cluster.data_dir import DataDir, DataDirInUse
from cluster.disk import RealDisk
from cluster.failures import DataCorrupt, DiskFull, StorageFailed
from etcdpy.members_api import ApiError, MembersApi
from etcdpy.rebuild import CannotRebuild, rebuild

_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_directory = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def member() -> None:
    """The members of a cluster."""


@member.command("rebuild")
@click.option("--data-dir", type=_directory, required=True, help="The stopped member's own.")
@click.option("--wal-dir", type=_directory, help="The member's own, if it has one.")
@click.option("--endpoints", required=True, metavar="URL,...", help="Client URLs of the other members.")
@click.option("--name", help="The member's name; needed only if its log does not say whose it is.")
@click.option("--cacert", type=_file, help="Authority that the members' certificates are checked against.")
@click.option("--cert", type=_file, help="Certificate to show to the members.")
@click.option("--key", type=_file, help="Key of that certificate.")
@click.option("--user", metavar="NAME[:PASSWORD]", envvar="ETCDPYCTL_USER", help="Who asks, where auth is enabled.")
def rebuild_command(
    data_dir: Path,
    wal_dir: Path | None,
    endpoints: str,
    name: str | None,
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    user: str | None,
) -> None:
    """Rebuild a stopped member, whose files are damaged or lost, from its peers.

    The member leaves its cluster and joins it again as a new one with the same peer URLs; its old files are kept. Start
    it afterwards with the same command line as always. If this is interrupted, run it again.
    """
    with _failures():
        api = MembersApi(endpoints.split(","), _tls(cacert, cert, key), _credentials(user))
        directory = DataDir.open(str(data_dir), None if wal_dir is None else str(wal_dir))
        try:
            added = rebuild(RealDisk(), directory, api, name, click.echo)
        finally:
            directory.close()
        click.echo(f"added again as member {added.id:x}; start it as always, and it gets its data from the others")


def _tls(cacert: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    context = ssl.create_default_context(cafile=cacert)
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


def _credentials(user: str | None) -> tuple[str, str] | None:
    if user is None:
        return None
    name, colon, password = user.partition(":")
    return name, password if colon else click.prompt("Password", hide_input=True)


@contextmanager
def _failures() -> Iterator[None]:
    """What can be expected to fail is one line."""
    try:
        yield
    except (ApiError, CannotRebuild, DataDirInUse, DataCorrupt, DiskFull, StorageFailed, OSError) as error:
        raise click.ClickException(str(error)) from None
