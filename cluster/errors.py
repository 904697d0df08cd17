"""Why the cluster could not say what became of a request. The texts are etcd 3.4's (etcdserver/errors.go).

None of these says that a write failed for sure, unless its class says so: a request whose fate is unknown may still
commit.
"""

from __future__ import annotations


class ClusterError(Exception):
    """`str()` gives etcd's text."""

    text = "etcdserver: request cancelled"

    def __init__(self) -> None:
        super().__init__(self.text)


class Stopped(ClusterError):
    """This member is stopping. What it was asked may or may not have happened."""

    text = "etcdserver: server stopped"


class RequestTimeout(ClusterError):
    text = "etcdserver: request timed out"


class RequestTimeoutLeaderFailure(RequestTimeout):
    """The leader changed while the request waited."""

    text = "etcdserver: request timed out, possibly due to previous leader failure"


class RequestTimeoutConnectionLost(RequestTimeout):
    """This member cannot reach a quorum."""

    text = "etcdserver: request timed out, possibly due to connection lost"


class TooManyRequests(ClusterError):
    """Refused before it was proposed: it did not happen."""

    text = "etcdserver: too many requests"


class NoSpace(ClusterError):
    """This member's disk is full. Refused before it was proposed: it did not happen."""

    text = "etcdserver: no space left on device"


class RequestTooLarge(ClusterError):
    """Refused before it was proposed: it did not happen."""

    text = "etcdserver: request is too large"


class NotEnoughStartedMembers(ClusterError):
    """A membership change that would cost the quorum (`--strict-reconfig-check`). It did not happen."""

    text = "etcdserver: re-configuration failed due to not enough started members"
