"""Replays every recorded scenario against etcdpy and compares it, answer by answer, with what the real etcd said.

Each is played on three servers at the same time: on either HTTP lane, and with etcd's own bugs switched on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .normalise import same
from .scenario import FOLDER, Scenario, load
from .servers import Server, etcdpy
from .session import play

FILES = sorted(FOLDER.glob("*.txt"))
SETTINGS = {
    "fast lane": ("--fast-lane=on",),
    "aiohttp lane": ("--fast-lane=off",),
    "etcd's quirks": ("--fast-lane=on", "--v2-quirks=etcd"),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(len(SETTINGS)) as threads:
        yield threads


@pytest.fixture(scope="module")
def servers(pool: ThreadPoolExecutor) -> Iterator[dict[str, Server]]:
    with contextlib.ExitStack() as stack:
        started = list(pool.map(lambda flags: stack.enter_context(etcdpy(*flags)), SETTINGS.values()))
        yield dict(zip(SETTINGS, started, strict=True))


@pytest.mark.parametrize("scenario", [pytest.param(s, id=f"{f.stem}: {s.title}") for f in FILES for s in load(f)])
def test_answers_as_recorded_from_etcd(
    pool: ThreadPoolExecutor, servers: dict[str, Server], scenario: Scenario
) -> None:
    def differences(setting: str) -> list[str]:
        found = list(compare(scenario, servers[setting], quirks=setting == "etcd's quirks"))
        return [f"\non the server with {setting}:", *found] if found else []

    found = [line for lines in pool.map(differences, SETTINGS) for line in lines]
    assert not found, "\n".join(found)


def compare(scenario: Scenario, server: Server, *, quirks: bool) -> Iterator[str]:
    """Yield a readable difference for each step that is answered otherwise than it should be."""
    for step, got in play(scenario, server):
        expected = step.expected(quirks=quirks)
        if not same("\n".join(expected), "\n".join(got)):
            yield "\n".join([f"> {step.question}", *step.headers, *marked("expected", expected), *marked("got", got)])


def marked(mark: str, lines: list[str]) -> Iterator[str]:
    return (f"  {mark:8} | {line}" for line in lines or ["(nothing)"])
