"""The report shows what was found, says what is missing, and its JSON can be read back."""

from __future__ import annotations

import json

import pytest

from bench.machine import Machine
from bench.report import markdown, quantity
from bench.result import ETCD, ETCDPY, Result
from bench.scale import QUICK


def result(etcd: dict[str, float], etcdpy: dict[str, float], *failures: str) -> Result:
    machine = Machine(2, "a processor", 8.0, "Linux 6", 0.15, "CPython 3.11", "0.23")
    versions = {ETCD: "3.4.23", ETCDPY: "0.1.0"}
    limits = {"loader.rate": 90_000.0}
    return Result(
        "2026-01-02 03:04+00:00", QUICK, machine, versions, limits, {ETCD: [etcd], ETCDPY: [etcdpy]}, [*failures]
    )


def line(report: str, start: str) -> str:
    return next(line for line in report.splitlines() if line.startswith(f"| {start}"))


def test_a_row_shows_goal_figures_ratio_and_whether_it_is_reached() -> None:
    report = markdown(result({"put.64.rate": 10_000.0}, {"put.64.rate": 25_000.0}))
    assert line(report, "PUT on the leader, 64 connections |") == (
        "| PUT on the leader, 64 connections | ≥ 2 x | 10,000/s | 25,000/s | 2.50 | yes |"
    )


def test_a_goal_that_is_missed_stands_out() -> None:
    assert line(markdown(result({"get.rate": 10.0}, {"get.rate": 11.0})), "GET, 64").endswith("| 1.10 | **no** |")


def test_what_failed_is_told_and_its_row_is_not_called_reached() -> None:
    report = markdown(result({}, {}, "round 1/1 etcdpy https: m0 ended with 2"))
    assert line(report, "PUT over HTTPS").endswith("| - | - | - | not measured |")
    assert "- round 1/1 etcdpy https: m0 ended with 2" in report


def test_the_json_holds_the_rounds_and_the_judged_table() -> None:
    found = json.loads(result({"get.rate": 10.0}, {"get.rate": 20.0}).to_json())
    assert found["rounds"] == {"etcd": [{"get.rate": 10.0}], "etcdpy": [{"get.rate": 20.0}]}
    [row] = [row for row in found["table"] if row["figure"] == "get.rate"]
    assert (row["goal"], row["ratio"], row["met"]) == ("≥ 1.7 x", 2.0, True)
    assert found["machine"]["cores"] == 2


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (12_345.6, "/s", "12,346/s"),
        (46.26, "ms", "46.3 ms"),
        (0.5349, "ms", "0.53 ms"),
        (0.0, "", "0"),
        (None, "ms", "-"),
    ],
)
def test_quantities_have_three_digits_or_so(value: float | None, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown
