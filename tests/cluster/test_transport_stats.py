from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.transport.stats import AppendTraffic, FollowerStats, Latency
from raft.messages import Entry, Message, MessageType


def appended(index: int) -> Message:
    return Message(MessageType.APP, 2, 1, 1, index=index - 1, entries=(Entry(1, index, 0, b"x"),))


def acknowledged(index: int, reject: bool = False) -> Message:
    return Message(MessageType.APP_RESP, 1, 2, 1, index=index, reject=reject)


def test_rates_are_over_the_window() -> None:
    traffic = AppendTraffic()
    for tenth in range(11):
        traffic.add(5 + tenth / 10, 2, 100)
    assert traffic.count == 22
    assert traffic.rates(6.0) == (pytest.approx(22), pytest.approx(1100))


def test_rates_fall_to_zero_after_a_second_of_silence_but_the_count_stays() -> None:
    traffic = AppendTraffic()
    traffic.add(1.0, 1, 10)
    traffic.add(1.5, 1, 10)
    assert traffic.rates(2.5)[0] > 0
    assert traffic.rates(2.51) == (0.0, 0.0)
    assert traffic.rates(1.5) == (0.0, 0.0)
    assert traffic.count == 2


def test_one_sample_or_none_is_no_rate() -> None:
    traffic = AppendTraffic()
    assert traffic.rates(1.0) == (0.0, 0.0)
    traffic.add(1.0, 1, 10)
    assert traffic.rates(1.0) == (0.0, 0.0)


def test_the_window_holds_200_samples() -> None:
    traffic = AppendTraffic()
    for n in range(1000):
        traffic.add(n / 1000, 1, 1)
    assert traffic.rates(1.0)[0] == pytest.approx(200 / 0.199)


@given(st.lists(st.floats(0.001, 10_000), min_size=1))
def test_latency_agrees_with_the_statistics_module(samples: list[float]) -> None:
    latency = Latency()
    for sample in samples:
        latency.add(sample)
    assert latency.average == pytest.approx(statistics.fmean(samples))
    assert latency.standard_deviation == pytest.approx(statistics.pstdev(samples), abs=1e-4)
    assert (latency.minimum, latency.maximum, latency.current) == (min(samples), max(samples), samples[-1])


def test_a_round_trip_ends_with_the_acknowledgement_of_its_last_entry() -> None:
    follower = FollowerStats()
    follower.sent(appended(7), 1.0)
    follower.sent(appended(8), 1.1)
    follower.received(acknowledged(6), 1.2)
    assert follower.latency.count == 0
    follower.received(acknowledged(8), 1.25)
    assert follower.latency.current == pytest.approx(250)
    assert (follower.success, follower.fail) == (2, 0)


@pytest.mark.parametrize("ending", ["rejected", "failed"])
def test_a_round_trip_that_ends_badly_is_no_sample_and_the_next_one_is(ending: str) -> None:
    follower = FollowerStats()
    follower.sent(appended(7), 1.0)
    if ending == "rejected":
        follower.received(acknowledged(7, reject=True), 1.1)
    else:
        follower.failed(1)
    follower.received(acknowledged(7), 9.0)
    assert follower.latency.count == 0
    follower.sent(appended(8), 10.0)
    follower.received(acknowledged(8), 10.5)
    assert follower.latency.current == pytest.approx(500)


def test_an_append_without_entries_starts_no_round_trip() -> None:
    follower = FollowerStats()
    follower.sent(Message(MessageType.APP, 2, 1, 1, index=5), 1.0)
    follower.received(acknowledged(5), 2.0)
    assert follower.latency.count == 0
