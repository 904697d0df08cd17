"""The format of one record of the write-ahead log, version 1.

    offset  size
    0       2     marker   0xEC 0xD1, never zero
    2       1     kind     1 head, 2 save; plus 0x80, the barrier bit
    3       1     mask     every payload byte is XORed with it; 0 but for payloads with long runs of zeros
    4       4     length   of the payload in bytes, little-endian, as all numbers here
    8       4     crc      CRC-32 of the record's place (segment number, offset), bytes 0..7 and the masked payload
    12      4     chain    CRC-32 of the chain value of the record before and bytes 0..11
    16      ...   payload  msgpack
            1     end      0xED, never zero
            ...   zeros    up to a multiple of 512: the next record begins with the next sector

Payload of a head, the first record of each segment: `[version, sequence, index, cluster id, member id, chain value at
the end of the segment before, hard state]`. Payload of a save, which therefore holds as a whole or not at all:
`[hard state or nil, [entry, ...], mark or nil]`, with hard state `[term, vote, commit]`, entry `[term, index, type,
data]`, and mark `[index, term, installed]`.

Why so: a file is filled with zeros, beyond what a record needs, before it is used, so one that ends early is damaged. A
disk writes a sector of 512 bytes whole or not at all. No sector belongs to two records, so none is ever written twice,
and a header lies within one. So a write that a power cut stopped leaves *zeros*, sector by sector, while a flipped bit
does not; each sector of a record holds something that is not zero (marker, masked payload or end), so the two can be
told apart. The chain proves the header alone, so that a damaged length is never believed. The crc proves one record
without its predecessors; it covers the place, so that a record inside a stored value is no record. The barrier bit says
"everything before me was synced when I was written": a bad record before a barrier cannot be a torn one.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from cluster.disk import SECTOR_BYTES
from cluster.failures import DataCorrupt
from raft.messages import Entry, HardState

FORMAT_VERSION = 1
MAX_PAYLOAD_BYTES = 64 << 20
"""Checked before writing: what the reader would refuse is never accepted."""

MARKER = b"\xec\xd1"
_BARRIER = 0x80
_KIND_MASK = 0x7F
_END = b"\xed"
_ZERO_SECTOR = b"\0" * SECTOR_BYTES
_ZERO_HEADER = b"\0" * 16
_PROVEN_HEAD = struct.Struct("<2sBBI")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<2sBBIII")
_PLACE = struct.Struct("<QQ")
HEADER_BYTES = _HEADER.size


class CorruptLog(DataCorrupt):
    """The log is damaged where no power cut can have done it. It is never cut there."""


class RecordTooLarge(ValueError):
    """A record would be larger than the reader accepts. Nothing was written."""


class Kind(IntEnum):
    HEAD = 1
    SAVE = 2


class Head(NamedTuple):
    """A segment's first record. `chain` and `hard_state` are those at the end of the segment before."""

    version: int
    sequence: int
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these
    cluster_id: int
    member_id: int
    chain: int
    hard_state: HardState


class Mark(NamedTuple):
    """Says that the snapshot at `index` is complete on disk. `installed`: it came from the leader and replaced the
    log; otherwise it was made here and the log goes on."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these
    term: int
    installed: bool


class Save(NamedTuple):
    hard_state: HardState | None
    entries: list[Entry]
    mark: Mark | None


class Record(NamedTuple):
    kind: int
    payload: bytes
    end: int
    chain: int
    barrier: bool


class BadRecord(Exception):
    """No valid record stands there. `torn`: a write that never finished looks like this."""

    def __init__(self, reason: str, *, torn: bool) -> None:
        super().__init__(reason)
        self.torn = torn


# Writing.


def encode_record(
    kind: Kind, payload: bytes, *, barrier: bool, chain: int, sequence: int, offset: int
) -> tuple[bytes, int]:
    """The record's bytes, in whole sectors, and the new chain value. Raises RecordTooLarge."""
    length = len(payload)
    if length > MAX_PAYLOAD_BYTES:
        raise RecordTooLarge(f"a record of {length} bytes exceeds {MAX_PAYLOAD_BYTES}")
    mask = 0
    if _ZERO_SECTOR in payload:
        mask = _choose_mask(payload)
        payload = _apply_mask(payload, mask)
    proven = _PROVEN_HEAD.pack(MARKER, kind | _BARRIER if barrier else kind, mask, length)
    crc = _CRC.pack(_crc_of(proven, payload, sequence, offset))
    chain = zlib.crc32(proven + crc, chain)
    padding = record_bytes(length) - HEADER_BYTES - length - len(_END)
    return b"".join((proven, crc, _CRC.pack(chain), payload, _END, _ZERO_SECTOR[:padding])), chain


