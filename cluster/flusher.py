"""`fdatasync` in a thread of C code, by caio.

A thread of Python's own cannot begin before the event loop lets go of the interpreter, and each hand-over between the
two costs as much as a small fsync. caio's thread needs the interpreter only to say that it is done.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import perf_counter
from typing import Any

from caio.thread_aio import Context, Operation

Flushed = Callable[[OSError | None], object]


class Flusher:
    """Makes one file durable at a time. `observe` gets the seconds of each fsync, in the thread that made it."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._context: Any = Context(max_requests=2, pool_size=1)
        self._operation: Any = None
        self._begun = 0.0
        self._flushed: Flushed

    def begin(self, handle: int, flushed: Flushed) -> None:
        """Begins `fdatasync(handle)`; `flushed` is called in the other thread with None, or with what went wrong, and
        must not raise. Nothing more may be begun before that."""
        self._flushed = flushed
        self._operation = operation = Operation.fdsync(handle)
        operation.set_callback(self._end)
        self._begun = perf_counter()
        self._context.submit(operation)

    def _end(self, result: int) -> None:
        self._observe(perf_counter() - self._begun)
        self._flushed(None if result == 0 else self._failure())

    def _failure(self) -> OSError:
        try:
            self._operation.get_value()
        except SystemError as error:  # caio tells the text alone
            return OSError(errno.EIO, str(error))
        return OSError(errno.EIO, "fdatasync failed")

    def close(self) -> None:
        """Returns when nothing is under way."""
        self._context.close()
