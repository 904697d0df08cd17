"""Commands from the log: each finds its operation, a refusal is a result, and every member comes to the same state."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.state_machine import Position
from etcdpy.commands import CompareAndDelete, CompareAndSwap, Create, Delete, Set, Sync, Update
from etcdpy.errors import EtcdError
from etcdpy.state_machine import EtcdStateMachine, validate
from etcdpy.store.event import Event
from etcdpy.store.store import Store

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


def machine() -> EtcdStateMachine:
    return EtcdStateMachine(Store())


def from_log(*commands: Any) -> list[Any]:
    """As they arrive: packed, replicated, unpacked."""
    packed = msgpack.packb(commands, unicode_errors="surrogateescape")
    unpacked: list[Any] = msgpack.unpackb(packed, unicode_errors="surrogateescape")
    return unpacked


def at(now_ns: int) -> Position:
    return Position(1, 1, now_ns)


def test_each_command_does_what_it_says_and_has_one_result() -> None:
    commands = from_log(
        Set("/k", "1", False, 5 * SECOND, False),
        Create("/q", "2", False, True, None),
        Update("/k", "3", 9 * SECOND, False),
        CompareAndSwap("/k", "3", 3, "4", 2 * SECOND, False),
        CompareAndSwap("/k", "no", 0, "4", None, False),
        Sync(),
        CompareAndDelete("/q/00000000000000000002", "2", 2),
        Delete("/q", True, False),
    )
    results = machine().apply(commands, at(NOW))
    assert [result.action if isinstance(result, Event) else result for result in results] == [
        "set", "create", "update", "compareAndSwap", EtcdError(101, "[no != 4]", 4), None, "compareAndDelete", "delete",
    ]  # fmt: skip
    swapped = results[3]
    assert isinstance(swapped, Event)
    assert swapped.node == ("/k", "4", False, 4, 1, NOW + 2 * SECOND, 2, None)


def test_a_sync_expires_what_is_due_by_the_time_of_the_leader() -> None:
    replica = machine()
    replica.apply(from_log(Set("/k", "", False, SECOND, False)), at(NOW))
    replica.apply(from_log(Sync()), at(NOW + SECOND - 1))
    assert replica.store.index == 1
    replica.apply(from_log(Sync()), at(NOW + SECOND))
    assert replica.store.index == 2


@pytest.mark.parametrize(
    "command", [["/k", 99], [-1], ["/k", "too", "short", 1], [None], [[]], ["text"], [1.5], [], None, 5, "text", b""]
)
def test_an_unknown_command_is_refused_and_changes_nothing(command: list[Any]) -> None:
    replica = machine()
    before = b"".join(replica.dump())
    (result,) = replica.apply(from_log(command), at(NOW))
    assert isinstance(result, EtcdError)
    assert (result.code, result.index) == (300, 0)
    assert b"".join(replica.dump()) == before


def test_a_refusal_keeps_no_frames_alive() -> None:
    (result,) = machine().apply(from_log(Delete("/no", False, False)), at(NOW))
    assert isinstance(result, EtcdError)
    assert result.__traceback__ is None
    assert result.__context__ is None


GOOD = [
    Sync(),
    Set("/", "", False, None, False),
    Set("/a/b", "v\udcff", True, 2**63 - 1, True),
    Set("/..a/.b./...", "", False, -(2**63), False),
    Set("/nul\0/new\nline/\udc80", "\0", False, 0, False),
    Set("/d" * 20_000, "", False, None, False),
    Create("/a", "", False, True, None),
    Update("/a", "", None, True),
    CompareAndSwap("/a", "", 2**64 - 1, "", None, False),
    Delete("/a", True, True),
    CompareAndDelete("/a", "x", 0),
]
BAD = [
    *(Set(path, "", False, None, False) for path in ("", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/../a", "/a/./b")),
    *(Set(path, "", False, None, False) for path in ("/a\ud800", b"/a", None, 5)),
    *(Set("/a", value, False, None, False) for value in (None, b"v", 5, "\udfff")),
    *(Set("/a", "", flag, None, False) for flag in (0, 1, None, "true")),
    *(Set("/a", "", False, ttl, False) for ttl in (1.5, "5", True, 2**63, -(2**63) - 1)),
    *(CompareAndDelete("/a", "", index) for index in (-1, 2**64, None, True, 1.0)),
    *([], [7], [None], [True], ["/a", "", False, None, False, 1.0], ["/a", "", False, None, 1], ["/a", True]),
]  # fmt: skip


@pytest.mark.parametrize("command", GOOD, ids=lambda command: f"{command!r:.60}")
def test_what_is_well_formed_may_be_proposed_and_survives_the_log(command: Any) -> None:
    validate(command)
    (unpacked,) = from_log(command)
    validate(unpacked)
    assert len(machine().apply([unpacked], at(NOW))) == 1


@pytest.mark.parametrize("command", BAD, ids=lambda command: f"{command!r:.60}".encode("ascii", "replace").decode())
def test_what_is_not_may_not(command: Any) -> None:
    with pytest.raises(ValueError, match="command"):
        validate(command)


text = st.text(st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), max_size=4)
part = text.map(lambda name: name.replace("/", "-")).filter(lambda name: name not in ("", ".", ".."))
paths = st.lists(part | st.sampled_from(["a", "b"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
ttls = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9 * SECOND)
flags = st.booleans()
indexes = st.integers(0, 12) | st.integers(0, 2**64 - 1)
commands = st.one_of(
    st.just(Sync()),
    st.tuples(paths, text, flags, ttls, flags).map(lambda fields: Set(*fields)),
    st.tuples(paths, text, flags, flags, ttls).map(lambda fields: Create(*fields)),
    st.tuples(paths, text, ttls, flags).map(lambda fields: Update(*fields)),
    st.tuples(paths, text, indexes, text, ttls, flags).map(lambda fields: CompareAndSwap(*fields)),
    st.tuples(paths, flags, flags).map(lambda fields: Delete(*fields)),
    st.tuples(paths, text, indexes).map(lambda fields: CompareAndDelete(*fields)),
)
batches = st.lists(st.tuples(st.lists(commands, max_size=6), st.integers(0, 3 * SECOND)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(batches, st.integers(0, 12))
def test_whatever_may_be_proposed_applies_alike_on_every_member(batches: list[Any], joins_at: int) -> None:
    """One member applies it all; another joins on the way, from the first one's snapshot."""
    first, second = machine(), machine()
    now_ns = NOW
    for number, (batch, later) in enumerate(batches):
        now_ns += later
        for command in batch:
            validate(command)
        if number == joins_at:
            second = machine()
            second.load(list(first.dump()))
        results = [replica.apply(from_log(*batch), at(now_ns)) for replica in (first, second)]
        assert [_plain(result) for result in results[0]] == [_plain(result) for result in results[1]]
        assert len(results[0]) == len(batch)
    assert b"".join(first.dump()) == b"".join(second.dump())


def _plain(result: Event | EtcdError | None) -> object:
    if isinstance(result, Event):
        return (result.action, result.node, result.prev_node, result.index, result.store_index)
    return result


_WORKLOAD = """
import hashlib, random, sys
from cluster.state_machine import Position
from etcdpy.commands import *
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store
machine, dice = EtcdStateMachine(Store()), random.Random(11)
for step in range(3000):
    path = "/" + "/".join(dice.choices("abcdef", k=dice.randint(1, 4)))
    ttl_ns = dice.choice([None, None, dice.randint(0, 3) * 10**9])
    command = dice.choice([Set(path, str(step), False, ttl_ns, False), Create(path, "", True, True, ttl_ns), Sync(),
                           Delete(path, True, True), Update(path, "", ttl_ns, False)])
    machine.apply([command], Position(step, 1, 10**18 + step // 4 * 10**8))
sys.stdout.write(hashlib.sha256(b"".join(machine.dump())).hexdigest())
"""


def test_the_state_does_not_depend_on_the_hash_seed() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _WORKLOAD],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(digests) == 1
    assert len(digests.pop()) == hashlib.sha256().digest_size * 2