def _crc_of(proven: bytes | memoryview, payload: bytes | memoryview, sequence: int, offset: int) -> int:
    return zlib.crc32(payload, zlib.crc32(proven, zlib.crc32(_PLACE.pack(sequence, offset))))


def _choose_mask(payload: bytes) -> int:
    """A byte that the payload nowhere repeats for a whole sector. A payload made to repeat all 256 gets 0, and may
    then, as the last record and damaged, be taken for a torn one."""
    return next((mask for mask in range(256) if bytes([mask]) * SECTOR_BYTES not in payload), 0)


def _apply_mask(payload: bytes, mask: int) -> bytes:
    return payload.translate(bytes(byte ^ mask for byte in range(256))) if mask else payload


_packer = msgpack.Packer()  # one for all: making it costs more than packing


def encode_head(head: Head) -> bytes:
    packed: bytes = _packer.pack(head)
    return packed


def encode_save(hard_state: HardState | None, entries: list[Entry], mark: Mark | None) -> bytes:
    packed: bytes = _packer.pack((hard_state, entries, mark))
    return packed


# Reading.


def read_record(data: memoryview, offset: int, sequence: int, chain: int) -> Record | None:
    """The record at `offset` of a segment's bytes, or None where there are only zeros instead of a header. Raises
    BadRecord."""
    header = data[offset : offset + HEADER_BYTES]
    if header == _ZERO_HEADER[: len(header)]:
        return None
    if len(header) < HEADER_BYTES:
        raise BadRecord("the file ends within a header", torn=False)
    marker, kind, mask, length, _, stated_chain = _HEADER.unpack(header)
    if marker != MARKER or length > MAX_PAYLOAD_BYTES or zlib.crc32(header[:12], chain) != stated_chain:
        raise BadRecord("damaged header", torn=False)
    end = offset + HEADER_BYTES + length + len(_END)
    if end > len(data):
        raise BadRecord("the file ends within a record", torn=False)  # room is made before it is written
    if not _is_proven(data, offset, sequence):
        raise BadRecord("checksum mismatch", torn=_lacks_sector(data, offset, end))
    payload = _apply_mask(bytes(data[offset + HEADER_BYTES : end - 1]), mask)
    return Record(kind & _KIND_MASK, payload, _aligned(end), stated_chain, bool(kind & _BARRIER))


def _aligned(offset: int) -> int:
    return -(-offset // SECTOR_BYTES) * SECTOR_BYTES


def _is_proven(data: memoryview, offset: int, sequence: int) -> bool:
    """Whether a record stands at `offset`, by its crc alone."""
    _, _, _, length, crc, _ = _HEADER.unpack_from(data, offset)
    payload_start = offset + HEADER_BYTES
    end = payload_start + length
    if end + 1 > len(data) or data[end] != _END[0]:
        return False
    return bool(_crc_of(data[offset : offset + 8], data[payload_start:end], sequence, offset) == crc)


def _lacks_sector(data: memoryview, start: int, end: int) -> bool:
    """Whether some sector's share of `start..end` was never written."""
    while start < end:
        sector_end = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if data[start:sector_end] == _ZERO_SECTOR[: sector_end - start]:
            return True
        start = sector_end
    return False


def record_bytes(payload_bytes: int) -> int:
    """How much room a record with such a payload takes."""
    return _aligned(HEADER_BYTES + payload_bytes + len(_END))


def find_barrier(data: bytes, offset: int, sequence: int) -> int | None:
    """The offset of the first valid record after `offset` that says that all before it was synced, if there is one."""
    view = memoryview(data)
    place = data.find(MARKER, offset + 1)
    while 0 <= place <= len(data) - HEADER_BYTES:
        if place % SECTOR_BYTES == 0 and data[place + 2] & _BARRIER and _is_proven(view, place, sequence):
            return place
        place = data.find(MARKER, place + 1)
    return None


def decode_head(payload: bytes) -> Head:
    """Raises ValueError if it is no head, or of another version."""
    try:
        version, sequence, index, cluster_id, member_id, chain, hard_state = _unpack(payload)
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version} is unknown, {FORMAT_VERSION} is known")
        return Head(version, sequence, index, cluster_id, member_id, chain, HardState(*hard_state))
    except TypeError as error:
        raise ValueError("not a head") from error


def decode_save(payload: bytes) -> Save:
    """Raises ValueError if it is no save."""
    try:
        hard_state, entries, mark = _unpack(payload)
        return Save(
            None if hard_state is None else HardState(*hard_state),
            [Entry(*fields) for fields in entries],
            None if mark is None else Mark(*mark),
        )
    except TypeError as error:
        raise ValueError("not a save") from error


def _unpack(payload: bytes) -> Any:
    return msgpack.unpackb(payload, strict_map_key=False)  # what it raises are ValueErrors
