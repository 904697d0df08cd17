"""What is done to a cluster, and the figures that come of it.

Each part starts its own cluster in an empty directory and yields figures as it finds them: (name, value), the unit
being the name's last word. The table in rows.py says which of them are rows and what they should be.
"""

from __future__ import annotations

import itertools
import time
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from . import paced, tls, watchers, wrk
from .address import Address
from .errors import BenchError
from .loader import load
from .scale import KEYS, PACE, WATCHERS, Scale
from .servers import Cluster, Plan, Product, plan, run

Figure = tuple[str, float]
Figures = dict[str, float]
Part = Callable[[Product, Path, Scale], Generator[Figure, None, None]]

USUAL_CONNECTIONS = 64
_SETTLE_SECONDS = 2.0
_MIB = 2**20


def traffic(product: Product, directory: Path, scale: Scale) -> Generator[Figure, None, None]:
    """Reads and writes in plain HTTP."""
    with run(plan(product, directory)) as cluster:
        leader, follower = cluster.leader().address, cluster.follower().address
        load(leader, 0, KEYS)
        for connections in scale.connections:
            yield from _load(f"put.{connections}", wrk.put(leader, connections, scale.seconds))
        yield from _load("put.follower", wrk.put(follower, USUAL_CONNECTIONS, scale.seconds))
        yield from _load("get", wrk.get(leader, USUAL_CONNECTIONS, scale.seconds))
        yield from _load("get.quorum", wrk.get(leader, USUAL_CONNECTIONS, scale.seconds, "?quorum=true"))


def https(product: Product, directory: Path, scale: Scale) -> Generator[Figure, None, None]:
    """Reads and writes in HTTPS."""
    directory.mkdir(parents=True)
    with run(plan(product, directory, tls.issue(directory))) as cluster:
        leader = cluster.leader().address
        load(leader, 0, KEYS)
        yield from _load("https.put", wrk.put(leader, USUAL_CONNECTIONS, scale.seconds))
        yield from _load("https.get", wrk.get(leader, USUAL_CONNECTIONS, scale.seconds))


def watch(product: Product, directory: Path, scale: Scale) -> Generator[Figure, None, None]:
    """One write to a thousand watchers."""
    with run(plan(product, directory)) as cluster:
        leader = cluster.leader().address
        yield "watch.fan_out.ms", watchers.fan_out(leader, WATCHERS, scale.fan_out_writes)


def store(product: Product, directory: Path, scale: Scale) -> Generator[Figure, None, None]:
    """Many keys: growing, restarting, taking snapshots under load, growing further."""
    planned = plan(product, directory)
    with run(planned) as cluster:
        rates = yield from _grow(cluster, (0, *scale.stored), scale)
    with run(planned) as cluster:
        yield "restart.start.s", cluster.start_seconds
        time.sleep(_SETTLE_SECONDS)
        yield "restart.resident.MiB", cluster.resident_bytes() / _MIB
    yield from _snapshots_under_load(planned, scale)
    with run(planned) as cluster:
        rates += yield from _grow(cluster, (scale.restart_keys, scale.most_stored), scale)
    yield "stored.held.part", rates[-1] / rates[0]


def auth(product: Product, directory: Path, scale: Scale) -> Generator[Figure, None, None]:
    """Writes without users, then with a password on each."""
    with run(plan(product, directory)) as cluster:
        leader = cluster.leader().address
        load(leader, 0, KEYS)
        open_ = wrk.put(leader, USUAL_CONNECTIONS, scale.seconds)
        yield from _load("auth.without", open_)
        authorization = _enable_auth(leader)
        checked = wrk.put(leader, USUAL_CONNECTIONS, scale.seconds, authorization=authorization)
        yield from _load("auth.with", checked)
        yield "auth.held.part", checked.rate / open_.rate


def _enable_auth(address: Address) -> str:
    """Turns auth on; the Authorization header of root."""
    user, password = "root", "secret"
    for path, value in ((f"/v2/auth/users/{user}", {"user": user, "password": password}), ("/v2/auth/enable", None)):
        status = address.put_json(path, value)
        if status not in (200, 201):
            raise BenchError(f"PUT {path} was answered with {status}")
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


PARTS: dict[str, Part] = {"traffic": traffic, "https": https, "auth": auth, "watch": watch, "store": store}


def _load(name: str, found: wrk.Load) -> Iterator[Figure]:
    yield f"{name}.rate", found.rate
    yield f"{name}.p50.ms", found.p50_ms
    yield f"{name}.p99.ms", found.p99_ms
    yield f"{name}.max.ms", found.max_ms


def _grow(cluster: Cluster, sizes: tuple[int, ...], scale: Scale) -> Generator[Figure, None, list[float]]:
    """Load keys from each size to the next, taking the write rate (over all stored keys) and the memory there.

    Returns the write rates.
    """
    leader = cluster.leader().address
    rates = []
    for first, last in itertools.pairwise(sizes):
        yield f"stored.{last}.loading.rate", load(leader, first, last)
        rates.append(wrk.put(leader, USUAL_CONNECTIONS, scale.seconds, stride=last // KEYS).rate)
        yield f"stored.{last}.rate", rates[-1]
        yield f"stored.{last}.resident.MiB", cluster.resident_bytes() / _MIB
    return rates


def _snapshots_under_load(planned: Plan, scale: Scale) -> Generator[Figure, None, None]:
    """Paced writes to the leader while every member takes snapshots of all that is stored."""
    with run(planned, f"--snapshot-count={scale.snapshot_count}") as cluster:
        time.sleep(_SETTLE_SECONDS)  # the first entry after the start may have brought a snapshot already
        enough = _Snapshots(cluster, scale)
        found = paced.put(cluster.leader().address, PACE, enough, stride=scale.restart_keys // KEYS)
        if not enough.everywhere:
            raise BenchError(f"no snapshot on every member in {found.seconds:.0f} s of paced writes")
    yield "snapshot.longest.ms", found.longest_ms
    yield "snapshot.elections.count", len(found.terms) - 1
    yield "snapshot.p50.ms", found.p50_ms
    yield "snapshot.p99.ms", found.p99_ms
    yield "snapshot.paced.rate", found.answers / found.seconds
    yield "snapshot.generator_late.ms", found.latest_send_ms
    yield "snapshot.taken.count", enough.count()


class _Snapshots:
    """Says when the paced load has seen enough: a new snapshot on every member, and some time after it."""

    def __init__(self, cluster: Cluster, scale: Scale) -> None:
        self.members = cluster.members
        self.scale = scale
        self.before = [member.snapshots() for member in self.members]
        self.everywhere = False
        self._look_again = 0.0
        self._stop_at = float(scale.paced_seconds_limit)

    def __call__(self, seconds: float) -> bool:
        if not self.everywhere and seconds >= self._look_again:
            self._look_again = seconds + 0.5
            self._look(seconds)
        return seconds >= self._stop_at

    def count(self) -> int:
        """How many snapshots were taken on the member that took fewest, as far as they were kept."""
        return min(len(member.snapshots() - old) for member, old in zip(self.members, self.before, strict=True))

    def _look(self, seconds: float) -> None:
        if self.count() > 0:
            self.everywhere = True
            self._stop_at = min(self._stop_at, max(self.scale.paced_seconds, seconds + _SETTLE_SECONDS))
