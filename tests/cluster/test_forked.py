"""Work in a forked child: on the memory of the moment, owning nothing of the parent's."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.forked import ChildFailed, run_in_child


async def in_child(work: Callable[[], object]) -> None:
    await run_in_child(lambda: work() and None)


def test_the_child_sees_the_memory_as_it_was_when_it_began(tmp_path: Path) -> None:
    state = ["before"]

    async def scenario() -> None:
        child = run_in_child(lambda: (tmp_path / "out").write_text(state[0]) and None)
        state[0] = "after"
        await child

    asyncio.run(scenario())
    assert (tmp_path / "out").read_text() == "before"


def test_work_that_raises_is_a_failure_with_a_status() -> None:
    with pytest.raises(ChildFailed) as caught:
        asyncio.run(in_child(lambda: [][1]))
    assert caught.value.status == 1


def test_an_os_error_is_told_by_its_errno(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="No such file") as caught:
        asyncio.run(in_child(lambda: (tmp_path / "none").read_bytes()))
    assert caught.value.status == errno.ENOENT


def test_a_child_that_is_killed_is_a_failure() -> None:
    with pytest.raises(ChildFailed) as caught:
        asyncio.run(in_child(lambda: os.kill(os.getpid(), 9)))
    assert caught.value.status == -9


def test_the_child_holds_none_of_the_parents_descriptors(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    release = tmp_path / "release"
    os.mkfifo(release)

    async def scenario() -> None:
        child = run_in_child(lambda: release.read_bytes() and None)
        theirs.close()
        assert await asyncio.to_thread(ours.recv, 1) == b""  # end of stream: no copy of `theirs` is left anywhere
        await asyncio.to_thread(release.write_bytes, b"")
        await child

    asyncio.run(scenario())
    ours.close()
