"""Whose log it is, read from the segments' heads alone: for a log that is damaged behind them."""

from __future__ import annotations

import os

from cluster.disk import SECTOR_BYTES, Disk, opened
from cluster.wal.record import BadRecord, Kind, decode_head, read_record
from cluster.wal.repair import Metadata
from cluster.wal.segment import SUFFIX, SegmentName

_MAX_HEAD_BYTES = 8 * SECTOR_BYTES


def read_metadata(disk: Disk, directory: str) -> Metadata | None:
    """What the first undamaged head says; None if there is none. Changes nothing. Raises OSError."""
    for text in disk.listdir(directory) if disk.exists(directory) else ():
        name = SegmentName.parse(text) if text.endswith(SUFFIX) else None
        metadata = None if name is None else _read_head(disk, os.path.join(directory, text), name)
        if metadata is not None:
            return metadata
    return None


def _read_head(disk: Disk, path: str, name: SegmentName) -> Metadata | None:
    with opened(disk, path) as handle:
        data = disk.pread(handle, _MAX_HEAD_BYTES, 0)
    try:
        record = read_record(memoryview(data), 0, name.sequence, 0)
        if record is None or record.kind != Kind.HEAD:
            return None
        head = decode_head(record.payload)
    except (BadRecord, ValueError):
        return None
    return Metadata(head.cluster_id, head.member_id)
