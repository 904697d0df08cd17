"""A removed member stops when another leader has told it of something as late as its removal, and not before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from cluster.leaving import Leaving
from cluster.membership import Member, Membership


@dataclass
class Told:
    id: int = 1
    commit_told: int = 0


@dataclass
class Applied:
    applied_index: int = 7


def leaving(*removed: int) -> tuple[Leaving, Told, Applied]:
    told, applied = Told(), Applied()
    membership = Membership(1, [Member(2, "", ())], removed)
    return Leaving(cast(Any, told), membership, cast(Any, applied)), told, applied


def test_a_member_stays() -> None:
    check, told, _ = leaving(3)
    told.commit_told = 9
    assert not check.check()


def test_a_leader_that_removed_itself_stays_until_another_one_knows() -> None:
    check, told, applied = leaving(1)
    assert not check.check()
    told.commit_told, applied.applied_index = 6, 9
    assert not check.check()
    told.commit_told = 7
    assert check.check()
