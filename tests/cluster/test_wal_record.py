from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.wal.record import (
    MAX_PAYLOAD_BYTES,
    BadRecord,
    Head,
    Kind,
    Mark,
    RecordTooLarge,
    Save,
    decode_head,
    decode_save,
    encode_head,
    encode_record,
    encode_save,
    find_barrier,
    read_record,
    record_bytes,
)
from raft.messages import Entry, EntryType, HardState

U64 = st.integers(0, 2**64 - 1)
ENTRIES = st.lists(st.builds(Entry, U64, U64, st.sampled_from(EntryType).map(int), st.binary(max_size=2000)))
HARD_STATES = st.none() | st.builds(HardState, U64, U64, U64)
MARKS = st.none() | st.builds(Mark, U64, U64, st.booleans())
PAYLOADS = st.lists(
    st.binary(max_size=600) | st.builds(bytes, st.integers(0, 2000)) | st.builds(lambda n: b"\1" * n, st.just(1500))
).map(b"".join)


def encode(payload: bytes, *, barrier: bool = True, chain: int = 7, offset: int = 0) -> tuple[bytes, int]:
    return encode_record(Kind.SAVE, payload, barrier=barrier, chain=chain, sequence=3, offset=offset)


@given(payload=PAYLOADS, offset=st.integers(0, 7).map(lambda n: n * 512), zeros=st.integers(0, 600))
def test_a_record_is_read_as_it_was_written(payload: bytes, offset: int, zeros: int) -> None:
    data, chain = encode(payload, offset=offset)
    record = read_record(memoryview(bytes(offset) + data + bytes(zeros)), offset, 3, 7)
    assert record == (Kind.SAVE, payload, offset + len(data), chain, True)
    assert len(data) == record_bytes(len(payload))


@given(payload=PAYLOADS, offset=st.integers(0, 7).map(lambda n: n * 512))
def test_no_sectors_share_of_a_record_is_all_zeros(payload: bytes, offset: int) -> None:
    data, _ = encode(payload, offset=offset)
    end = offset + len(data.rstrip(b"\0"))
    image = bytes(offset) + data
    starts = [offset, *range((offset // 512 + 1) * 512, end, 512)]
    assert all(image[start : min(end, (start // 512 + 1) * 512)].strip(b"\0") for start in starts)


@given(hard_state=HARD_STATES, entries=ENTRIES, mark=MARKS)
def test_a_save_is_decoded_as_it_was_encoded(
    hard_state: HardState | None, entries: list[Entry], mark: Mark | None
) -> None:
    assert decode_save(encode_save(hard_state, entries, mark)) == Save(hard_state, entries, mark)


def test_a_head_is_decoded_as_it_was_encoded() -> None:
    head = Head(1, 2, 3, 2**64 - 1, 5, 6, HardState(7, 8, 9))
    assert decode_head(encode_head(head)) == head


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(ValueError, match="version 2 is unknown"):
        decode_head(encode_head(Head(2, 2, 3, 4, 5, 6, HardState())))


@pytest.mark.parametrize(
    "payload", [b"", b"\x01", b"\x93\xc0\x01\xc0", b"\x90", b"\x93\xc0\x91\x01\xc0", b"\xc1", b"\x81\x90\x01"]
)
def test_what_is_no_save_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any of its kinds
        decode_save(payload)
    with pytest.raises(ValueError):  # noqa: PT011
        decode_head(payload)


def test_what_the_reader_would_refuse_is_not_written() -> None:
    with pytest.raises(RecordTooLarge):
        encode(bytes(MAX_PAYLOAD_BYTES + 1))


def test_a_record_counts_in_its_place_only() -> None:
    data, _ = encode(b"payload" * 9, offset=0)
    with pytest.raises(BadRecord):
        read_record(memoryview(bytes(512) + data), 512, 3, 7)
    with pytest.raises(BadRecord):
        read_record(memoryview(data), 0, 4, 7)
    assert find_barrier(bytes(512) + data, 0, 3) is None


def test_a_record_counts_after_its_predecessor_only() -> None:
    data, _ = encode(b"payload")
    with pytest.raises(BadRecord):
        read_record(memoryview(data), 0, 3, 8)


def test_a_barrier_is_found_and_a_plain_record_is_not() -> None:
    first, chain = encode(b"a" * 100)
    plain, chain = encode(b"b" * 100, barrier=False, chain=chain, offset=len(first))
    barrier, _ = encode(b"c" * 100, chain=chain, offset=len(first + plain))
    assert find_barrier(first + plain + barrier, 0, 3) == len(first + plain)
    assert find_barrier(first + plain, 0, 3) is None


def test_a_missing_sector_is_torn_and_a_flipped_bit_is_not() -> None:
    data, _ = encode(b"x" * 2000)
    missing = data[:1024] + bytes(512) + data[1536:]
    with pytest.raises(BadRecord) as torn:
        read_record(memoryview(missing), 0, 3, 7)
    flipped = bytearray(data)
    flipped[1100] ^= 4
    with pytest.raises(BadRecord) as damaged:
        read_record(memoryview(bytes(flipped)), 0, 3, 7)
    assert (torn.value.torn, damaged.value.torn) == (True, False)


def test_a_missing_sector_is_told_from_zeros_that_were_written() -> None:
    data, _ = encode(bytes(3000))
    flipped = bytearray(data)
    flipped[20] ^= 1
    with pytest.raises(BadRecord) as damaged:
        read_record(memoryview(bytes(flipped)), 0, 3, 7)
    assert not damaged.value.torn
