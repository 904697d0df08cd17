from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.data_dir import DataDir, DataDirInUse

HOLDER = """
import sys
from cluster.data_dir import DataDir
DataDir.open(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_layout_is_etcds_and_for_the_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        directory = DataDir.open(str(tmp_path / "a" / "b"))
    finally:
        os.umask(old)
    assert directory.wal_dir == str(tmp_path / "a/b/member/wal")
    assert directory.snap_dir == str(tmp_path / "a/b/member/snap")
    for path in ("a/b", "a/b/member", "a/b/member/wal", "a/b/member/snap"):
        assert mode(tmp_path / path) == 0o700
    directory.close()


def test_the_log_may_lie_elsewhere(tmp_path: Path) -> None:
    directory = DataDir.open(str(tmp_path / "data"), str(tmp_path / "log"))
    assert directory.wal_dir == str(tmp_path / "log")
    assert not (tmp_path / "data/member/wal").exists()
    with pytest.raises(DataDirInUse):
        DataDir.open(str(tmp_path / "other"), str(tmp_path / "log"))
    directory.close()
    DataDir.open(str(tmp_path / "other"), str(tmp_path / "log")).close()


def test_a_directory_that_is_open_to_others_is_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    os.chmod(data, 0o755)
    DataDir.open(str(data)).close()
    assert mode(data) == 0o700
    assert "was open to others" in caplog.text


def test_only_one_may_have_it(tmp_path: Path) -> None:
    directory = DataDir.open(str(tmp_path))
    with pytest.raises(DataDirInUse, match="in use by another process"):
        DataDir.open(str(tmp_path))
    directory.close()
    DataDir.open(str(tmp_path)).close()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(DataDirInUse):
            DataDir.open(str(tmp_path))
        holder.kill()
    DataDir.open(str(tmp_path)).close()
