"""What handlers ask of auth: who somebody is, whether that is enough, and to be told when it no longer is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from etcdpy.auth.attempts import Attempts
from etcdpy.auth.check import may_access, may_administrate
from etcdpy.auth.credentials import Credentials
from etcdpy.auth.model import AuthState
from etcdpy.auth.passwords import Passwords
from etcdpy.auth.verifier import Told, Verifier
from etcdpy.commands import Access


class Gate:
    """`guest_is_open`: what enabling auth gives to those without a name, and whether they may see the cluster."""

    def __init__(self, state: AuthState, verifier: Verifier, passwords: Passwords, guest_is_open: bool = True) -> None:
        self.state = state
        self.passwords = passwords
        self.guest_is_open = guest_is_open
        self._verifier = verifier
        self.known = verifier.known
        self._lasting: dict[object, tuple[Access, Callable[[], object]]] = {}
        state.on_change.append(self._review)

    def identify(self, credentials: Credentials, told: Told) -> None:
        """Calls `told` once, now or later, with a name, "" for none, None for credentials that are wrong."""
        self._verifier.identify(credentials, told)

    async def user_of(self, credentials: Credentials) -> str | None:
        """The same, to be awaited."""
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.identify(credentials, lambda user: None if future.done() else future.set_result(user))
        return await future

    async def administrator(self, credentials: Credentials) -> str | None:
        """The name of somebody who may change users and members, "" where auth is off; None for anybody else."""
        if not self.state.enabled:
            return ""
        user = await self.user_of(credentials)
        return user if user is not None and may_administrate(self.state, user) else None

    def allows(self, access: Access) -> bool:
        return may_access(self.state, access)

    def watch_over(self, access: Access, on_revoked: Callable[[], object]) -> Callable[[], None]:
        """Calls `on_revoked` once `access` is not allowed any more. Returns what ends that."""
        ticket = object()
        self._lasting[ticket] = access, on_revoked
        return lambda: self._lasting.pop(ticket, None) and None

    def _review(self) -> None:
        revoked = [ticket for ticket, (access, _) in self._lasting.items() if not self.allows(access)]
        for ticket in revoked:
            self._lasting.pop(ticket)[1]()


def make_gate(state: AuthState, passwords: Passwords, clock: Callable[[], float], guest_is_open: bool = True) -> Gate:
    """`clock` is monotonic, in seconds."""
    return Gate(state, Verifier(state, passwords, Attempts(clock)), passwords, guest_is_open)
