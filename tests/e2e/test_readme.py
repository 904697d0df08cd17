"""What the README tells a newcomer to type, typed: `make run`, the tour, Ctrl-C.

The commands are the README's own, in its order; only ports and the directory are others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from procfile import QUICK, ROOT, environment, eventually, free_ports

STOP_SECONDS = 8.0
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")
_STARTED = re.compile(r"(infra\d)\.1\D*\bstarted \(pid=(\d+)\)")


class Newcomer:
    """A checkout of one's own, with ports that are free."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        procfile = (ROOT / "Procfile").read_text()
        old = sorted(set(_PORT.findall(procfile)))
        self._ports = dict(zip(old, map(str, free_ports(len(old))), strict=True))
        (directory / "Procfile").write_text(self.moved(procfile))
        for name in ("Makefile", "requirements.txt", "pyproject.toml"):
            shutil.copy2(ROOT / name, directory)
        (directory / ".venv").symlink_to(ROOT / ".venv")
        self.output = directory / "output"

    def moved(self, text: str) -> str:
        return _PORT.sub(lambda match: self._ports[match[0]], text)

    def begin(self, command: str) -> subprocess.Popen[str]:
        """A command in a terminal of its own."""
        command = self.moved(command).replace("make run", "make -o .venv/ready -o compiled run")  # all is installed
        output = self.output.open("a")
        with output:
            return subprocess.Popen(
                command,
                shell=True,
                cwd=self.directory,
                env={**environment(), **QUICK},
                start_new_session=True,
                stdout=subprocess.PIPE if "curl" in command else output,
                stderr=output,
                text=True,
            )

    def try_to(self, command: str) -> str | None:
        """What a command prints; None if it fails or the answer is an error."""
        done = subprocess.run(
            self.moved(command) + " --silent --show-error --max-time 10" if "curl" in command else command,
            shell=True,
            cwd=self.directory,
            env={**environment(), **QUICK},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return None if done.returncode or '"errorCode"' in done.stdout else done.stdout

    def does(self, command: str) -> str:
        return eventually(lambda: self.try_to(command), f"success of {command}")

    def process_ids(self) -> dict[str, int]:
        """Of the members that were started last, as the terminal shows them."""
        return {name: int(pid) for name, pid in _STARTED.findall(self.output.read_text())}

    def waits_for_the_end(self) -> None:
        eventually(lambda: not any(map(_is_running, self.all_process_ids())), "end of all members", STOP_SECONDS)

    def all_process_ids(self) -> list[int]:
        return [int(pid) for _, pid in _STARTED.findall(self.output.read_text())]


@contextmanager
def a_newcomer(directory: Path) -> Iterator[Newcomer]:
    newcomer = Newcomer(directory)
    try:
        yield newcomer
    finally:
        for pid in newcomer.all_process_ids():
            if _is_running(pid):
                os.kill(pid, signal.SIGKILL)
    assert "Traceback" not in newcomer.output.read_text(), newcomer.output.read_text()


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def press_ctrl_c(terminal: subprocess.Popen[str]) -> int:
    """The exit code."""
    os.killpg(terminal.pid, signal.SIGINT)
    return terminal.wait(STOP_SECONDS)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.timeout(120)
def test_the_readme_from_make_run_to_the_last_command(tmp_path: Path) -> None:
    with a_newcomer(tmp_path) as newcomer:
        tour = Tour(newcomer)
        for command in commands():
            tour.do(command)
        eventually(lambda: len(_STARTED.findall(newcomer.output.read_text())) == 4 or None, "the killed one's return")
        newcomer.does("curl --cacert pki/ca.pem 'https://127.0.0.1:2379/v2/keys/hello?quorum=true'")
        for terminal in reversed(tour.terminals):
            press_ctrl_c(terminal)
        newcomer.waits_for_the_end()


class Tour:
    """Does one command after the other, as a reader would. The README takes infra1 for the leader and then asks at
    infra2's port; a reader sees who it is and thinks."""

    def __init__(self, newcomer: Newcomer) -> None:
        self.terminals: list[subprocess.Popen[str]] = []
        self._newcomer = newcomer
        self._watching: subprocess.Popen[str] | None = None
        self._leader = "infra1"

    def do(self, command: str) -> None:
        newcomer = self._newcomer
        if command == "make run":
            self.terminals.append(newcomer.begin(command))
        elif "honcho start" in command:
            self.terminals.append(newcomer.begin(command.replace("infra1", self._leader)))
        elif "wait=true" in command:
            self._watching = newcomer.begin(command)
        elif self._watching is not None:
            self._change_until_the_watch_answers(command, self._watching)
            self._watching = None
        elif command.startswith("kill"):
            newcomer.does(command.replace("4711", str(newcomer.process_ids()[self._leader])))
        elif "members/leader" in command:
            self._leader = json.loads(newcomer.does(command))["name"]
        else:
            newcomer.does(command.replace(":22379", ":2379") if self._leader == "infra2" else command)

    def _change_until_the_watch_answers(self, command: str, watching: subprocess.Popen[str]) -> None:
        eventually(lambda: self._newcomer.does(command) and watching.poll() is not None, "answer of the watch")
        assert json.loads(watching.communicate()[0])["node"]["value"] in command
