"""What raft messages look like on the wire: a pure codec, no sockets.

A frame is a u32 big-endian length and that many bytes of msgpack: one `raft.messages.Message` as an array of its
fields, entries and snapshot nested as arrays. A frame of length 0 is a ping: it carries nothing and says "alive".

Invariants
- A length is judged before one byte is kept for it, so a peer can make us hold at most one frame and one read.
- Nothing leaves `decode_message` unless every field has its declared type and range and the whole has the shape that
  some raft could have sent. Whatever else arrives is a `FrameError`, never another exception.
- Whether a message may come from *this* peer is the caller's question (`inbound.py`).
"""

from __future__ import annotations

from typing import Any

import msgpack

from raft.messages import ConfState, Entry, EntryType, Message, MessageType, Snapshot

LENGTH_BYTES = 4
MAX_FRAME_BYTES = 64 << 20
PING = bytes(LENGTH_BYTES)

_MESSAGE_TYPES = frozenset(int(kind) for kind in MessageType)
_FIELD_COUNT = len(Message._fields)
_ENTRY_TYPES = frozenset(int(kind) for kind in EntryType)

_pack = msgpack.Packer().pack


class FrameError(ValueError):
    """The bytes are not what a peer may send; the text says why, in a few words fit for a log line."""


def encode_frame(message: Message) -> bytes:
    """One message as a frame. Raises FrameError if it would be larger than any peer accepts."""
    payload: bytes = _pack(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"message of {len(payload)} bytes exceeds the frame limit of {MAX_FRAME_BYTES}")
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def decode_message(payload: bytes) -> Message:
    """The message in one frame's payload. Raises FrameError for anything that is not exactly a message."""
    try:
        fields = msgpack.unpackb(payload, use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"not msgpack: {type(error).__name__}") from None
    if type(fields) is not tuple or len(fields) != _FIELD_COUNT:
        raise FrameError(f"not an array of {_FIELD_COUNT} fields")
    kind, to, sender, term, log_term, index, entries, commit, reject, reject_hint, context, snapshot, stamp_ns = fields
    _check_numbers(kind, to, sender, term, log_term, index, commit, reject_hint, stamp_ns)
    if kind not in _MESSAGE_TYPES or not to or not sender:
        raise FrameError("unknown message type or id 0")
    if type(reject) is not bool or type(context) is not bytes or type(entries) is not tuple:
        raise FrameError("field of a wrong type")
    if (snapshot is None) is (kind == MessageType.SNAP):
        raise FrameError("snapshot missing or out of place")
    entries = tuple(map(_entry, entries))
    if kind == MessageType.APP:
        _check_run(entries, index, term)
    return Message(
        kind,
        to,
        sender,
        term,
        log_term,
        index,
        entries,
        commit,
        reject,
        reject_hint,
        context,
        None if snapshot is None else _snapshot(snapshot),
        stamp_ns,
    )


def _check_numbers(*values: Any) -> None:
    # msgpack has no integer above 2**64-1, so the upper end needs no test; `type is int` shuts out bool.
    for value in values:
        if type(value) is not int or value < 0:
            raise FrameError("number expected, 0 to 2^64-1")


def _entry(fields: Any) -> Entry:
    if type(fields) is not tuple or len(fields) != 4:
        raise FrameError("entry is not an array of 4 fields")
    term, index, kind, data = fields
    _check_numbers(term, index, kind)
    if kind not in _ENTRY_TYPES or type(data) is not bytes:
        raise FrameError("entry of an unknown type or without bytes")
    return Entry(term, index, kind, data)


def _check_run(entries: tuple[Entry, ...], previous: int, term: int) -> None:
    """An append carries one unbroken run that starts after `previous`, of terms up to the sender's."""
    for position, entry in enumerate(entries, previous + 1):
        if entry.index != position or not 0 < entry.term <= term:
            raise FrameError("entries do not follow their index and term")


def _snapshot(fields: Any) -> Snapshot:
    if type(fields) is not tuple or len(fields) != 3:
        raise FrameError("snapshot is not an array of 3 fields")
    index, term, conf_state = fields
    _check_numbers(index, term)
    if not index or not term or type(conf_state) is not tuple or len(conf_state) != 2:
        raise FrameError("snapshot without index, term or members")
    return Snapshot(index, term, ConfState(_ids(conf_state[0]), _ids(conf_state[1])))


def _ids(fields: Any) -> tuple[int, ...]:
    if type(fields) is not tuple:
        raise FrameError("member list is not an array")
    previous = 0
    for member_id in fields:
        _check_numbers(member_id)
        if member_id <= previous:
            raise FrameError("member list is not sorted, or has id 0")
        previous = member_id
    return fields


class FrameReader:
    """Cuts a byte stream into messages, whatever the pieces it arrives in."""

    __slots__ = ("_limit", "_pending")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order; pings are swallowed. Raises FrameError; the stream is then
        of no further use, and the caller closes it."""
        source: bytes | bytearray = data
        if self._pending:
            self._pending += data
            source = self._pending
        messages: list[Message] = []
        start, end = 0, len(source)
        while end - start >= LENGTH_BYTES:
            body = start + LENGTH_BYTES
            size = int.from_bytes(source[start:body], "big")
            if size > self._limit:
                raise FrameError(f"frame of {size} bytes exceeds the limit of {self._limit}")
            if body + size > end:
                break
            if size:
                messages.append(decode_message(bytes(source[body : body + size])))
            start = body + size
        self._keep(source, start)
        return messages

    def _keep(self, source: bytes | bytearray, start: int) -> None:
        if source is self._pending:
            del self._pending[:start]
        else:
            self._pending += source[start:]
