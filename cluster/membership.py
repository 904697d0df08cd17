"""Who belongs to the cluster: members by id, and the ids that may never come back.

It is replicated state of its own, changed only by entries that were applied, and travels in every snapshot. Ids are
computed as etcd 3.4 computes them (server/etcdserver/api/membership: NewMember, genID), so that every member agrees
without asking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from raft.messages import ConfChange, ConfChangeType


class Member(NamedTuple):
    """A configured server. `name` and `client_urls` are empty until it has started and published them."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class MembershipError(Exception):
    """A membership change that cannot be made."""


class MemberNotFound(MembershipError):
    pass


class MemberRemoved(MembershipError):
    pass


class PeerUrlExists(MembershipError):
    pass


class MemberExists(MembershipError):
    pass


def _first_eight_bytes(text: bytes) -> int:
    return int.from_bytes(hashlib.sha1(text, usedforsecurity=False).digest()[:8], "big")


def compute_member_id(peer_urls: Iterable[str], token: str, added_at_seconds: int | None = None) -> int:
    """`added_at_seconds` makes the id of a member that joins later unlike that of an earlier one with the same URLs."""
    suffix = "" if added_at_seconds is None else str(added_at_seconds)
    return _first_eight_bytes(("".join(sorted(peer_urls)) + token + suffix).encode())


def compute_cluster_id(member_ids: Iterable[int]) -> int:
    return _first_eight_bytes(b"".join(id_.to_bytes(8, "big") for id_ in sorted(member_ids)))


class Membership:
    """The members as of the last applied entry. `version` goes up with each change, so that whoever acts on changes
    can see that there was one."""

    def __init__(self, cluster_id: int, members: Iterable[Member] = (), removed: Iterable[int] = ()) -> None:
        self.version = 0
        self.cluster_id = cluster_id
        self.removed = set(removed)
        self._members = {member.id: member for member in members}

    @classmethod
    def bootstrap(cls, peer_urls_by_name: Mapping[str, tuple[str, ...]], token: str) -> Membership:
        """The first members of a new cluster, the same on each of them."""
        members = [Member(compute_member_id(urls, token), name, urls) for name, urls in peer_urls_by_name.items()]
        return cls(compute_cluster_id(member.id for member in members), members)

    @property
    def members(self) -> list[Member]:
        return sorted(self._members.values())

    @property
    def voters(self) -> tuple[int, ...]:
        return tuple(member.id for member in self.members if not member.is_learner)

    def get(self, member_id: int) -> Member | None:
        return self._members.get(member_id)

    def check(self, change: ConfChange, member: Member) -> None:
        """Raises `MembershipError` if the change cannot be made to the membership as it is."""
        if change.node_id in self.removed:
            raise MemberRemoved(f"{change.node_id:x}")
        known = change.node_id in self._members
        if change.type in (ConfChangeType.REMOVE, ConfChangeType.UPDATE) and not known:
            raise MemberNotFound(f"{change.node_id:x}")
        if change.type == ConfChangeType.REMOVE:
            return
        if known and change.type != ConfChangeType.UPDATE and not self._is_promotion(change):
            raise MemberExists(f"{change.node_id:x}")
        self._check_urls(member)

    def _is_promotion(self, change: ConfChange) -> bool:
        return change.type == ConfChangeType.ADD_VOTER and self._members[change.node_id].is_learner

    def _check_urls(self, member: Member) -> None:
        taken = {url for other in self._members.values() if other.id != member.id for url in other.peer_urls}
        if taken.intersection(member.peer_urls):
            raise PeerUrlExists(" ".join(sorted(taken.intersection(member.peer_urls))))

    def apply(self, change: ConfChange, member: Member) -> None:
        """Makes a change that `check` has allowed."""
        self.version += 1
        if change.type == ConfChangeType.REMOVE:
            self._members.pop(change.node_id, None)
            self.removed.add(change.node_id)
        elif change.type == ConfChangeType.UPDATE:
            old = self._members[change.node_id]
            self._members[change.node_id] = old._replace(peer_urls=member.peer_urls)
        elif self._members.get(change.node_id) is not None:
            self._members[change.node_id] = self._members[change.node_id]._replace(is_learner=False)
        else:
            self._members[change.node_id] = member._replace(is_learner=change.type == ConfChangeType.ADD_LEARNER)

    def publish(self, member_id: int, name: str, client_urls: tuple[str, ...]) -> None:
        """A member has started and says its name and where clients find it."""
        self.version += 1
        old = self._members.get(member_id)
        if old is not None:
            self._members[member_id] = old._replace(name=name, client_urls=client_urls)

    def pack(self) -> list[Any]:
        return [self.cluster_id, self.members, sorted(self.removed)]

    def load(self, packed: list[Any]) -> None:
        """Replaces everything by what `pack` once gave."""
        self.version += 1
        self.cluster_id, members, removed = packed
        self.removed = set(removed)
        self._members = {fields[0]: unpack_member(fields) for fields in members}


def unpack_member(fields: list[Any]) -> Member:
    member_id, name, peer_urls, client_urls, is_learner = fields
    return Member(member_id, name, tuple(peer_urls), tuple(client_urls), is_learner)
