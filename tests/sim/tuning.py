"""Sizes of the product made small, so that a short run meets their limits: log files are cut, room runs out."""

from __future__ import annotations

from cluster.wal import segment, wal

ROOM_STEP_BYTES = 4096


def make_small() -> None:
    segment.ROOM_STEP_BYTES = ROOM_STEP_BYTES
    segment._ZEROS = bytes(ROOM_STEP_BYTES)
    wal.ROOM_AHEAD_BYTES = 2 * ROOM_STEP_BYTES
