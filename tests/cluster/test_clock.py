"""Cluster time: never back, never ahead of the leader, indifferent to wall clocks once a leader was heard."""

from __future__ import annotations

from pathlib import Path

from cluster.clock import ClockFile, ClusterClock
from cluster.disk import RealDisk


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


def test_after_a_restart_of_the_whole_cluster_a_wrong_wall_clock_is_corrected_as_before() -> None:
    hour = 3_600_000_000_000
    before = Time(wall=10 * hour)
    before.clock.hear(4 * hour)  # this member's wall clock is six hours fast
    after = Time(wall=11 * hour)
    after.clock = ClusterClock(lambda: after.monotonic, lambda: after.wall, before.clock.ahead_of_wall_ns)
    assert after.clock.stamp_ns() == 5 * hour


def test_a_member_that_heard_nothing_keeps_what_it_knew() -> None:
    time = Time(wall=10)
    time.clock = ClusterClock(lambda: time.monotonic, lambda: time.wall, 77)
    assert time.clock.ahead_of_wall_ns == 77


def test_the_file_gives_back_what_was_saved_last(tmp_path: Path) -> None:
    file = ClockFile(RealDisk(), str(tmp_path / "clock"))
    assert file.load() == 0
    file.save(-5)
    file.save(123)
    assert ClockFile(RealDisk(), str(tmp_path / "clock")).load() == 123


def test_the_file_is_due_until_saved_and_when_the_clocks_part(tmp_path: Path) -> None:
    file = ClockFile(RealDisk(), str(tmp_path / "clock"))
    assert file.is_due(0)
    file.save(0)
    assert not file.is_due(1_000_000)
    assert file.is_due(1_000_000_000)
    assert file.is_due(-1_000_000_000)


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    for content in (b"", b"\xc1", b"\x92\x01", b"\x92\x02\x05", b"\x92\x01\xa1x"):
        (tmp_path / "clock").write_bytes(content)
        assert ClockFile(RealDisk(), str(tmp_path / "clock")).load() == 0


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    ClockFile(RealDisk(), str(tmp_path / "missing" / "clock")).save(1)


def test_a_member_that_is_elected_before_it_heard_a_leader_goes_by_what_its_voters_know() -> None:
    time = Time(wall=1_000_000)
    assert not time.clock.is_known
    time.clock.hear_voter(500)
    assert (time.clock.is_known, time.clock.now_ns()) == (True, 500)
    time.monotonic += 10
    time.clock.hear_voter(505)
    assert time.clock.now_ns() == 510, "that one is late"
    time.clock.hear_voter(520)
    assert time.clock.now_ns() == 520


def test_what_a_leader_took_from_its_wall_clock_is_known_once_a_stamp_of_it_is_applied() -> None:
    time = Time(wall=50_000)
    time.clock.lead()
    time.wall += 3_600_000_000_000
    time.passes(10)
    assert (time.clock.is_known, time.clock.now_ns()) == (False, 50_010)
    time.clock.not_before(40_000)
    assert not time.clock.is_known, "that is an old entry"
    stamp = time.clock.stamp_ns()
    assert not time.clock.is_known
    time.clock.not_before(stamp)
    time.passes(10)
    assert (time.clock.is_known, time.clock.now_ns()) == (True, 50_020)


def test_a_leader_whose_term_was_over_takes_the_time_of_the_one_that_leads() -> None:
    """It was elected by members that knew no time, and paused; meanwhile others elected another one."""
    time = Time(wall=9_000_000)
    time.clock.lead()
    time.clock.stamp_ns()
    time.clock.hear(50_000)
    assert (time.clock.is_known, time.clock.now_ns()) == (True, 50_000)
