"""A result in words: the table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .result import ETCD, ETCDPY, Result
from .rows import Verdict, median_of
from .workloads import Figures


def markdown(result: Result) -> str:
    """The whole report."""
    return (
        "\n".join([*_head(result), "", *_table(result), "", *_curves(result), "", *_limits(result), *_failures(result)])
        + "\n"
    )


def _head(result: Result) -> Iterator[str]:
    machine, scale = result.machine, result.scale
    rounds = f"medians of {scale.rounds} rounds turn about" if scale.rounds > 1 else "one round only"
    yield f"# etcdpy {result.versions[ETCDPY]} against etcd {result.versions[ETCD]}: {scale.name} run of {result.date}"
    yield ""
    yield f"- {machine.cores} cores, {machine.cpu}, {machine.memory_gib} GiB, {machine.kernel}"
    yield f"- fdatasync of 4 KiB: p50 {machine.fdatasync_p50_ms} ms; {machine.python}, uvloop {machine.uvloop}"
    yield (
        f"- 3 members each, load generator and servers on the same cores; {rounds}, "
        f"{scale.seconds} s for each load; ratios taken within a round (lowest to highest in brackets)"
    )


def _table(result: Result) -> Iterator[str]:
    yield f"| work | goal | etcd {result.versions[ETCD]} | etcdpy {result.versions[ETCDPY]} | ratio | reached |"
    yield "|---|---|---:|---:|---:|---|"
    for verdict in result.verdicts():
        yield _line(verdict)


def _line(verdict: Verdict) -> str:
    row = verdict.row
    reached = {True: "yes", False: "**no**", None: "not measured"}[verdict.met]
    figures = f"{quantity(verdict.etcd, row.unit)} | {quantity(verdict.etcdpy, row.unit)} | {_ratio(verdict)}"
    return f"| {row.work} | {row.goal} | {figures} | {reached} |"


def _ratio(verdict: Verdict) -> str:
    if verdict.ratio is None:
        return "-"
    if verdict.lowest_ratio == verdict.highest_ratio:
        return f"{verdict.ratio:.2f}"
    return f"{verdict.ratio:.2f} ({verdict.lowest_ratio:.2f}-{verdict.highest_ratio:.2f})"


def quantity(value: float | None, unit: str) -> str:
    """A value with three significant digits, thousands separated, and its unit."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".replace(" /s", "/s").rstrip()


def _curves(result: Result) -> Iterator[str]:
    yield "| connections | PUT/s etcd | PUT/s etcdpy | p99 etcd | p99 etcdpy |"
    yield "|---:|---:|---:|---:|---:|"
    for connections in result.scale.connections:
        rates, p99s = (_pair(result.rounds, f"put.{connections}.{what}", unit) for what, unit in _CURVES)
        yield f"| {connections} | {rates} | {p99s} |"
    yield ""
    yield "| keys stored | PUT/s etcd | PUT/s etcdpy | memory etcd | memory etcdpy |"
    yield "|---:|---:|---:|---:|---:|"
    for keys in (*result.scale.stored, result.scale.most_stored):
        rates, sizes = (_pair(result.rounds, f"stored.{keys}.{what}", unit) for what, unit in _STORED)
        yield f"| {keys:,} | {rates} | {sizes} |"


_CURVES = (("rate", "/s"), ("p99.ms", "ms"))
_STORED = (("rate", "/s"), ("resident.MiB", "MiB"))


def _pair(rounds: dict[str, list[Figures]], figure: str, unit: str) -> str:
    return " | ".join(quantity(median_of(figure, rounds[product]), unit) for product in (ETCD, ETCDPY))


def _limits(result: Result) -> Iterator[str]:
    yield "The load generators alone, against a fixed responder:"
    yield ""
    yield "| generator | reaches |"
    yield "|---|---:|"
    for figure, value in result.limits.items():
        name, _, unit = figure.rpartition(".")
        yield f"| {name} | {quantity(value, '/s' if unit == 'rate' else unit)} |"


def _failures(result: Result) -> Sequence[str]:
    return ["", "Not measured:", "", *(f"- {failure}" for failure in result.failures)] if result.failures else []
