"""Whom the transport talks to: the members, and who is not known to have been removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cluster.membership import Membership


class PeersPort(Protocol):
    def add_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """Begins to talk to a member, or takes its new URLs."""

    def remove_peer(self, member_id: int) -> None:
        """Stops, and from now on tells that member that it was removed."""


def sync_peers(transport: PeersPort, membership: Membership) -> None:
    """Makes the transport follow the membership.

    Only who was removed is told so. A peer that the membership lacks stays: this member may be behind. One that joins
    knows the members of now, then takes in a snapshot that is older than some of them, perhaps than the very leader
    that sent it.
    """
    for member_id in membership.removed:
        transport.remove_peer(member_id)
    for member in membership.members:
        transport.add_peer(member.id, member.peer_urls)
