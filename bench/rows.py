"""The table: which figures count, and what they should be."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .scale import PACE, WATCHERS, Scale
from .workloads import Figures


class Goal(NamedTuple):
    """A bound for etcdpy's figure: as a part of etcd's in the same round, or on its own."""

    bound: float
    more_is_better: bool
    against_etcd: bool = True

    def __str__(self) -> str:
        sign = "≥" if self.more_is_better else "≤"
        return f"{sign} {self.bound:g}{' x' if self.against_etcd else ''}"

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.more_is_better else value <= self.bound


class Row(NamedTuple):
    """One line of the table: a figure of workloads.py and its goal."""

    work: str
    figure: str
    unit: str
    goal: Goal


class Verdict(NamedTuple):
    """A row with its figures. Medians over the rounds; ratios are taken within each round, etcdpy to etcd.

    None stands for what wasn't measured.
    """

    row: Row
    etcd: float | None
    etcdpy: float | None
    ratio: float | None
    lowest_ratio: float | None
    highest_ratio: float | None
    met: bool | None


def table(scale: Scale) -> tuple[Row, ...]:
    """The rows in the order in which they are shown."""
    keys, most, few = f"{scale.restart_keys:,} keys", f"{scale.most_stored:,}", f"{scale.stored[0]:,}"
    return (
        Row("PUT on the leader, 64 connections", "put.64.rate", "/s", at_least(2.0)),
        Row("PUT on the leader, 256 connections", "put.256.rate", "/s", at_least(2.5)),
        Row("PUT on the leader, 1 connection, p50", "put.1.p50.ms", "ms", at_most(0.9)),
        Row("PUT through a follower, 64 connections", "put.follower.rate", "/s", at_least(2.0)),
        Row("GET, 64 connections", "get.rate", "/s", at_least(1.7)),
        Row("GET quorum=true, 64 connections", "get.quorum.rate", "/s", at_least(3.0)),
        Row("PUT over HTTPS, 64 connections", "https.put.rate", "/s", at_least(1.7)),
        Row("GET over HTTPS, 64 connections", "https.get.rate", "/s", at_least(1.5)),
        Row("PUT with a password on each, against PUT without", "auth.held.part", "", held(0.8)),
        Row("PUT on the leader, 64 connections, p99", "put.64.p99.ms", "ms", at_most(1.0)),
        Row(f"1 write to {WATCHERS:,} recursive watchers, last one served", "watch.fan_out.ms", "ms", at_most(0.7)),
        Row(f"resident memory with {keys}, after a restart", "restart.resident.MiB", "MiB", at_most(1.0)),
        Row(f"start with {keys} until /health is true", "restart.start.s", "s", at_most(1.0)),
        Row(
            f"longest answer while snapshots of {keys} are taken under {PACE:,} writes/s",
            "snapshot.longest.ms",
            "ms",
            at_most(50, against_etcd=False),
        ),
        Row("elections meanwhile", "snapshot.elections.count", "", at_most(0, against_etcd=False)),
        Row(f"writes/s with {most} keys stored, against {few}", "stored.held.part", "", held(0.8)),
    )


def at_least(ratio: float) -> Goal:
    return Goal(ratio, more_is_better=True)


def at_most(bound: float, *, against_etcd: bool = True) -> Goal:
    return Goal(bound, more_is_better=False, against_etcd=against_etcd)


def held(part: float) -> Goal:
    """At least this, whatever etcd does."""
    return Goal(part, more_is_better=True, against_etcd=False)


def judge(row: Row, etcd: Sequence[Figures], etcdpy: Sequence[Figures]) -> Verdict:
    """What came of a row; the figures of the two are given round by round."""
    ratios = [
        ours[row.figure] / theirs[row.figure]
        for theirs, ours in zip(etcd, etcdpy, strict=True)
        if row.figure in ours and theirs.get(row.figure)
    ]
    ratio, own = _median(ratios), median_of(row.figure, etcdpy)
    judged = ratio if row.goal.against_etcd else own
    return Verdict(
        row=row,
        etcd=median_of(row.figure, etcd),
        etcdpy=own,
        ratio=ratio,
        lowest_ratio=min(ratios, default=None),
        highest_ratio=max(ratios, default=None),
        met=None if judged is None else row.goal.met_by(judged),
    )


def median_of(figure: str, rounds: Sequence[Figures]) -> float | None:
    """The median of a figure over the rounds that have it."""
    return _median([figures[figure] for figures in rounds if figure in figures])


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
