"""The command: answers, exit codes, and one line for each failure that can be expected."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import etcdpy.server
from cluster.data_dir import DataDir, DataDirInUse
from cluster.failures import DataCorrupt, DiskFull, StorageFailed
from etcdpy import __version__
from etcdpy import command_line as command
from etcdpy.config import Config

ALONE = [
    *("--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:1"),
    *("--listen-peer-urls", "http://127.0.0.1:0"),
]


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variables of the machine, a directory to write to, and the log as it was."""
    for variable in [variable for variable in os.environ if variable.startswith("ETCD_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level


def serve_instead(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> list[Config]:
    served: list[Config] = []

    async def serve(config: Config) -> int:
        served.append(config)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(etcdpy.server, "serve", serve)
    return served


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etcdpy", *arguments], capture_output=True, text=True, timeout=30, check=False, **options
    )


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\nClustering:\n" in out
    assert "  --heartbeat-interval '100'\n" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--version"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "etcd Version: 3.4.23" in out.splitlines()
    assert f"etcdpy Version: {__version__}" in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--nmae", "a"],
            "etcdpy: flag provided but not defined: -nmae (did you mean --name?). See 'etcdpy --help'.\n",
        ),
        (["a\n\x1b[31mb"], "etcdpy: \"a\\n\\x1b[31mb\" is not a valid flag. See 'etcdpy --help'.\n"),
        (["--a\nb"], "etcdpy: flag provided but not defined: -a\\nb. See 'etcdpy --help'.\n"),
        (["---a\r"], "etcdpy: bad flag syntax: ---a\\r. See 'etcdpy --help'.\n"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    assert capsys.readouterr() == ("", line)


def test_the_exit_code_is_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_NAME", "from-the-environment")
    served = serve_instead(monkeypatch, 7)
    assert command.main(["--log-level", "error"]) == 7
    assert [config.name for config in served] == ["from-the-environment"]


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (DataDirInUse("/data"), 2, "etcdpy: data directory /data is in use by another process"),
        (StorageFailed("/data/0.wal", 4096, "I/O error"), 1, 'reason="/data/0.wal: offset 4096: I/O error"'),
        (DataCorrupt("/data/0.wal", 512, "bad\nrecord"), 1, 'reason="/data/0.wal: offset 512: bad\\nrecord"'),
        (DiskFull("/data/0.wal"), 1, 'reason="/data/0.wal: no space left on device"'),
        (OSError(98, "Address already in use"), 1, 'reason="[Errno 98] Address already in use"'),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_expected_failures_are_one_line_and_an_exit_code(
    failure: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    serve_instead(monkeypatch, failure)
    assert command.main([]) == code
    for handler in logging.getLogger().handlers:
        handler.close()  # what waits is written
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == bool(line)
    assert err.rstrip("\n").endswith(line)


def test_another_failure_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instead(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        command.main([])


def test_a_data_directory_in_use(tmp_path: Path) -> None:
    directory = DataDir.open(str(tmp_path / "data"))
    try:
        done = run(*ALONE, "--data-dir", str(tmp_path / "data"))
    finally:
        directory.close()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"etcdpy: data directory {tmp_path}/data is in use by another process\n"


def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run(*ALONE, "--data-dir", str(tmp_path / "data"), "--listen-peer-urls", url)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert "address already in use" in last
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(*ALONE, "--data-dir", str(tmp_path / "file"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "etcdpy", *arguments], stderr=subprocess.PIPE, text=True)


def stop_once_started(process: subprocess.Popen[str], number: int) -> list[str]:
    """Sends the signal to the member when it has started, and gives the log."""
    assert process.stderr is not None
    lines = []
    with process:
        try:
            for line in process.stderr:
                lines.append(line)
                if "member started" in line:
                    process.send_signal(number)
        finally:
            process.kill()
    return lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_warnings_are_logged_and_a_signal_ends_it_in_order(number: int, tmp_path: Path) -> None:
    process = start(*ALONE, "--data-dir", str(tmp_path / "data"), "--enable-v2")
    lines = stop_once_started(process, number)
    assert "  --enable-v2 is ignored: the v2 API is always served\n" in lines[0]
    assert process.returncode == 0
    assert "Traceback" not in "".join(lines)


def test_help_into_a_pipe_that_is_closed() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "etcdpy", "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_data_directory_makes_the_initial_cluster_unimportant(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    wrong = ["--initial-cluster", "other=http://127.0.0.1:1"]
    assert run(*ALONE, *wrong, "--data-dir", data).returncode == 2
    for arguments in (ALONE, [*ALONE, *wrong]):
        process = start(*arguments, "--data-dir", data)
        assert "member started" in "".join(stop_once_started(process, signal.SIGTERM))
        assert process.returncode == 0


def test_a_name_that_cannot_be_resolved_stays_a_name() -> None:
    assert command._address("localhost") == "localhost"
    assert command._address("127.0.0.1") == "127.0.0.1"
    assert command._address("no-such-host.invalid") == "no-such-host.invalid"
    assert command._address("a" * 70) == "a" * 70
