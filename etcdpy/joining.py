"""How a member that joins a running cluster learns whose cluster it is: it asks the peers that it was given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp

from cluster.membership import Member, Membership
from cluster.tls import Tls

ANSWER_SECONDS = 5.0


class NoPeerAnswers(Exception):
    """None of the peers told its members."""


async def fetch_membership(peer_urls: Iterable[str], tls: Tls | None = None) -> Membership:
    """The membership as the first peer that answers knows it. Raises NoPeerAnswers."""
    reasons = []
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for url in peer_urls:
            try:
                return await _ask(session, url, tls)
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
                reasons.append(f"{url}: {error or type(error).__name__}")
    raise NoPeerAnswers("cannot fetch the cluster's members from any peer: " + "; ".join(reasons))


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
