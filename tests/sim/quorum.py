"""Majorities once more: what the product's arithmetic is checked by."""

from __future__ import annotations

from collections.abc import Collection


def majority(voters: int) -> int:
    """The paper's: more than half."""
    return voters // 2 + 1


def is_majority(some: Collection[int], voters: Collection[int]) -> bool:
    """Whether those among `some` that vote are more than half of the voters."""
    return 2 * len(set(voters).intersection(some)) > len(set(voters)) > 0
