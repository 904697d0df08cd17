"""How much is measured: the whole table, or a small one that ends in two minutes."""

from __future__ import annotations

from typing import NamedTuple

VALUE_BYTES = 100
KEYS = 1_000
"""Over how many keys the load is spread."""

WATCHERS = 1_000
PACE = 5_000
"""Writes per second while a snapshot is taken."""


class Scale(NamedTuple):
    """Sizes of one run. `seconds` is the length of each wrk measurement."""

    name: str
    rounds: int
    seconds: int
    connections: tuple[int, ...]
    fan_out_writes: int
    stored: tuple[int, ...]
    """Numbers of stored keys at which memory and write rate are taken, before the restart."""
    most_stored: int
    snapshot_count: int
    paced_seconds: int
    """At least so long is the paced load; it goes on until every member took a snapshot ..."""
    paced_seconds_limit: int
    """... or this is over."""

    @property
    def restart_keys(self) -> int:
        """Keys stored when the cluster is restarted and when snapshots are taken under load."""
        return self.stored[-1]


FULL = Scale(
    name="full",
    rounds=3,
    seconds=5,
    connections=(1, 16, 64, 256),
    fan_out_writes=15,
    stored=(1_000, 100_000, 250_000, 500_000),
    most_stored=1_000_000,
    snapshot_count=10_000,
    paced_seconds=15,
    paced_seconds_limit=60,
)

QUICK = Scale(
    name="quick",
    rounds=1,
    seconds=1,
    connections=(1, 64, 256),
    fan_out_writes=5,
    stored=(1_000, 20_000),
    most_stored=40_000,
    snapshot_count=2_000,
    paced_seconds=2,
    paced_seconds_limit=6,
)
