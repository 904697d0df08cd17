"""Who a stranger on the peer port is, told by the members that this one knows.

A member that was away does not know who joined meanwhile, and must not take a stranger's word for it, nor its
certificate's: the peers' authority vouches for hosts, not for membership. So it asks the members that it knows, and
lets the stranger in when it calls again.

Where peers show no certificates, a member that cannot reach enough others to make a majority believes the stranger:
they may all have been replaced while it was away, and who lies to it could as well say that he is one of them. As long
as a majority of the members that it knows says no, the cluster can go on without the stranger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from cluster.membership import Member, Membership
from cluster.tls import Tls
from etcdpy.joining import NoPeerAnswers, ask_members
from raft.quorum import majority

PAUSE_SECONDS = 0.2
"""After a stranger that nobody knew, so that strangers can't make us ask without end."""

log = logging.getLogger(__name__)


class Vouching:
    """`others` gives the other members that are known; `admit` lets a member in by id and peer URLs."""

    def __init__(
        self,
        cluster_id: int,
        tls: Tls | None,
        others: Callable[[], Sequence[Member]],
        admit: Callable[[int, Sequence[str]], object],
    ) -> None:
        self._cluster_id = cluster_id
        self._tls = tls
        self._others = others
        self._admit = admit
        self._asking: asyncio.Task[None] | None = None

    def ask_about(self, stranger: int, stated: Sequence[str]) -> None:
        """Returns at once. `stated` is where the stranger says that it is reached. One question at a time: whoever is
        refused meanwhile calls again."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_about(stranger, stated))

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_about(self, stranger: int, stated: Sequence[str]) -> None:
        others = self._others()
        answers = [asyncio.create_task(self._ask(member)) for member in others]
        try:
            member, told = await _first_who_knows(stranger, answers)
        finally:
            for answer in answers:
                answer.cancel()
        if member is not None:
            self._let_in(stranger, member.peer_urls, "a member joined while we were away")
        elif not self._checks_certificates and told + 1 < majority(len(others) + 1):
            self._let_in(stranger, stated, "a stranger is believed, because too few members can be asked")
        else:
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, member: Member) -> Membership | None:
        try:
            heard = await ask_members(member.peer_urls, self._tls)
        except NoPeerAnswers:
            return None
        return next((each for each in heard if each.cluster_id == self._cluster_id), None)

    @property
    def _checks_certificates(self) -> bool:
        return self._tls is not None and self._tls.config.verify_clients

    def _let_in(self, stranger: int, urls: Sequence[str], why: str) -> None:
        log.info(why, extra={"fields": {"peer": f"{stranger:x}"}})
        self._admit(stranger, urls)


async def _first_who_knows(
    stranger: int, answers: Iterable[asyncio.Task[Membership | None]]
) -> tuple[Member | None, int]:
    """What the first one says that knows the stranger, and how many have answered until then."""
    told = 0
    for answer in asyncio.as_completed(answers):
        heard = await answer
        told += heard is not None
        member = heard.get(stranger) if heard is not None else None
        if member is not None:
            return member, told
    return None, told
