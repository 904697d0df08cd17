"""Passwords and their bcrypt hashes, worked on by a few threads of low priority, never by the event loop.

Owns bcrypt and its limits: it looks at 72 bytes and no more, so a longer password is refused, as are NUL bytes, which
other implementations end at. A check of a user that does not exist takes as long as any other. Addresses take turns,
and so do the users of an address: whoever sends much waits for himself.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from etcdpy.auth.turns import Turns

MAX_PASSWORD_BYTES = 72
MAX_WAITING = 1024
MAX_WAITING_PER_ADDRESS = 256
_NICENESS = 5

Result = TypeVar("Result")


class BadPassword(ValueError):
    """`str()` says what is wrong with it, and not what it is."""


class Busy(Exception):
    """Too many passwords wait to be hashed."""


class Passwords:
    """Of one event loop. `cost` is bcrypt's: each one more doubles the time."""

    def __init__(self, cost: int, threads: int = 1) -> None:
        self._cost = cost
        self._pool = ThreadPoolExecutor(threads, "bcrypt", _be_nice)
        self._free_threads = threads
        self._turns: Turns[asyncio.Future[None]] = Turns()
        self._dummy_hash = b"$2b$%02d$%b" % (cost, b"." * 53)  # of no password that anybody knows

    async def hash(self, password: bytes) -> str:
        """Raises `BadPassword` or `Busy`."""
        check_length(password)
        hashed = await self._run("", "", bcrypt.hashpw, password, bcrypt.gensalt(self._cost))
        return hashed.decode("ascii")

    async def is_right(self, password: bytes, password_hash: str | None, user: str = "", address: str = "") -> bool:
        """Whether somebody at `address` who says that he is `user` knows the password. None is the hash of a user that
        does not exist. Raises `Busy`."""
        hashed = password_hash.encode("utf-8", "surrogateescape") if password_hash is not None else self._dummy_hash
        try:
            check_length(password)
        except BadPassword:
            password, password_hash = b"-", None  # takes its time, and is wrong
        return await self._run(address, user, _matches, password, hashed) and password_hash is not None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(
        self, address: str, user: str, function: Callable[[bytes, bytes], Result], first: bytes, second: bytes
    ) -> Result:
        turns = self._turns
        if turns.waiting >= MAX_WAITING or turns.waiting_in(address) >= MAX_WAITING_PER_ADDRESS:
            raise Busy
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        turns.add((address, user), turn)
        self._call_next()
        try:
            await turn
            return await loop.run_in_executor(self._pool, function, first, second)
        finally:
            if turn.done() and not turn.cancelled():
                self._free_threads += 1
                self._call_next()

    def _call_next(self) -> None:
        while self._free_threads and self._turns.waiting:
            turn = self._turns.take()
            if not turn.done():  # else whoever it was has left
                self._free_threads -= 1
                turn.set_result(None)


def check_length(password: bytes) -> None:
    """Raises `BadPassword`."""
    if len(password) > MAX_PASSWORD_BYTES:
        raise BadPassword(f"a password longer than {MAX_PASSWORD_BYTES} bytes")
    if b"\x00" in password:
        raise BadPassword("a password with a NUL byte")


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # the hash in the log is none
        return False


def _be_nice() -> None:
    """The loop and its log come first. Linux has a priority for each thread."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
