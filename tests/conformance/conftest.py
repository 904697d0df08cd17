"""Live servers for the tests with real clients: the same test runs against etcdpy and, to prove it, against etcd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .servers import ETCD, NO_ETCD, Server, etcd, etcdpy

ORACLE = pytest.param(etcd, id="etcd", marks=pytest.mark.skipif(ETCD is None, reason=NO_ETCD))


@pytest.fixture(scope="module", params=[pytest.param(etcdpy, id="etcdpy"), ORACLE])
def live(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param() as server:
        yield server
