"""Whom the transport talks to, and whom it tells that they were removed."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.membership import Member, Membership
from cluster.peers import sync_peers


class Peers:
    def __init__(self, *known: int) -> None:
        self.known = set(known)
        self.told_removed: set[int] = set()

    def add_peer(self, member_id: int, urls: Sequence[str]) -> None:
        self.known.add(member_id)

    def remove_peer(self, member_id: int) -> None:
        self.known.discard(member_id)
        self.told_removed.add(member_id)


def test_members_are_talked_to_and_removed_ones_told() -> None:
    peers = Peers(2)
    sync_peers(peers, Membership(1, [Member(1, "", ()), Member(3, "", ())], removed=[2]))
    assert (peers.known, peers.told_removed) == ({1, 3}, {2})


def test_a_peer_that_an_old_snapshot_does_not_know_is_not_told_that_it_was_removed() -> None:
    """A member joins a cluster that 4 leads, and takes in a snapshot of the time before 4."""
    peers = Peers(1, 2, 4)
    sync_peers(peers, Membership(1, [Member(1, "", ()), Member(2, "", ())]))
    assert (peers.known, peers.told_removed) == ({1, 2, 4}, set())
