"""Compiles the hot modules with mypyc: into a wheel, and for `make compiled`. An editable install stays plain Python.

A wheel is built in any case: where compiling fails it has the plain sources, which do the same, slower.
docs/decisions/0005-compiled-hot-modules.md says why.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import setup

HOT = {
    "raft": "*",
    "cluster": """applier batching clock codec disk flusher measured_disk membership node pending reads ready storage
        syncer""",
    "cluster/transport": "frame inbound outbound stats transport",
    "cluster/wal": "identity record segment wal",
    "etcdpy": "commands errors service state_machine",
    "etcdpy/auth": "attempts check credentials gate model verifier",
    "etcdpy/http": """client_name fast_lane go_form go_path go_quote guard json_string keys metrics parse render request
        request_line watch wire""",
    "etcdpy/store": "*",
}
"""What a request, a message or a start goes through; by directory, names of modules or all of them."""

MYPY_OPTIONS = ["--config-file=", "--ignore-missing-imports", "--cache-dir=build/mypy"]
"""`make check` is strict. Here dependencies may be missing: pip builds where none are."""


def hot_modules() -> list[Any]:
    """Raises SystemExit, with the reason, if they can't be compiled here."""
    if lacking := what_is_lacking():
        raise SystemExit(f"{lacking} missing")
    from mypyc.build import mypycify

    files = [str(file) for folder, names in HOT.items() for name in names.split() for file in matching(folder, name)]
    # One C file for all: slow to compile, but inlined across modules.
    return mypycify([*MYPY_OPTIONS, *files], opt_level="3", debug_level="0", group_name="etcdpy")


def what_is_lacking() -> str | None:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    needed = {
        "mypyc (pip install mypy) is": importlib.util.find_spec("mypyc"),
        f"a C compiler ({compiler}) is": shutil.which(compiler),
        "Python's C headers (python3-dev) are": Path(sysconfig.get_path("include"), "Python.h").is_file(),
    }
    return next((what for what, found in needed.items() if not found), None)


def matching(folder: str, name: str) -> list[Path]:
    """Packages' own modules stay plain: they are where Python begins to look for the others."""
    return sorted(file for file in Path(folder).glob(f"{name}.py") if file.stem != "__init__")


def main() -> None:
    if "build_ext" in sys.argv:
        setup(ext_modules=hot_modules())
    elif "bdist_wheel" not in sys.argv:
        setup()
    else:
        try:
            setup(ext_modules=hot_modules())
        except SystemExit as reason:
            print(f"etcdpy: not compiled, but complete in plain Python: {reason}", file=sys.stderr)
            setup()


main()
