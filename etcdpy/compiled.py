"""Runs a checkout's compiled modules in place of their sources, and compiles them: `python -m etcdpy.compiled`.

The compiled modules are in build/compiled, with a fingerprint of the sources that they were made of. They are used only
as long as the sources have that fingerprint: whoever edits a file runs what it says, and compiled code again after the
next `make compiled`. An installed package has its compiled modules beside the sources, and needs nothing of this.

This module knows no other of the three packages. Whatever is imported before `prefer` stays what it is.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("raft", "cluster", "etcdpy")
SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX")
"""Of an extension module for this very Python, with its version and machine."""


class CompiledModules(MetaPathFinder):
    """Finds the extension modules below a directory."""

    def __init__(self, directory: Path) -> None:
        self.files = {
            ".".join(file.relative_to(directory).parts).removesuffix(SUFFIX): file
            for file in directory.rglob(f"*{SUFFIX}")
        }

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        file = self.files.get(name)
        return spec_from_file_location(name, file) if file else None


def prefer(checkout: Path = CHECKOUT) -> bool:
    """From here on, imports find the checkout's compiled modules before the sources, if they are made of exactly these
    sources and none of them is imported yet, so that there is only one of each. Returns whether they do."""
    if not is_fresh(checkout):
        return False
    finder = CompiledModules(_directory(checkout))
    if finder.files.keys() & sys.modules.keys():
        return False
    sys.meta_path.insert(0, finder)
    return True


def is_compiled(module: ModuleType) -> bool:
    return str(module.__file__).endswith(SUFFIX)


def is_fresh(checkout: Path = CHECKOUT) -> bool:
    try:
        return _mark(checkout).read_text() == fingerprint(checkout)
    except FileNotFoundError:
        return False


def fingerprint(checkout: Path = CHECKOUT) -> str:
    """Of all that compiled modules depend on: every source of the three packages, because types reach across modules,
    how they are compiled, and the Python that runs them."""
    digest = hashlib.sha256(SUFFIX.encode())
    for file in _sources(checkout):
        content = file.read_bytes()
        digest.update(b"%s\0%d\0%s" % (str(file.relative_to(checkout)).encode(), len(content), content))
    return digest.hexdigest()


def build(checkout: Path = CHECKOUT) -> str | None:
    """Compiles what is not fresh. Returns why it could not."""
    if is_fresh(checkout):
        return None
    made_of = fingerprint(checkout)
    directory = _directory(checkout)
    shutil.rmtree(directory, ignore_errors=True)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", str(directory)]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        lines = done.stdout.splitlines() or ["no reason given"]
        return next((line for line in lines if " error: " in line), lines[-1])
    _mark(checkout).write_text(made_of)
    return None


def _directory(checkout: Path) -> Path:
    return checkout / "build" / "compiled"


def _mark(checkout: Path) -> Path:
    return _directory(checkout) / "made-of"


def _sources(checkout: Path) -> list[Path]:
    return [checkout / "setup.py", *sorted(file for package in PACKAGES for file in (checkout / package).rglob("*.py"))]


def main() -> None:
    if reason := build():
        print(f"Not compiled, so the plain sources run, slower: {reason}")


if __name__ == "__main__":
    main()
