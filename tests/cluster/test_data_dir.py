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


def test_another_may_make_the_same_parents_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is when the members of a new cluster on one machine begin."""
    make = os.mkdir

    def make_second(path: str, mode: int = 0o777) -> None:
        make(path, mode)
        make(path, mode)

    with monkeypatch.context() as patched:
        patched.setattr("cluster.data_dir.os.mkdir", make_second)
        directory = DataDir.open(str(tmp_path / "data" / "m1"))
    assert mode(tmp_path / "data" / "m1") == 0o700
    directory.close()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    for path in (tmp_path / "data", tmp_path / "data" / "m1"):
        with pytest.raises(OSError, match="data"):
            DataDir.open(str(path))


@pytest.mark.parametrize("place", ["data", "data/member", "data/member/wal"])
def test_a_link_is_followed_and_said_and_closed_to_others(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    os.chmod(target, 0o755)
    link = tmp_path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    DataDir.open(str(tmp_path / "data")).close()
    assert f"directory {link} is a link to {target}" in caplog.text
    assert mode(target) == 0o700


def test_a_directory_of_another_user_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    DataDir.open(str(tmp_path)).close()
    assert f"directory {tmp_path} belongs to another user" in caplog.text


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
