"""Where blocking disk work runs: one thread of its own, so that the event loop never waits for an fsync.

One queue, because the work must be done in the order in which it was asked for. `WorkerThread` costs less than an
executor: one `SimpleQueue.put` on the way there, one `call_soon_threadsafe` on the way back. What a write waits for
most, the fsync of the log, costs less still: it goes past the queue to the `Flusher`, if the queue is empty.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from cluster.failures import StorageFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


class Flushable(Protocol):
    """A file that is written, and made durable by `sync`, or by whoever syncs `handle` and then calls `synced`."""

    @property
    def handle(self) -> int: ...

    def sync(self) -> None:
        """Blocks. Raises StorageFailed."""

    def synced(self, error: OSError | None) -> None:
        """Raises StorageFailed if there is an error."""


class FsyncThread(Protocol):
    """What `flusher.Flusher` is."""

    def begin(self, handle: int, flushed: Callable[[OSError | None], object]) -> None: ...

    def close(self) -> None: ...


class Syncer(Protocol):
    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        """Begins `work` after everything asked for earlier; the awaitable ends with what it returns or raises."""

    def flush(self, file: Flushable) -> Awaitable[None]:
        """`file.sync`, as `run` would do it; only one at a time."""

    def defer(self, work: Callable[[], object]) -> None:
        """Does `work`, which must not raise, after everything asked for earlier; nobody waits for it. May be called
        from within other work."""

    def close(self) -> None:
        """Returns when all work is done. Nothing may be asked for afterwards."""


class Flush:
    """One that is under way: who waits for it, and then what became of it."""

    def __init__(self, file: Flushable, future: asyncio.Future[None]) -> None:
        self.file = file
        self.future = future
        self.error: OSError | None = None
        self.failure: StorageFailed | None = None


class WorkerThread:
    """The production `Syncer`. `run` and `flush` need a running event loop. All calls come from one thread, but for
    `defer` from within work.

    Invariant: the worker and the flusher never work at the same time. So `flush` goes past the queue only when no work
    is unfinished, and work that is asked for meanwhile is held back.
    """

    def __init__(self, name: str = "disk", flusher: FsyncThread | None = None) -> None:
        """Without `flusher` the worker flushes as well."""
        self._flusher = flusher
        self._flush: Flush | None = None
        self._held_back: list[Callable[[], object]] = []
        self._unfinished = 0
        self._counting = threading.Lock()
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._worker = threading.Thread(target=self._work, name=name, daemon=True)
        self._worker.start()

    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.defer(lambda: _run_for(loop, future, work))
        return future

    def flush(self, file: Flushable) -> Awaitable[None]:
        if self._flusher is None or self._unfinished:
            return self.run(file.sync)
        loop = asyncio.get_running_loop()
        self._flush = flush = Flush(file, loop.create_future())
        self._flusher.begin(file.handle, partial(self._tell_flushed, loop, flush))
        return flush.future

    def _tell_flushed(self, loop: asyncio.AbstractEventLoop, flush: Flush, error: OSError | None) -> None:
        """In the flusher's thread."""
        flush.error = error
        _tell(loop, self._resume, flush, None)

    def _resume(self, flush: Flush, _: None) -> None:
        self._settle(flush)
        if flush.failure is not None:
            _fail(flush.future, flush.failure)
        else:
            _resolve(flush.future, None)

    def _settle(self, flush: Flush) -> None:
        """The file learns what became of it before anything else may be written there: from the loop or, if the loop is
        waiting in `close`, from that."""
        if self._flush is not flush:
            return
        try:
            flush.file.synced(flush.error)
        except StorageFailed as failure:
            flush.failure = failure
        self._flush = None
        held_back, self._held_back = self._held_back, []
        for work in held_back:
            self._put(work)

    def defer(self, work: Callable[[], object]) -> None:
        if self._flush is not None:
            self._held_back.append(work)
        else:
            self._put(work)

    def _put(self, work: Callable[[], object]) -> None:
        with self._counting:
            self._unfinished += 1
        self._queue.put(work)

    def close(self) -> None:
        if self._flusher is not None:
            self._flusher.close()
        if self._flush is not None:
            self._settle(self._flush)
        self._queue.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:  # only from what was deferred; without this thread all saves would wait for ever
                log.exception("deferred disk work failed")
            with self._counting:
                self._unfinished -= 1


def _run_for(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:
        _tell(loop, _fail, future, error)
    else:
        _tell(loop, _resolve, future, result)


def _tell(loop: asyncio.AbstractEventLoop, end: Callable[[Any, Any], None], future: object, outcome: object) -> None:
    try:
        loop.call_soon_threadsafe(end, future, outcome)
    except RuntimeError:
        if not loop.is_closed():  # else nobody is left to tell
            raise


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class InlineSyncer:
    """A `Syncer` without threads or event loop, for tests and simulation: awaiting yields once, then the work is done.

    A coroutine that awaits it can be driven by `send(None)` and dropped at that point, as a crash would.
    """

    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        return _Inline(work)

    def flush(self, file: Flushable) -> Awaitable[None]:
        return self.run(file.sync)

    def defer(self, work: Callable[[], object]) -> None:
        work()

    def close(self) -> None:
        pass


class _Inline(Awaitable[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, T]:
        yield
        return self._work()
