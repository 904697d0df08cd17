"""A pytest plugin, `-p tests.compiled`: the tests of this process run against the compiled modules.

Not those marked `plain`: they put something else in the place of a function or a class of ours, and native code calls
what it was compiled with.
"""

from __future__ import annotations

import pytest

from etcdpy import compiled

if not compiled.prefer():
    raise pytest.UsageError("there are no compiled modules of these sources; make compiled says why")


def pytest_configure(config: pytest.Config) -> None:
    config.option.markexpr = "not plain"
