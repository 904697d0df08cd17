"""The command `etcdpyctl`: controls a cluster and what belongs to it.

The exit code is 1 when something failed, 2 when the command line can't be meant.
"""

from __future__ import annotations

import click

from etcdpy import __version__
from etcdpy.cli.member import member
from etcdpy.cli.pki import pki


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="etcdpyctl")
def main() -> None:
    """Controls an etcdpy cluster."""


main.add_command(member)
main.add_command(pki)
