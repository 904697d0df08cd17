from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest

from cluster.syncer import InlineSyncer, WorkerThread


def test_work_is_done_in_the_order_it_was_asked_for_by_one_other_thread() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def note(number: int) -> Callable[[], int]:
        def work() -> int:
            done.append(number)
            threads.add(threading.get_ident())
            return number

        return work

    async def main() -> list[int]:
        awaited = []
        for number in range(50):
            if number % 2:
                awaited.append(syncer.run(note(number)))
            else:
                syncer.defer(note(number))
        return [await result for result in awaited]

    syncer = WorkerThread()
    assert asyncio.run(main()) == list(range(1, 50, 2))
    syncer.close()
    assert done == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_work_raises_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise KeyError("x")

    async def main() -> int:
        with pytest.raises(KeyError):
            await syncer.run(fail)
        return await syncer.run(lambda: 5)

    syncer = WorkerThread()
    assert asyncio.run(main()) == 5
    syncer.close()


def test_a_waiter_that_has_gone_disturbs_nobody() -> None:
    release = threading.Event()

    async def main() -> int:
        waiting = asyncio.ensure_future(syncer.run(release.wait))
        await asyncio.sleep(0)
        waiting.cancel()
        release.set()
        return await syncer.run(lambda: 7)

    syncer = WorkerThread()
    assert asyncio.run(main()) == 7
    syncer.close()


def test_work_that_outlives_its_loop_ends_quietly() -> None:
    release = threading.Event()

    async def main() -> None:
        syncer.run(release.wait)

    syncer = WorkerThread()
    asyncio.run(main())
    release.set()
    syncer.close()
    assert not syncer._worker.is_alive()


def test_closing_waits_for_deferred_work() -> None:
    done: list[int] = []
    syncer = WorkerThread()
    for number in range(50):
        syncer.defer(partial(done.append, number))
    syncer.close()
    assert done == list(range(50))


def test_the_inline_syncer_yields_once_and_can_be_dropped_there() -> None:
    done: list[int] = []

    async def main() -> int:
        return await InlineSyncer().run(lambda: done.append(1) or 3)

    dropped = main()
    dropped.send(None)
    dropped.close()
    assert done == []
    coroutine = main()
    coroutine.send(None)
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert (stop.value.value, done) == (3, [1])


def test_deferred_work_that_raises_all_the_same_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Else every later save would wait for ever, and the member with it."""

    def fail() -> None:
        raise OSError("too many open files")

    async def main() -> int:
        async with asyncio.timeout(5):
            return await syncer.run(lambda: 7)

    syncer = WorkerThread()
    syncer.defer(fail)
    assert asyncio.run(main()) == 7
    syncer.close()
    assert "too many open files" in caplog.text
