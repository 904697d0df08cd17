"""What an entry's `data` holds: eight bytes of prefix, then a msgpack payload.

The prefix is a big-endian unsigned number with two lives. On the way from a follower to the leader it is the *term*
that the proposal is meant for: a leader of another term drops it, so a proposal of term T can only ever become an
entry of term T (see `pending`). In the log it is the leader's *stamp*: cluster time in nanoseconds since the Unix
epoch.

The payload of a NORMAL entry is `[kind, proposal_id, body]`. A CONF_CHANGE entry is raft's own (`raft.confchange`); its
context is `[proposal_id, member]`. Format version 1; the write-ahead log that stores entries carries the version.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

_PREFIX = struct.Struct(">Q")
PREFIX_SIZE = _PREFIX.size


class Kind(IntEnum):
    COMMANDS = 0
    ATTRIBUTES = 1


class Proposal(NamedTuple):
    kind: int
    proposal_id: int
    body: Any


_packer = msgpack.Packer(unicode_errors="surrogateescape")  # one for all: making it costs more than packing


def pack_value(value: Any) -> bytes:
    """Of the event loop's thread only."""
    packed: bytes = _packer.pack(value)
    return packed


def unpack_value(data: bytes | memoryview) -> Any:
    return msgpack.unpackb(data, unicode_errors="surrogateescape", strict_map_key=False)


def pack_commands(proposal_id: int, packed_commands: Sequence[bytes]) -> bytes:
    """Joins commands that are packed already into one payload, without packing them again."""
    head = (_packer.pack_array_header(3), _packer.pack(int(Kind.COMMANDS)), _packer.pack(proposal_id))
    return b"".join([*head, _packer.pack_array_header(len(packed_commands)), *packed_commands])


def pack_proposal(proposal: Proposal) -> bytes:
    return pack_value(proposal)


def with_prefix(number: int, payload: bytes) -> bytes:
    return _PREFIX.pack(number) + payload


def prefix_of(data: bytes) -> int:
    number: int = _PREFIX.unpack_from(data)[0]
    return number


def unpack_proposal(data: bytes) -> Proposal:
    return Proposal(*unpack_value(memoryview(data)[PREFIX_SIZE:]))
