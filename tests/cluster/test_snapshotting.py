"""When a snapshot is tried, and that a failure of it costs the member nothing."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterator

import pytest

from cluster.forked import ChildFailed
from cluster.snapshotting import RETRY_SECONDS, Snapshotting, head_start
from raft.messages import ConfState, Snapshot


class State:
    """Applier, state machine and storage at once."""

    def __init__(self) -> None:
        self.applied_index, self.applied_term, self.applied_commands = 7, 2, 0
        self.bytes_since_snapshot = 0
        self.created: list[Snapshot] = []

    def header(self) -> bytes:
        return b""

    def dump(self) -> Iterator[bytes]:
        return iter(())

    def create_snapshot(self, snapshot: Snapshot) -> None:
        self.created.append(snapshot)


class Children:
    """Stands for `run_in_child`: fails as it is told, before the fork or after it."""

    def __init__(self) -> None:
        self.asked = 0
        self.no_fork: OSError | None = None
        self.failure: ChildFailed | None = None

    def __call__(self, work: Callable[[], None]):
        self.asked += 1
        if self.no_fork is not None:
            raise self.no_fork
        return self._wait()

    async def _wait(self) -> None:
        if self.failure is not None:
            raise self.failure


def scenario(
    test: Callable[[State, Children, list[float], Snapshotting], Awaitable[None]], count: int = 10, start: int = 0
) -> None:
    async def run() -> None:
        state, children, clock = State(), Children(), [100.0]
        spawn = asyncio.get_running_loop().create_task
        members = ConfState((1,))
        await test(
            state,
            children,
            clock,
            Snapshotting(state, state, state, None, lambda: members, count, children, spawn, lambda: clock[0], start),
        )

    asyncio.run(run())


def test_one_is_made_when_enough_was_applied():
    async def test(state: State, children: Children, clock: list[float], snapshotting: Snapshotting) -> None:
        state.applied_commands = 9
        snapshotting.check()
        assert children.asked == 0
        state.applied_commands = 10
        snapshotting.check()
        await snapshotting.stop()
        assert state.created == [Snapshot(7, 2, ConfState((1,)))]
        state.applied_commands = 19
        snapshotting.check()
        assert children.asked == 1

    scenario(test)


@pytest.mark.parametrize(
    "failure",
    [
        {"no_fork": OSError(errno.EAGAIN, "Resource temporarily unavailable")},
        {"no_fork": OSError(errno.ENOMEM, "Cannot allocate memory")},
        {"failure": ChildFailed(errno.ENOSPC)},
    ],
)
def test_a_failure_is_survived_and_tried_again_before_as_much_again_was_applied(failure):
    async def test(state: State, children: Children, clock: list[float], snapshotting: Snapshotting) -> None:
        vars(children).update(failure)
        state.applied_commands = 10
        snapshotting.check()
        await snapshotting.stop()
        assert state.created == []

        vars(children).update(no_fork=None, failure=None)
        state.applied_commands = 11
        snapshotting.check()
        assert children.asked == 1, "not at once"
        clock[0] += RETRY_SECONDS
        snapshotting.check()
        await snapshotting.stop()
        assert len(state.created) == 1

    scenario(test)


def test_members_that_apply_the_same_make_snapshots_at_different_moments():
    members = ConfState((3, 7, 5), (9,))
    assert [head_start(member, members, 100) for member in (3, 5, 7, 9)] == [0, 25, 50, 75]
    assert head_start(8, ConfState((3, 7)), 100) == 66  # not a member yet, by what it knows
    assert head_start(1, ConfState(()), 100) == 0


def test_a_head_start_counts_for_the_first_one_only():
    async def test(state: State, children: Children, clock: list[float], snapshotting: Snapshotting) -> None:
        for commands, made in ((5, 0), (6, 1), (15, 1), (16, 2)):
            state.applied_commands = commands
            snapshotting.check()
            await snapshotting.stop()
            assert children.asked == made

    scenario(test, start=4)
