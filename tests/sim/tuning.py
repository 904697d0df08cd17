"""Sizes of the product made small, so that a short run meets their limits: log files are cut, room runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.wal import segment, wal

ROOM_STEP_BYTES = 4096


def make_small() -> None:
    segment.ROOM_STEP_BYTES = ROOM_STEP_BYTES
    wal.ROOM_AHEAD_BYTES = 2 * ROOM_STEP_BYTES


@contextmanager
def small() -> Iterator[None]:
    """For tests, which share their process with others."""
    usual = segment.ROOM_STEP_BYTES, wal.ROOM_AHEAD_BYTES
    make_small()
    try:
        yield
    finally:
        segment.ROOM_STEP_BYTES, wal.ROOM_AHEAD_BYTES = usual
