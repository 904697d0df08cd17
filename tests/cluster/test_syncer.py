from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from cluster.failures import StorageFailed
from cluster.flusher import Flushed, Flusher
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


class File:
    """A `Flushable` that notes what happens to it."""

    def __init__(self, handle: int, done: list[str]) -> None:
        self.handle = handle
        self.done = done

    def sync(self) -> None:
        self.done.append("sync")

    def synced(self, error: OSError | None) -> None:
        self.done.append("synced")
        if error is not None:
            raise StorageFailed("file", 0, str(error))


class HeldFlusher:
    """A `Flusher` whose fsync ends when it is told to."""

    def __init__(self) -> None:
        self.flushed: Flushed | None = None
        self.at_close: OSError | None = None

    def begin(self, handle: int, flushed: Flushed) -> None:
        assert self.flushed is None, "one is under way"
        self.flushed = flushed

    def end(self, error: OSError | None = None) -> None:
        flushed, self.flushed = self.flushed, None
        assert flushed is not None
        flushed(error)

    def close(self) -> None:
        if self.flushed is not None:
            self.end(self.at_close)


def test_a_flush_passes_the_idle_worker_by_and_holds_back_what_comes_after_it() -> None:
    done: list[str] = []
    flusher = HeldFlusher()

    async def main() -> None:
        flushing = syncer.flush(File(0, done))
        later = syncer.run(lambda: done.append("later"))
        syncer.defer(lambda: done.append("last"))
        assert syncer._queue.empty()
        flusher.end()
        await flushing
        await later

    syncer = WorkerThread(flusher=flusher)
    asyncio.run(main())
    syncer.close()
    assert done == ["synced", "later", "last"]


def test_a_flush_waits_for_its_turn_behind_work_that_is_not_finished() -> None:
    """Else the worker's own fsync of the same file may get the error that belongs to this one."""
    done: list[str] = []
    release = threading.Event()

    async def main() -> None:
        syncer.defer(lambda: (release.wait(), done.append("earlier")))
        flushing = syncer.flush(File(0, done))
        release.set()
        await flushing

    syncer = WorkerThread(flusher=HeldFlusher())
    asyncio.run(main())
    syncer.close()
    assert done == ["earlier", "sync"]


def test_a_flush_that_fails_raises_and_what_was_held_back_is_done_all_the_same() -> None:
    done: list[str] = []
    flusher = HeldFlusher()

    async def main() -> None:
        flushing = syncer.flush(File(0, done))
        later = syncer.run(lambda: done.append("later"))
        flusher.end(OSError(5, "Input/output error"))
        with pytest.raises(StorageFailed, match="Input/output error"):
            await flushing
        await later

    syncer = WorkerThread(flusher=flusher)
    asyncio.run(main())
    syncer.close()
    assert done == ["synced", "later"]


def test_closing_waits_for_a_flush_and_for_what_it_held_back() -> None:
    done: list[str] = []
    flusher = HeldFlusher()

    async def main() -> None:
        syncer.flush(File(0, done))
        syncer.defer(lambda: done.append("held back"))
        syncer.close()

    syncer = WorkerThread(flusher=flusher)
    asyncio.run(main())
    assert flusher.flushed is None
    assert done == ["synced", "held back"]


def test_a_file_learns_of_its_failure_before_closing_returns() -> None:
    """What is written after that, the mark of a snapshot, must not follow a lost record."""
    file = File(0, [])
    flusher = HeldFlusher()
    flusher.at_close = OSError(5, "Input/output error")

    async def main() -> None:
        flushing = syncer.flush(file)
        syncer.close()
        assert file.done == ["synced"]
        with pytest.raises(StorageFailed, match="Input/output error"):
            await flushing

    syncer = WorkerThread(flusher=flusher)
    asyncio.run(main())
    assert file.done == ["synced"]


def test_the_flusher_syncs_a_file_and_says_how_long_it_took(tmp_path: Path) -> None:
    seconds: list[float] = []

    async def main(handle: int) -> None:
        for _ in range(100):
            await syncer.flush(File(handle, []))

    syncer = WorkerThread(flusher=Flusher(seconds.append))
    with (tmp_path / "log").open("wb") as file:
        file.write(b"record")
        file.flush()
        asyncio.run(main(file.fileno()))
    syncer.close()
    assert len(seconds) == 100
    assert all(0 < each < 10 for each in seconds)


def test_the_flusher_says_what_went_wrong() -> None:
    async def main() -> None:
        with pytest.raises(StorageFailed, match="Bad file descriptor"):
            await syncer.flush(File(-1, []))

    syncer = WorkerThread(flusher=Flusher(lambda seconds: None))
    asyncio.run(main())
    syncer.close()
