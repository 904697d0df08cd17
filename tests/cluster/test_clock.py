"""Cluster time: never back, never ahead of the leader, indifferent to wall clocks once a leader was heard."""

from __future__ import annotations

from cluster.clock import ClusterClock


class Time:
    def __init__(self, wall: int) -> None:
        self.monotonic = 1_000
        self.wall = wall
        self.clock = ClusterClock(lambda: self.monotonic, lambda: self.wall)

    def passes(self, ns: int) -> None:
        self.monotonic += ns
        self.wall += ns


def test_a_first_leader_begins_with_its_wall_clock() -> None:
    assert Time(wall=50_000).clock.stamp_ns() == 50_000


def test_a_follower_goes_on_from_what_it_heard_and_not_from_its_own_wall_clock() -> None:
    time = Time(wall=9_000_000)
    time.clock.hear(50_000)
    time.passes(700)
    assert time.clock.stamp_ns() == 50_700


def test_a_step_of_the_wall_clock_does_not_move_cluster_time() -> None:
    time = Time(wall=50_000)
    time.clock.stamp_ns()
    time.wall += 3_600_000_000_000
    time.passes(10)
    assert time.clock.stamp_ns() == 50_010


def test_time_never_goes_back_when_an_older_stamp_arrives_late() -> None:
    time = Time(wall=0)
    time.clock.hear(50_000)
    time.clock.hear(40_000)
    assert time.clock.now_ns() == 50_000


def test_after_a_restart_time_is_not_before_what_was_applied() -> None:
    time = Time(wall=10)
    time.clock.not_before(50_000)
    assert time.clock.stamp_ns() == 50_000
