"""What `/v2/stats` shows of this member's dealings with its peers, gathered from the transport and the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cluster.node import ClusterNode
from cluster.transport.transport import Transport
from etcdpy.http.stats import Latency


class PeerTraffic:
    """Implements `etcdpy.http.stats.Traffic`. Times are in nanoseconds since the Unix epoch; rates are per second."""

    def __init__(
        self,
        name: str,
        started_ns: int,
        node: ClusterNode,
        transport: Transport,
        monotonic: Callable[[], float],
        wall_ns: Callable[[], int],
    ) -> None:
        """`monotonic` is the clock of `node` and `transport`, in seconds."""
        self.name = name
        self.started_ns = started_ns
        self._node = node
        self._transport = transport
        self._monotonic = monotonic
        self._wall_ns = wall_ns

    @property
    def lead_since_ns(self) -> int:
        if not self._node.leader_changes:
            return 0
        return self._wall_ns() - int((self._monotonic() - self._node.lead_elected_at) * 1e9)

    @property
    def received_appends(self) -> int:
        return self._transport.stats.received.count

    @property
    def received_rates(self) -> tuple[float, float]:
        return self._transport.stats.received.rates(self._monotonic())

    @property
    def sent_appends(self) -> int:
        return self._transport.stats.sent.count

    @property
    def sent_rates(self) -> tuple[float, float]:
        return self._transport.stats.sent.rates(self._monotonic())

    @property
    def followers(self) -> Mapping[int, Latency]:
        return {
            member_id: Latency(
                stats.latency.current,
                stats.latency.average,
                stats.latency.standard_deviation,
                stats.latency.minimum,
                stats.latency.maximum,
                stats.fail,
                stats.success,
            )
            for member_id, stats in self._transport.stats.followers.items()
        }
