from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.transport.frame import LENGTH_BYTES, PING, FrameError, FrameReader, decode_message, encode_frame
from raft.messages import ConfState, Entry, Message, MessageType, Snapshot

u64 = st.integers(0, 2**64 - 1)
ids = st.integers(1, 2**64 - 1)
id_sets = st.sets(ids, max_size=7).map(lambda members: tuple(sorted(members)))
snapshots = st.builds(Snapshot, index=ids, term=ids, conf_state=st.builds(ConfState, id_sets, id_sets))
free_entries = st.lists(st.builds(Entry, u64, u64, st.sampled_from([0, 1]), st.binary(max_size=300)), max_size=4).map(
    tuple
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from([int(kind) for kind in MessageType]))
    term, index = draw(ids), draw(st.integers(0, 2**64 - 10))
    if kind == MessageType.APP:
        bodies = draw(st.lists(st.tuples(st.integers(1, term), st.sampled_from([0, 1]), st.binary()), max_size=4))
        entries = tuple(Entry(t, index + 1 + n, k, data) for n, (t, k, data) in enumerate(bodies))
    else:
        entries = draw(free_entries)
    return Message(
        type=kind,
        to=draw(ids),
        sender=draw(ids),
        term=term,
        log_term=draw(u64),
        index=index,
        entries=entries,
        commit=draw(u64),
        reject=draw(st.booleans()),
        reject_hint=draw(u64),
        context=draw(st.binary(max_size=40)),
        snapshot=draw(snapshots) if kind == MessageType.SNAP else None,
        stamp_ns=draw(u64),
    )


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


@given(st.lists(messages(), max_size=6), st.data())
def test_any_messages_survive_any_cutting_of_the_stream(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(message) + PING * data.draw(st.integers(0, 2)) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader, got = FrameReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:stop])
    assert got == sent
    for message in got:
        assert type(message) is Message
        assert all(type(entry) is Entry for entry in message.entries)
        assert message.snapshot is None or type(message.snapshot.conf_state) is ConfState


def test_a_message_leaves_at_its_last_byte_and_not_before() -> None:
    message = Message(MessageType.APP, 2, 1, 1, 0, 0, (Entry(1, 1, 0, b"x" * 1000),))
    reader = FrameReader()
    wire = encode_frame(message)
    for offset in range(len(wire) - 1):
        assert reader.feed(wire[offset : offset + 1]) == []
    assert reader.feed(wire[-1:]) == [message]


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_is_a_frame_error_or_an_unfinished_frame(pieces: list[bytes]) -> None:
    reader = FrameReader(1 << 16)
    reason = ""
    try:
        for piece in pieces:
            reader.feed(piece)
    except FrameError as error:
        reason = str(error)
    assert not reason or (reason.isprintable() and len(reason) < 120)


@settings(max_examples=150)
@given(st.binary(max_size=60))
@example(b"\xc1")
@example(b"\x91" * 5000)
@example(b"\xdd\xff\xff\xff\xff")  # an array of 2**32-1
@example(b"\xc6\xff\xff\xff\xff")  # bytes of that size
@example(b"\xd7\xff" + b"\xff" * 8)  # a timestamp of 2**30-1 nanoseconds
@example(b"\x81\x90\x01")  # a map with an array as its key
@example(b"\xa1\xff")  # text that is not UTF-8
def test_a_garbage_payload_is_a_frame_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode_message(payload)


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=5)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=150)
@given(messages(), st.integers(0, 12), junk)
def test_one_field_replaced_by_junk_gives_a_sound_message_or_a_frame_error(
    message: Message, field: int, value: object
) -> None:
    fields: list[object] = list(message)
    fields[field] = value
    try:
        decoded = decode_message(msgpack.packb(fields))
    except FrameError:
        return
    assert_sound(decoded)


