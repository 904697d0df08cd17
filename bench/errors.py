"""What can go wrong in a benchmark, said to the person who runs it."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement that can't be made or can't be trusted; the text says why, in one line or with a log's tail."""
