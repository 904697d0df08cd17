"""A short differential run: the same random requests to the real etcd and to etcdpy (see differential.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .differential import Pair, check, pairs
from .servers import ETCD, NO_ETCD

pytestmark = pytest.mark.skipif(ETCD is None, reason=NO_ETCD)


@pytest.fixture(scope="module", params=["etcd", "fixed"])
def quirks(request: pytest.FixtureRequest) -> str:
    choice: str = request.param
    return choice


@pytest.fixture(scope="module")
def running(quirks: str) -> Iterator[list[Pair]]:
    with pairs(["on", "off"], quirks) as started:
        yield started


@pytest.mark.parametrize("seed", [1, 2])
def test_no_difference_to_etcd(running: list[Pair], quirks: str, seed: int) -> None:
    report = check(running[seed % len(running)], seed, 400, quirks=quirks == "etcd")
    assert report is None, f"\n{report}"
