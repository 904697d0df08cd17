"""The command `etcdpy`: from arguments to an exit code.

0 after a clean stop or the member's removal, 1 when running failed, 2 when the configuration can't be used. Every
failure that can be expected is one line on stderr.
"""

from __future__ import annotations

import logging
import os
import sys

import uvloop

from cluster.data_dir import DataDirInUse
from cluster.disk import DataCorrupt, StorageFailed
from etcdpy import logs
from etcdpy.config import FLAGS, Config, make_config
from etcdpy.flags import HELP, ConfigError, Given, read_flags
from etcdpy.server import serve
from etcdpy.usage import help_text, version_text

log = logging.getLogger("etcdpy")

OK, FAILED, MISUSED = 0, 1, 2


def main() -> int:
    try:
        given = read_flags(FLAGS, sys.argv[1:], os.environ)
        if given.question is not None:
            print(help_text(FLAGS) if given.question == HELP else version_text(), end="")
            return OK
        return _run(given, make_config(given.values))
    except (ConfigError, DataDirInUse) as error:
        print(logs.escape(f"etcdpy: {error}"), file=sys.stderr)
        return MISUSED


def _run(given: Given, config: Config) -> int:
    """Runs a member. Raises ConfigError, DataDirInUse."""
    logs.configure(config.log_level, config.log_format)
    for warning in given.warnings:
        log.warning(warning)
    try:
        return uvloop.run(serve(config))
    except (OSError, StorageFailed, DataCorrupt) as error:
        log.critical("member stopped", extra={"fields": {"reason": str(error)}})
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
