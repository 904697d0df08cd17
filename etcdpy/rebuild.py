"""Rebuilding a member whose files are damaged or lost, from its peers.

The member gives up its id. What it promised under it, votes and acknowledgements, may be among what was lost, and a
member that forgot its promises under the same id could make the cluster lose acknowledged writes. So it leaves the
cluster and joins again, with an empty log, as a member that has never promised anything. Its old files are kept.

Each step is durable before the next, and a plan is on disk before the first. If this ends half way, it is run again:
whatever has the old id or the peer URLs is removed, and a new one added.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from cluster.bootstrap import InitialCluster, create_joining_member
from cluster.data_dir import DataDir
from cluster.disk import Disk, opened
from cluster.membership import Member, Membership
from cluster.wal.identity import read_metadata
from cluster.wal.repair import Metadata
from etcdpy.members_api import ClusterMembers, MembersApi
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store

_PLAN = "rebuild.json"


class CannotRebuild(Exception):
    """Nothing was changed. The text is one line for people."""


class Plan(NamedTuple):
    """Which member is rebuilt. `member_id` is its old one."""

    member_id: int
    name: str
    peer_urls: tuple[str, ...]


def rebuild(disk: Disk, directory: DataDir, api: MembersApi, name: str | None, tell: Callable[[str], object]) -> Member:
    """Returns the new member, which joins the cluster at its next start. `name` is the member's, for a log that does
    not say whose it is. Raises CannotRebuild, ApiError, OSError and the storage's errors."""
    plan = _plan(disk, directory, api.members(), name)
    _save(disk, directory, plan)
    for member in _occupants(plan, api.members().members):
        api.remove(member.id)
        tell(f"member {member.id:x} {plan.name} removed from the cluster")
    for place in directory.set_aside():
        tell(f"its files are kept in {place}")
    added = api.add(plan.peer_urls)
    cluster = api.members()
    members = [member._replace(is_learner=member.id == added.id) for member in cluster.members]
    initial = InitialCluster(plan.name, {plan.name: plan.peer_urls}, "")
    create_joining_member(
        disk, directory, initial, Membership(cluster.cluster_id, members), EtcdStateMachine(Store()).dump()
    )
    disk.unlink(_plan_path(directory))
    disk.fsync_dir(directory.path)
    return added


def _plan(disk: Disk, directory: DataDir, cluster: ClusterMembers, name: str | None) -> Plan:
    metadata = read_metadata(disk, directory.wal_dir)
    if metadata is not None and metadata.cluster_id != cluster.cluster_id:
        raise CannotRebuild(
            f"{directory.wal_dir} is of cluster {metadata.cluster_id:x}, the endpoints are of {cluster.cluster_id:x}"
        )
    begun = _load(disk, directory)
    if begun is not None and (metadata is None or metadata.member_id == begun.member_id):
        return begun
    member = _find(cluster.members, metadata, name)
    return Plan(member.id, member.name, member.peer_urls)


def _find(members: Sequence[Member], metadata: Metadata | None, name: str | None) -> Member:
    if metadata is not None:
        found = [member for member in members if member.id == metadata.member_id]
        whom = f"member {metadata.member_id:x}"
    elif name is not None:
        found = [member for member in members if member.name == name]
        whom = f"member named {name}"
    else:
        raise CannotRebuild("the log does not say whose it is: --name is needed")
    if len(found) != 1:
        raise CannotRebuild(f"the cluster has {'several' if found else 'no'} {whom}")
    if len(members) == 1:
        raise CannotRebuild("the cluster has no other member to rebuild this one from")
    return found[0]


def _occupants(plan: Plan, members: Sequence[Member]) -> list[Member]:
    return [
        member
        for member in members
        if member.id == plan.member_id or set(member.peer_urls).intersection(plan.peer_urls)
    ]


def _plan_path(directory: DataDir) -> str:
    return os.path.join(directory.path, _PLAN)


def _load(disk: Disk, directory: DataDir) -> Plan | None:
    """What an earlier run began and did not finish."""
    path = _plan_path(directory)
    if not disk.exists(path):
        return None
    with suppress(ValueError, TypeError, KeyError), opened(disk, path) as handle:
        fields = json.loads(disk.pread(handle, disk.size(handle), 0))
        return Plan(int(fields["member_id"], 16), fields["name"], tuple(fields["peer_urls"]))
    return None


def _save(disk: Disk, directory: DataDir, plan: Plan) -> None:
    path = _plan_path(directory)
    fields = {**plan._asdict(), "member_id": f"{plan.member_id:x}"}
    handle = disk.create(f"{path}.tmp")
    try:
        disk.pwrite(handle, json.dumps(fields).encode(), 0)
        disk.fdatasync(handle)
    finally:
        disk.close(handle)
    disk.rename(f"{path}.tmp", path)
    disk.fsync_dir(directory.path)
