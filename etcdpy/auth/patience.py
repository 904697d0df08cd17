"""Who has to wait before a password is looked at, because too many from that address were wrong.

An address that has no attempts left has a line: one of each user stands in it, in the order in which they came, and all
others are refused at once. So a user whom nobody guesses at gets in after those who were there before him, however
often they ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from etcdpy.auth.attempts import Attempts

MAX_WAITING = 512
MAX_WAITING_SECONDS = 10.0
MIN_PAUSE_SECONDS = 0.01


class _Waiting(NamedTuple):
    may_try: asyncio.Future[bool]
    until: float


_Line = dict[str, _Waiting]


class Patience:
    def __init__(self, attempts: Attempts, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._attempts = attempts
        self._sleep = sleep
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def may_try(self, user: str, address: str) -> bool:
        """Whether a password may be looked at, now or after a wait. The attempt is taken then."""
        line = self._lines.get(address)
        if line is None:
            if self._attempts.take(user, address):
                return True
            line = self._begin_line(address)
        if user in line or sum(map(len, self._lines.values())) >= MAX_WAITING:
            return False
        may_try: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        line[user] = _Waiting(may_try, self._attempts.clock() + MAX_WAITING_SECONDS)
        return await may_try

    def _begin_line(self, address: str) -> _Line:
        line = self._lines[address] = {}
        task = asyncio.get_running_loop().create_task(self._serve(address, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return line

    async def _serve(self, address: str, line: _Line) -> None:
        while line:
            pause = min(self._attempts.seconds_until(user, address) for user in line)
            await self._sleep(max(MIN_PAUSE_SECONDS, pause))
            self._call(address, line)
        del self._lines[address]

    def _call(self, address: str, line: _Line) -> None:
        """Lets in who may try now, and sends away who has waited for too long."""
        now = self._attempts.clock()
        for user, waiting in list(line.items()):
            may_try = self._attempts.take(user, address)
            if may_try or waiting.until < now:
                del line[user]
                if not waiting.may_try.done():
                    waiting.may_try.set_result(may_try)
