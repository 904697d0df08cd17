"""How a member that joins a running cluster learns whose cluster it is: it asks the peers that it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp

from cluster.membership import Member, Membership
from cluster.tls import Tls

ANSWER_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
RETRY_SECONDS = 0.1


class NoPeerAnswers(Exception):
    """None of the peers told its members."""


async def fetch_membership(peer_urls: Sequence[str], own_urls: Sequence[str], tls: Tls | None = None) -> Membership:
    """A membership that has the member with `own_urls` in it; a peer may hear of it a moment later than the one that
    was asked to add it. Raises NoPeerAnswers, or gives what it heard last where nobody ever hears of that member."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
        while True:
            heard = await _ask_all(session, peer_urls, tls)
            for membership in heard:
                if any(sorted(member.peer_urls) == sorted(own_urls) for member in membership.members):
                    return membership
            if loop.time() > deadline:
                return heard[-1]
            await asyncio.sleep(RETRY_SECONDS)


async def ask_members(peer_urls: Iterable[str], tls: Tls | None) -> list[Membership]:
    """The membership as each peer that answers knows it. Raises NoPeerAnswers."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
        return await _ask_all(session, peer_urls, tls)


async def _ask_all(session: aiohttp.ClientSession, peer_urls: Iterable[str], tls: Tls | None) -> list[Membership]:
    heard, reasons = [], []
    for url in peer_urls:
        try:
            heard.append(await _ask(session, url, tls))
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            reasons.append(f"{url}: {error or type(error).__name__}")
    if not heard:
        raise NoPeerAnswers("cannot fetch the cluster's members from any peer: " + "; ".join(reasons))
    return heard


async def _ask(session: aiohttp.ClientSession, url: str, tls: Tls | None) -> Membership:
    context = True if tls is None else tls.dialling()
    async with session.get(f"{url}/members", ssl=context, raise_for_status=True) as response:
        members = await response.json(content_type=None)
        return Membership(int(response.headers["X-Etcd-Cluster-Id"], 16), map(_member, members))


def _member(fields: dict[str, Any]) -> Member:
    return Member(
        int(fields["id"]),
        fields.get("name", ""),
        tuple(fields["peerURLs"]),
        tuple(fields.get("clientURLs") or ()),
        bool(fields.get("isLearner", False)),
    )
