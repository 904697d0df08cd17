"""A result in pictures, drawn by matplotlib, which only this file needs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .result import ETCD, ETCDPY, Result
from .rows import median_of

_COLOURS = {ETCD: "#7f7f7f", ETCDPY: "#1f77b4"}
_CONNECTIONS = "connections"


def draw(result: Result, path: Path) -> None:
    """Write four charts as one SVG. Raises ImportError where matplotlib is missing."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    matplotlib.rcParams["svg.hashsalt"] = result.date
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    connections, stored = result.scale.connections, (*result.scale.stored, result.scale.most_stored)
    _chart(axes[0][0], result, connections, "put.{}.rate", _CONNECTIONS, "PUT per second")
    _chart(axes[0][1], result, connections, "put.{}.p99.ms", _CONNECTIONS, "p99 of PUT, ms")
    _chart(axes[1][0], result, stored, "stored.{}.rate", "keys stored", "PUT per second, 64 connections")
    _chart(axes[1][1], result, stored, "stored.{}.resident.MiB", "keys stored", "resident memory of a member, MiB")
    axes[0][0].legend()
    figure.savefig(path)
    pyplot.close(figure)


def _chart(axes: Any, result: Result, steps: Sequence[int], figure: str, across: str, up: str) -> None:
    for product in (ETCD, ETCDPY):
        found = [(step, median_of(figure.format(step), result.rounds[product])) for step in steps]
        points = [(step, value) for step, value in found if value is not None]
        label = f"{product} {result.versions[product]}"
        axes.plot(*zip(*points, strict=True), "o-", label=label, color=_COLOURS[product]) if points else None
    axes.set(xlabel=across, ylabel=up, xscale="log" if across == _CONNECTIONS else "linear")
    axes.set_ylim(bottom=0)
    axes.set_xticks(steps, [f"{step:,}" for step in steps], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
