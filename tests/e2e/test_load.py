"""What the load's journal takes for a loss, and what not."""

from __future__ import annotations

import pytest
from load import Journal


def test_an_acknowledged_key_is_there_with_its_value() -> None:
    journal = Journal()
    journal.unique = {"/a": "1", "/b": "2"}
    assert journal.contradictions({"/a": "1", "/b": "2", "/unknown": "3"}) == []
    assert journal.contradictions({"/a": "1"}) == ["/b"]
    assert journal.contradictions({"/a": "1", "/b": "1"}) == ["/b"]


KNOWN, UNKNOWN = True, False


@pytest.mark.parametrize(
    ("writes", "possible", "impossible"),
    [
        ([("1", KNOWN), ("2", KNOWN)], ["2"], ["1", None]),
        ([("1", KNOWN), ("2", UNKNOWN)], ["1", "2"], [None]),
        ([("1", UNKNOWN), ("2", KNOWN)], ["1", "2"], [None, "3"]),
        ([("1", UNKNOWN)], ["1", None], ["2"]),
        ([], [None], ["1"]),
    ],
)
def test_an_overwritten_key_has_the_last_acknowledged_value_or_an_unknown_one(
    writes: list[tuple[str, bool]], possible: list[str | None], impossible: list[str | None]
) -> None:
    journal = Journal()
    journal.overwritten = {"/k": writes}

    def ends_with(value: str | None) -> list[str]:
        return journal.contradictions({} if value is None else {"/k": value})

    assert [ends_with(value) for value in possible] == [[]] * len(possible)
    assert [ends_with(value) for value in impossible] == [["/k"]] * len(impossible)
