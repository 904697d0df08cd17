"""`/v2/stats/self`, `/leader` and `/store` (etcd 3.4: etcdserver/api/v2stats)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from etcdpy.http.go_json import Json
from etcdpy.http.render import Response, expiration, json_response, message_response
from etcdpy.http.request import Request
from etcdpy.service import Service

_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))


class Latency(NamedTuple):
    """Of the messages to one follower; milliseconds."""

    current: float = 0.0
    average: float = 0.0
    standard_deviation: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0
    fail: int = 0
    success: int = 0


class Traffic(Protocol):
    """What a member has seen of its peers. Times are in nanoseconds since the Unix epoch; rates are per second."""

    @property
    def name(self) -> str: ...
    @property
    def started_ns(self) -> int: ...
    @property
    def lead_since_ns(self) -> int: ...
    @property
    def received_appends(self) -> int: ...
    @property
    def received_rates(self) -> tuple[float, float]:
        """Messages and bytes."""

    @property
    def sent_appends(self) -> int: ...
    @property
    def sent_rates(self) -> tuple[float, float]:
        """Messages and bytes."""

    @property
    def followers(self) -> Mapping[int, Latency]: ...


class NoTraffic(NamedTuple):
    """The traffic of a member that has no peers, or does not count."""

    name: str
    started_ns: int
    lead_since_ns: int = 0
    received_appends: int = 0
    received_rates: tuple[float, float] = (0.0, 0.0)
    sent_appends: int = 0
    sent_rates: tuple[float, float] = (0.0, 0.0)
    followers: Mapping[int, Latency] = {}


def go_duration(ns: int) -> str:
    """As Go prints a time.Duration of at least a second (`9m58.351977939s`); shorter ones as fractions of one."""
    text = ""
    for unit, letter in _UNITS:
        if ns >= unit or text:
            text += f"{ns // unit}{letter}"
            ns %= unit
    seconds, fraction = divmod(ns, 1_000_000_000)
    return text + (f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".") if fraction else str(seconds)) + "s"


class Stats:
    def __init__(self, service: Service, traffic: Traffic, wall_ns: Callable[[], int]) -> None:
        self._service = service
        self._traffic = traffic
        self._wall_ns = wall_ns

    async def of_self(self, request: Request) -> Response:
        status, traffic = self._service.node.status, self._traffic
        since = traffic.lead_since_ns or traffic.started_ns
        return json_response(
            {
                "name": traffic.name,
                "id": f"{status.member_id:x}",
                "state": "StateLeader" if self._service.is_leader else "StateFollower",
                "startTime": expiration(traffic.started_ns),
                "leaderInfo": {
                    "leader": f"{status.lead:x}" if status.lead else "",
                    "uptime": go_duration(max(0, self._wall_ns() - since)),
                    "startTime": expiration(since),
                },
                "recvAppendRequestCnt": traffic.received_appends,
                **_rates("recv", traffic.received_rates),
                "sendAppendRequestCnt": traffic.sent_appends,
                **_rates("send", traffic.sent_rates),
            }
        )

    async def of_leader(self, request: Request) -> Response:
        if not self._service.is_leader:
            return message_response(403, "not current leader")
        followers = {f"{member_id:x}": _follower(latency) for member_id, latency in self._traffic.followers.items()}
        leader = f"{self._service.node.status.member_id:x}"
        return json_response({"leader": leader, "followers": dict(sorted(followers.items()))})

    async def of_store(self, request: Request) -> Response:
        return json_response(dict(self._service.store.statistics()))


def _rates(prefix: str, rates: tuple[float, float]) -> dict[str, Json]:
    names = (f"{prefix}PkgRate", f"{prefix}BandwidthRate")
    return {name: rate for name, rate in zip(names, rates, strict=True) if rate}


def _follower(latency: Latency) -> Json:
    return {
        "latency": {
            "current": latency.current,
            "average": latency.average,
            "standardDeviation": latency.standard_deviation,
            "minimum": latency.minimum,
            "maximum": latency.maximum,
        },
        "counts": {"fail": latency.fail, "success": latency.success},
    }
