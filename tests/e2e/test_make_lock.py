"""The lock files: what `make` installs is fixed to the byte, and nothing in them says where it comes from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")


def read(name: str) -> str:
    return (CHECKOUT / name).read_text()


def pinned(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", read(name), re.MULTILINE))


def declared(*extras: str) -> set[str]:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    requirements = [
        *project["dependencies"],
        *(each for extra in extras for each in project["optional-dependencies"][extra]),
    ]
    return {re.split(r"[\[<>=!~ ]", each)[0].lower().replace("_", "-") for each in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_each_line_is_a_version_a_hash_or_a_comment(name: str) -> None:
    line = re.compile(r"[a-z0-9._-]+==[0-9][0-9a-z.]* \\|    --hash=sha256:[0-9a-f]{64}( \\)?|\s*#.*|")
    assert [each for each in read(name).split("\n") if not line.fullmatch(each)] == []
    assert len(re.findall("--hash", read(name))) >= len(pinned(name)) > 5


@pytest.mark.parametrize("name", LOCKS)
def test_no_host_and_no_path_of_a_machine(name: str) -> None:
    assert not re.search(r"https?:|--(index|extra|find|trusted)|file://|^-|\s/", read(name), re.MULTILINE)


def test_what_the_project_declares_is_locked() -> None:
    assert declared("run") <= pinned("requirements.txt").keys()
    assert declared("run", "dev") <= pinned("requirements-dev.txt").keys()
    assert "setuptools" in pinned("requirements.txt")  # builds the checkout


def test_development_and_production_agree() -> None:
    dev = pinned("requirements-dev.txt")
    assert {name: dev.get(name) for name in pinned("requirements.txt")} == pinned("requirements.txt")