@settings(max_examples=150)
@given(messages(), st.data())
def test_one_byte_changed_gives_a_sound_message_or_a_frame_error(message: Message, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(message))
    wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = FrameReader(1 << 20).feed(bytes(wire))
    except FrameError:
        return
    for sound in decoded:
        assert_sound(sound)


def assert_sound(message: Message) -> None:
    numbers = [message.type, message.to, message.sender, message.term, message.log_term, message.index]
    numbers += [message.commit, message.reject_hint, message.stamp_ns]
    for entry in message.entries:
        numbers += [entry.term, entry.index]
        assert entry.type in (0, 1)
        assert type(entry.data) is bytes
    assert all(type(number) is int and 0 <= number < 2**64 for number in numbers)
    assert message.type in set(MessageType)
    assert message.to
    assert message.sender
    assert type(message.reject) is bool
    assert type(message.context) is bytes
    assert (message.snapshot is not None) == (message.type == MessageType.SNAP)


BASE = Message(MessageType.APP, 2, 1, 5, 4, 7, (Entry(5, 8), Entry(5, 9)))


@pytest.mark.parametrize(
    "message",
    [
        BASE._replace(to=0),
        BASE._replace(sender=0),
        BASE._replace(type=0),
        BASE._replace(type=15),
        BASE._replace(term=-1),
        BASE._replace(term=True),
        BASE._replace(commit=1.0),
        BASE._replace(context="text"),
        BASE._replace(reject=0),
        BASE._replace(entries=(Entry(5, 9),)),  # a hole
        BASE._replace(entries=(Entry(5, 8), Entry(5, 8))),
        BASE._replace(entries=(Entry(6, 8),)),  # of a term its sender has not reached
        BASE._replace(entries=(Entry(0, 8),)),
        BASE._replace(entries=(Entry(5, 8, 2),)),
        BASE._replace(entries=(Entry(5, 8, 0, "text"),)),
        BASE._replace(entries=((5, 8, 0),)),
        BASE._replace(entries=None),
        BASE._replace(snapshot=Snapshot(1, 1, ConfState((1,)))),  # not on an append
        Message(MessageType.SNAP, 2, 1, 5),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=Snapshot(0, 1, ConfState((1,)))),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=Snapshot(1, 0, ConfState((1,)))),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=Snapshot(1, 1, ConfState((2, 1)))),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=Snapshot(1, 1, ConfState((1, 1)))),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=Snapshot(1, 1, ConfState((0, 1)))),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=Snapshot(1, 1, ConfState((), ("a",)))),
        Message(MessageType.SNAP, 2, 1, 5, snapshot=(1, 1)),
    ],
)
def test_what_no_raft_could_have_sent_is_refused(message: Message) -> None:
    with pytest.raises(FrameError):
        decode_message(msgpack.packb(message))
    decode_message(msgpack.packb(BASE))


@pytest.mark.parametrize("payload", [list(BASE)[:-1], [*BASE, 0], {}, 7, None])
def test_a_wrong_number_of_fields_is_refused(payload: object) -> None:
    with pytest.raises(FrameError):
        decode_message(msgpack.packb(payload))


def test_bytes_after_the_array_are_refused() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(frame(msgpack.packb(BASE) + b"\x00"))


def test_a_frame_over_the_limit_is_refused_at_its_length_alone() -> None:
    assert FrameReader(100).feed(struct.pack(">I", 100)) == []
    with pytest.raises(FrameError, match="101 bytes exceeds the limit of 100"):
        FrameReader(100).feed(struct.pack(">I", 101))


def test_a_message_no_peer_would_accept_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encode_frame(BASE)) - LENGTH_BYTES
    monkeypatch.setattr("cluster.transport.frame.MAX_FRAME_BYTES", size)
    encode_frame(BASE)
    monkeypatch.setattr("cluster.transport.frame.MAX_FRAME_BYTES", size - 1)
    with pytest.raises(FrameError):
        encode_frame(BASE)
