"""Where blocking disk work runs: one thread of its own, so that the event loop never waits for an fsync.

One thread and one queue, because the work must be done in the order in which it was asked for. `WorkerThread` costs
less than an executor: one `SimpleQueue.put` on the way there, one `call_soon_threadsafe` on the way back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Generator
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Syncer(Protocol):
    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        """Begins `work` after everything asked for earlier; the awaitable ends with what it returns or raises."""

    def defer(self, work: Callable[[], object]) -> None:
        """Does `work`, which must not raise, after everything asked for earlier; nobody waits for it. May be called
        from within other work."""

    def close(self) -> None:
        """Returns when all work is done. Nothing may be asked for afterwards."""


class WorkerThread:
    """The production `Syncer`. `run` needs a running event loop."""

    def __init__(self, name: str = "disk") -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._worker = threading.Thread(target=self._work, name=name, daemon=True)
        self._worker.start()

    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(lambda: _run_for(loop, future, work))
        return future

    def defer(self, work: Callable[[], object]) -> None:
        self._queue.put(work)

    def close(self) -> None:
        self._queue.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:  # only from what was deferred; without this thread all saves would wait for ever
                log.exception("deferred disk work failed")


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
