"""Work done by a forked child on a frozen copy of this process's memory, while this process goes on.

The kernel copies a page only when one of the two writes to it, so a snapshot of a large state costs the event loop
the fork itself and no more (Redis does the same for its RDB files). The child owns nothing of its parent's: it
closes every descriptor first, so that a listener, the lock on the data directory or a client's connection never
outlives the parent in it, and it dies with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

_PR_SET_PDEATHSIG = 1
_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR = 3, 1 << 20
_NICENESS = 19
"""The child takes the processor time that nobody else wants: writes go on at nearly their usual rate meanwhile."""


class ChildFailed(Exception):
    """The child did not finish its work. `status` is the errno of the `OSError` that stopped it, 1 for any other
    exception, negative for the signal that ended it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"forked child: {os.strerror(status) if status > 1 else f'ended with status {status}'}")
        self.status = status


def run_in_child(work: Callable[[], None]) -> Coroutine[Any, Any, None]:
    """Calls `work` in a child forked before this returns, so with the memory as it is now. Awaiting it waits for the
    end, and raises `ChildFailed` unless `work` has returned.

    `work` may open files of its own; it must not touch the event loop, locks or loggers.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(work, parent)
    return _wait_for(pid)


async def _wait_for(pid: int) -> None:
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    if status != 0:
        raise ChildFailed(os.waitstatus_to_exitcode(status))


def _be_child(work: Callable[[], None], parent: int) -> None:
    status = 1
    try:
        gc.disable()  # a collection would touch, and so copy, every page
        os.closerange(_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            os.nice(_NICENESS)
            work()
            status = 0
    except OSError as error:
        status = error.errno or 1
    finally:
        os._exit(status)
