"""Majorities: the arithmetic everything else rests on. Pure functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum


class VoteResult(IntEnum):
    PENDING = 0
    LOST = 1
    WON = 2


def majority(voters: int) -> int:
    """The smallest number of voters that two disjoint groups cannot both reach."""
    return voters // 2 + 1


def committed_index(matches: list[int]) -> int:
    """The largest index that a majority has reached, given what each voter has. Without voters nothing commits."""
    if not matches:
        return 0
    matches.sort()
    return matches[(len(matches) - 1) // 2]


def vote_result(voters: Iterable[int], votes: Mapping[int, bool]) -> VoteResult:
    """The state of an election. Votes of others than the voters do not count; without voters it is lost."""
    granted = missing = total = 0
    for voter in voters:
        total += 1
        vote = votes.get(voter)
        granted += vote is True
        missing += vote is None
    needed = majority(total)
    if granted >= needed:
        return VoteResult.WON
    return VoteResult.PENDING if granted + missing >= needed else VoteResult.LOST
