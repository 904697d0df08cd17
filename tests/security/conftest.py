"""One member for all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from member_process import Member, running


@pytest.fixture(scope="session", params=["on", "off"], ids=["fast-lane", "aiohttp-lane"])
def member(request: pytest.FixtureRequest) -> Iterator[Member]:
    with running(f"--fast-lane={request.param}") as started:
        yield started
