"""Who a stranger on the peer port is, told by the members that this one knows.

A member that was away does not know who joined meanwhile, and must not take a certificate's word for it: the peers'
authority vouches for hosts, not for membership. So it asks a member that it knows, over a connection on which that one
proves to be it, and lets the stranger in when it calls again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from cluster.tls import Tls
from etcdpy.joining import NoPeerAnswers, ask_members

log = logging.getLogger(__name__)


class Vouching:
    """`known_urls` gives the peer URLs of the other members; `admit` lets a member in by id and peer URLs."""

    def __init__(
        self,
        cluster_id: int,
        tls: Tls | None,
        known_urls: Callable[[], Iterable[str]],
        admit: Callable[[int, Sequence[str]], object],
    ) -> None:
        self._cluster_id = cluster_id
        self._tls = tls
        self._known_urls = known_urls
        self._admit = admit
        self._asking: asyncio.Task[None] | None = None

    def ask_about(self, stranger: int) -> None:
        """Returns at once. One question at a time: whoever is refused meanwhile calls again."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_about(stranger))

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_about(self, stranger: int) -> None:
        try:
            heard = await ask_members(self._known_urls(), self._tls)
        except NoPeerAnswers:
            return
        told = [known.get(stranger) for known in heard if known.cluster_id == self._cluster_id]
        member = next(filter(None, told), None)
        if member is not None:
            log.info("a member joined while we were away", extra={"fields": {"peer": f"{stranger:x}"}})
            self._admit(stranger, member.peer_urls)
