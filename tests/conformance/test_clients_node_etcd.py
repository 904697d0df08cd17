"""node-etcd against a live server: node/check.js, with the library installed from node/package-lock.json."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .servers import Server

FOLDER = Path(__file__).parent / "node"
NODE, NPM = shutil.which("node"), shutil.which("npm")
pytestmark = pytest.mark.skipif(NODE is None or NPM is None, reason="no `node` and `npm` on PATH: node-etcd can't run")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Install node-etcd once, without running any package's install scripts."""
    modules = FOLDER / "node_modules"
    if not (modules / "node-etcd").is_dir():
        command = [str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved"]
        subprocess.run(command, cwd=FOLDER, check=True, timeout=50)
    return modules


def test_node_etcd(live: Server, node_modules: Path) -> None:
    command = [str(NODE), "check.js", live.url]
    done = subprocess.run(command, cwd=node_modules.parent, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
