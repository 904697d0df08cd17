"""The table's judgement: medians of rounds, ratios within a round, goals of both kinds."""

from __future__ import annotations

import pytest

from bench.rows import Goal, Row, at_least, at_most, held, judge, table
from bench.scale import FULL, QUICK, Scale

RATE = Row("writes", "put.rate", "/s", at_least(2.0))


def rounds(*values: float) -> list[dict[str, float]]:
    return [{"put.rate": value} for value in values]


def test_the_ratio_is_the_median_of_ratios_within_rounds_not_the_ratio_of_medians() -> None:
    verdict = judge(RATE, rounds(100, 200, 400), rounds(300, 420, 400))
    assert (verdict.etcd, verdict.etcdpy) == (200, 400)
    assert (verdict.lowest_ratio, verdict.ratio, verdict.highest_ratio) == (1.0, 2.1, 3.0)
    assert verdict.met is True


@pytest.mark.parametrize(
    ("goal", "etcd", "etcdpy", "met"),
    [
        (at_least(2.0), 100, 200, True),
        (at_least(2.0), 100, 199, False),
        (at_most(0.9), 100, 90, True),
        (at_most(0.9), 100, 91, False),
        (at_most(50, against_etcd=False), 1000, 50, True),
        (at_most(50, against_etcd=False), 1000, 51, False),
        (at_most(0, against_etcd=False), 0, 0, True),
        (at_most(0, against_etcd=False), 0, 1, False),
        (held(0.8), 0.2, 0.8, True),
        (held(0.8), 0.2, 0.79, False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_not_beyond(goal: Goal, etcd: float, etcdpy: float, met: bool) -> None:
    assert judge(Row("work", "put.rate", "", goal), rounds(etcd), rounds(etcdpy)).met is met


def test_what_one_side_did_not_measure_in_a_round_gives_no_ratio_there() -> None:
    verdict = judge(RATE, [{}, *rounds(100)], [*rounds(1000), *rounds(150)])
    assert verdict.ratio == 1.5
    assert verdict.met is False


def test_what_nobody_measured_is_neither_met_nor_missed() -> None:
    verdict = judge(RATE, [{}], [{}])
    assert (verdict.etcd, verdict.etcdpy, verdict.ratio, verdict.met) == (None, None, None, None)


@pytest.mark.parametrize("scale", [FULL, QUICK], ids=["full", "quick"])
def test_the_loads_that_the_rows_are_made_of_are_run_at_every_scale(scale: Scale) -> None:
    assert {1, 64, 256} <= set(scale.connections)
    assert len({row.figure for row in table(scale)}) == len(table(scale)) == 16


def test_the_full_scale_is_the_one_that_the_goals_are_set_for() -> None:
    assert (FULL.rounds, FULL.restart_keys, FULL.most_stored) == (3, 500_000, 1_000_000)
