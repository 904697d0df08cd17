"""What `/metrics` shows of requests, under etcd's names (etcd 3.4: etcdserver/api/v2http/metrics.go,
api/v2store/metrics.go, etcdserver/metrics.go, api/etcdhttp/metrics.go).

The hot path only adds to plain numbers; they become Prometheus families when somebody scrapes. Runs on one thread.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from etcdpy.http.render import Response
from etcdpy.http.request import Handler, Request
from etcdpy.http.version import ETCD_VERSION
from etcdpy.service import Service

Expiries = Callable[[], Mapping[str, float]]
"""When the certificate in each file expires, in seconds since the Unix epoch."""

REQUEST_BUCKETS = tuple(0.0005 * 2**exponent for exponent in range(13))
DISK_BUCKETS = tuple(0.001 * 2**exponent for exponent in range(14))
"""Upper bounds in seconds, as etcd has them."""

_HEALTH_TOTAL = re.compile(rb"(etcd_server_health_(?:success|failures))_total")
"""Two counters whose names do not end in `_total` in etcd; the library insists on it."""

_READS = {"gets": "get"}
_WRITES = {
    "sets": "set",
    "create": "create",
    "update": "update",
    "delete": "delete",
    "compareAndSwap": "compareAndSwap",
    "compareAndDelete": "compareAndDelete",
}


class Histogram:
    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0
        self._buckets = buckets

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self._buckets, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        total, pairs = 0, []
        for bound, count in zip((*map(str, self._buckets), "+Inf"), self.counts, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs


class RequestMetrics:
    """Requests to `/v2/keys`, watches left out. A method is HTTP's, or `QGET` for a linearizable GET."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.failed: Counter[tuple[str, int]] = Counter()
        self.durations: dict[str, Histogram] = {}
        self.watch_requests = 0
        self.health_successes = 0
        self.health_failures = 0

    def succeeded(self, method: str, seconds: float) -> None:
        histogram = self.durations.get(method)
        if histogram is None:
            histogram = self.durations[method] = Histogram(REQUEST_BUCKETS)
        histogram.observe(seconds)


class Sources(NamedTuple):
    """What is measured outside of HTTP. `log_bytes` is how much was written to the write-ahead log."""

    certificates: Expiries = dict
    fsyncs: Histogram = Histogram(DISK_BUCKETS)
    log_bytes: Callable[[], int] = int


NO_SOURCES = Sources()


class EtcdCollector(Collector):
    """The families that follow from the service, its requests, and what else is measured."""

    def __init__(self, service: Service, requests: RequestMetrics, sources: Sources) -> None:
        self._service = service
        self._requests = requests
        self._sources = sources

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        yield from self._of_requests()
        yield from self._of_store()
        yield from self._of_server()
        yield from self._of_disk()
        yield self._of_certificates()

    def _of_requests(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        requests = self._requests
        received = CounterMetricFamily(
            "etcd_http_received", "Counter of requests received into the system.", labels=["method"]
        )
        for method, count in requests.received.items():
            received.add_metric([method], count)
        failed = CounterMetricFamily(
            "etcd_http_failed", "Counter of handle failures of requests.", labels=["method", "code"]
        )
        for (method, status), count in requests.failed.items():
            failed.add_metric([method, str(status)], count)
        durations = HistogramMetricFamily(
            "etcd_http_successful_duration_seconds", "Latency of successful requests.", labels=["method"]
        )
        for method, histogram in requests.durations.items():
            durations.add_metric([method], histogram.cumulative(), histogram.sum)
        yield from (received, failed, durations)

    def _of_store(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        counts = self._service.store.statistics()
        for what, kinds in (("reads", _READS), ("writes", _WRITES)):
            family = CounterMetricFamily(
                f"etcd_debugging_store_{what}", f"Number of {what} by action, local to this member.", labels=["action"]
            )
            for kind, action in kinds.items():
                family.add_metric([action], counts[f"{kind}Success"])
            yield family
        yield CounterMetricFamily("etcd_debugging_store_expires", "Number of expired keys.", counts["expireCount"])
        yield CounterMetricFamily(
            "etcd_debugging_store_watch_requests", "Number of incoming watches.", self._requests.watch_requests
        )
        yield GaugeMetricFamily("etcd_debugging_store_watchers", "Count of current watchers.", counts["watchers"])

    def _of_server(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        service, status = self._service, self._service.node.status
        yield GaugeMetricFamily("etcd_server_has_leader", "1 is existence, 0 is not.", int(status.lead != 0))
        yield GaugeMetricFamily("etcd_server_is_leader", "Whether this member is leader.", int(service.is_leader))
        yield GaugeMetricFamily(
            "etcd_server_proposals_committed_total", "Consensus proposals committed.", status.raft_index
        )
        yield GaugeMetricFamily(
            "etcd_server_proposals_applied_total", "Consensus proposals applied.", status.applied_index
        )
        node = service.node
        yield GaugeMetricFamily("etcd_server_proposals_pending", "Proposals that wait.", node.proposals_pending)
        yield CounterMetricFamily("etcd_server_proposals_failed", "Proposals that failed.", node.proposals_failed)
        yield CounterMetricFamily("etcd_server_leader_changes_seen", "Leader changes seen.", node.leader_changes)
        yield CounterMetricFamily(
            "etcd_server_health_success", "Successful health checks.", self._requests.health_successes
        )
        yield CounterMetricFamily(
            "etcd_server_health_failures", "Failed health checks.", self._requests.health_failures
        )
        yield _labelled("etcd_server_id", "Server ID in hexadecimal.", "server_id", f"{status.member_id:x}")
        yield _labelled("etcd_server_version", "Which version is running.", "server_version", ETCD_VERSION)

    def _of_disk(self) -> Iterator[GaugeMetricFamily | HistogramMetricFamily]:
        fsyncs = self._sources.fsyncs
        family = HistogramMetricFamily(
            "etcd_disk_wal_fsync_duration_seconds", "Latency of fsyncs of the write-ahead log.", labels=[]
        )
        family.add_metric([], fsyncs.cumulative(), fsyncs.sum)
        yield family
        yield GaugeMetricFamily(  # etcd's type
            "etcd_disk_wal_write_bytes_total", "Bytes written to the write-ahead log.", self._sources.log_bytes()
        )

    def _of_certificates(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "etcdpy_certificate_expiry_timestamp_seconds",
            "When the first certificate in a TLS file expires, since the Unix epoch.",
            labels=["file"],
        )
        for path, expiry in self._sources.certificates().items():
            family.add_metric([path], expiry)
        return family


def _labelled(name: str, text: str, label: str, value: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    family.add_metric([value], 1)
    return family


def exposition(service: Service, requests: RequestMetrics, sources: Sources) -> Handler:
    """The handler of `/metrics`."""
    registry = CollectorRegistry()
    registry.register(EtcdCollector(service, requests, sources))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)

    async def handle(request: Request) -> Response:
        text = _HEALTH_TOTAL.sub(rb"\1", generate_latest(registry))
        return Response(200, f"Content-Type: {CONTENT_TYPE_PLAIN_0_0_4}\r\n", text)

    return handle
