"""Who somebody is, by the credentials sent: bcrypt the first time, a look into a table from then on.

What is remembered is a keyed digest of the whole header, with a key that lives as long as the process, and the hash
that it was compared with. A user who is changed, deleted or made anew has another hash, so that what is remembered of
the old one counts no more, at once. Wrong ones are remembered as well: asking again costs nothing and says nothing new.

The answer may come in the same call. Equal credentials that come while they are being checked wait for that check.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, NamedTuple

from etcdpy.auth.attempts import Attempts
from etcdpy.auth.credentials import Credentials, Login, parse_basic
from etcdpy.auth.model import AuthState
from etcdpy.auth.passwords import Busy, Passwords
from etcdpy.auth.patience import Patience

log = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
LOG_PAUSE_SECONDS = 10.0
"""Who guesses must not fill the log."""

Told = Callable[[str | None], object]
"""Takes the user's name, "" for somebody without one, None for credentials that are wrong."""


class Unknown(Enum):
    """Only bcrypt could tell."""

    UNKNOWN = 0


UNKNOWN: Final = Unknown.UNKNOWN


class _Verdict(NamedTuple):
    user: str
    password_hash: str | None
    is_right: bool


class Verifier:
    def __init__(
        self,
        state: AuthState,
        passwords: Passwords,
        attempts: Attempts,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._state = state
        self._passwords = passwords
        self._attempts = attempts
        self._patience = Patience(attempts, sleep)
        self._silent_until = -math.inf
        self._key = secrets.token_bytes(32)
        self._verdicts: dict[bytes, _Verdict] = {}
        self._checking: dict[bytes, list[Told]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def known(self, credentials: Credentials) -> str | Unknown | None:
        """What `identify` would tell, if that needs no bcrypt."""
        if not credentials.authorization:
            common_name = credentials.common_name
            return common_name if common_name and common_name in self._state.users else ""
        digest = credentials.digest or self._digest(credentials)
        verdict = self._verdicts.get(digest)
        if verdict is None or verdict.password_hash != self._current_hash(verdict.user):
            return UNKNOWN
        return verdict.user if verdict.is_right else None

    def identify(self, credentials: Credentials, told: Told) -> None:
        """Calls `told` once, now or later."""
        user = self.known(credentials)
        if isinstance(user, Unknown):
            self._begin(credentials.digest, credentials, told)
        else:
            told(user)

    def _digest(self, credentials: Credentials) -> bytes:
        credentials.digest = hashlib.blake2b(credentials.authorization, key=self._key, digest_size=32).digest()
        return credentials.digest

    def _current_hash(self, name: str) -> str | None:
        user = self._state.users.get(name)
        return user.password_hash if user is not None else None

    def _begin(self, digest: bytes, credentials: Credentials, told: Told) -> None:
        login = parse_basic(credentials.authorization)
        if login is None:
            told(None)
        elif digest in self._checking:
            self._checking[digest].append(told)
        else:
            self._checking[digest] = [told]
            task = asyncio.get_running_loop().create_task(self._check(digest, login, credentials.address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _check(self, digest: bytes, login: Login, address: str) -> None:
        user: str | None = None
        try:
            if await self._patience.may_try(login.user, address):
                user = await self._compare(digest, login, address)
            else:
                self._say("too many wrong passwords", address)
        except Busy:
            self._say("too many logins wait", address)
        finally:
            for told in self._checking.pop(digest):
                told(user)

    def _say(self, what: str, address: str) -> None:
        now = self._attempts.clock()
        if now >= self._silent_until:
            self._silent_until = now + LOG_PAUSE_SECONDS
            log.warning(what, extra={"fields": {"address": address}})

    async def _compare(self, digest: bytes, login: Login, address: str) -> str | None:
        password_hash = self._current_hash(login.user)
        is_right = await self._passwords.is_right(login.password, password_hash, login.user, address)
        self._remember(digest, _Verdict(login.user, password_hash, is_right))
        if is_right:
            self._attempts.give_back(login.user, address)
        return login.user if is_right and password_hash == self._current_hash(login.user) else None

    def _remember(self, digest: bytes, verdict: _Verdict) -> None:
        if len(self._verdicts) >= MAX_REMEMBERED:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[digest] = verdict
