"""How a member begins: the first time from its configuration or from the cluster it joins, later from its disk.

A new cluster begins with a snapshot at index 1 of term 1 that holds its membership and an empty state, made alike by
each member. So a member that joins later, whose log is empty, always gets a snapshot first, and with it the whole
membership.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cluster.codec import pack_value
from cluster.data_dir import DataDir
from cluster.disk import Disk
from cluster.membership import Member, Membership
from cluster.storage import create_storage
from cluster.wal.repair import Metadata
from raft.messages import ConfState, Snapshot


class InitialCluster(NamedTuple):
    """`--initial-cluster` and what goes with it: this member's name, and all members' peer URLs by name."""

    name: str
    peer_urls: Mapping[str, tuple[str, ...]]
    token: str


class CannotJoin(Exception):
    """The cluster does not know this member as it is configured."""


def create_first_member(disk: Disk, directory: DataDir, initial: InitialCluster, empty_state: Iterable[bytes]) -> None:
    """A member of a new cluster. `empty_state` is the dump of an empty state machine."""
    membership = Membership.bootstrap(initial.peer_urls, initial.token)
    own = next(member for member in membership.members if member.name == initial.name)
    first = Snapshot(1, 1, ConfState(membership.voters))
    _create(disk, directory, membership, own, first, empty_state)


def create_joining_member(
    disk: Disk, directory: DataDir, initial: InitialCluster, cluster: Membership, empty_state: Iterable[bytes]
) -> None:
    """A member that was added to a running cluster, whose membership is `cluster`. Raises CannotJoin."""
    urls = sorted(initial.peer_urls[initial.name])
    own = next((member for member in cluster.members if sorted(member.peer_urls) == urls), None)
    if own is None:
        raise CannotJoin(f"no member with the peer URLs {' '.join(urls)} has been added to the cluster")
    _create(disk, directory, cluster, own, Snapshot(0, 0, ConfState()), empty_state)


def _create(
    disk: Disk,
    directory: DataDir,
    membership: Membership,
    own: Member,
    first: Snapshot,
    empty_state: Iterable[bytes],
) -> None:
    header = pack_value([membership.pack(), 0])
    metadata = Metadata(membership.cluster_id, own.id)
    create_storage(disk, directory.wal_dir, directory.snap_dir, metadata, first, header, empty_state)
