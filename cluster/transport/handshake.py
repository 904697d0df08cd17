"""Who speaks to whom: the HTTP headers with which every peer connection begins, and the judgement on them.

Pure values. The dialling side builds the headers, the accepting side judges them before anything else is read. The
names and answers are etcd's (etcd 3.4 server/rafthttp): 412 for another cluster, another addressee or another
protocol, 410 for a member that was removed, 404 for a stranger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

STREAM_PATH = "/raft/stream"
SNAPSHOT_PATH = "/raft/snapshot"
UPGRADE = "etcdpy-raft"
PROTOCOL_VERSION = "1"


class Identity(NamedTuple):
    """Which member of which cluster this process is, the version it runs (for information), and where it is reached."""

    cluster_id: int
    member_id: int
    version: str = ""
    peer_urls: tuple[str, ...] = ()


class Refusal(NamedTuple):
    status: int
    reason: str


GONE = 410
MAX_STATED_URLS = 16
_PEER_URLS = "X-PeerURLs"


def request_headers(identity: Identity, to: int) -> dict[str, str]:
    """What a dialling member says about itself; ids are lower-case hex, unpadded, as everywhere in etcd's API."""
    return {
        "X-Etcd-Cluster-ID": f"{identity.cluster_id:x}",
        "X-Server-From": f"{identity.member_id:x}",
        "X-Raft-To": f"{to:x}",
        "X-Server-Version": identity.version,
        "X-Raft-Protocol": PROTOCOL_VERSION,
        **({_PEER_URLS: ",".join(identity.peer_urls)} if identity.peer_urls else {}),
    }


def stated_urls(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Where the caller says that it is reached; at most `MAX_STATED_URLS`."""
    urls = headers.get(_PEER_URLS, "").split(",")[:MAX_STATED_URLS]
    return tuple(url for url in urls if url)


def judge(
    headers: Mapping[str, str], identity: Identity, known: Collection[int], removed: Collection[int]
) -> int | Refusal:
    """The id of the member that calls, or why it is refused. The cluster id comes first, so only a member of this very
    cluster can ever hear that it was removed. A stranger that says where it is reached may be a member that joined
    while we were away, perhaps the very leader that can tell us so; one that does not is refused."""
    try:
        cluster_id, sender, to = (_id(headers[name]) for name in ("X-Etcd-Cluster-ID", "X-Server-From", "X-Raft-To"))
        protocol = headers["X-Raft-Protocol"]
    except (KeyError, ValueError):
        return Refusal(400, "peer headers missing or malformed")
    if protocol != PROTOCOL_VERSION:
        return Refusal(412, "incompatible protocol version")
    if cluster_id != identity.cluster_id:
        return Refusal(412, "cluster ID mismatch")
    if to != identity.member_id:
        return Refusal(412, "to field mismatch")
    if sender in removed:
        return Refusal(GONE, "the member has been permanently removed from the cluster")
    if sender not in known and not stated_urls(headers):
        return Refusal(404, "sender is not a member")
    return sender


def _id(text: str) -> int:
    """A 64-bit id; int() alone would take signs, blanks, underscores and other scripts' digits."""
    if not 0 < len(text) <= 16 or not set(text) <= set("0123456789abcdef"):
        raise ValueError("not an id")
    return int(text, 16)
