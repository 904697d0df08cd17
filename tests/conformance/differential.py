"""Sends the same random requests to the real etcd and to etcdpy and compares every answer.

    python -m tests.conformance.differential --seeds 20 --requests 2000

A difference is shrunk to a short scenario that shows it again, printed with its seed. By default etcdpy runs with
etcd's own bugs switched on and has to be equal in everything; with `--v2-quirks=fixed` the sequences avoid them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from .generator import Generator
from .normalise import same
from .scenario import Step
from .servers import Server, etcd, etcdpy, get
from .session import Session
from .wire import Closed

HISTORY = 1000
CATCH_UP_SECONDS = 2.0
SETTLE_SECONDS = 0.15
SHRINK_SECONDS = 60.0
SHOWN_CHARACTERS = 1000


class Difference(NamedTuple):
    """Where two servers parted: the step's place and what each answered."""

    position: int
    step: Step
    etcd: list[str]
    etcdpy: list[str]

    def __str__(self) -> str:
        lines = [f"> {self.step.question}", *(f"+ {header}" for header in self.step.headers)]
        for who, answer in (("etcd", self.etcd), ("etcdpy", self.etcdpy)):
            lines += [f"  {who:6} | {shorten(line)}" for line in answer or ["(nothing)"]]
        return "\n".join(lines)


def shorten(line: str) -> str:
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}... ({len(line)} characters)"


class Pair:
    """The real etcd and an etcdpy, brought to the same store index."""

    def __init__(self, oracle: Server, subject: Server) -> None:
        self._servers = (oracle, subject)
        self._pool = ThreadPoolExecutor(2)
        self.align(extra=HISTORY + 1)

    def align(self, extra: int = 0) -> None:
        """Write to whichever is behind until both stand at the same index, and `extra` times more to each."""
        indexes = [int(get(server.address, "/v2/keys/").header("X-Etcd-Index") or 0) for server in self._servers]
        for server, index in zip(self._servers, indexes, strict=True):
            with Session(server) as session:
                for _ in range(max(indexes) - index + extra):
                    session.ask("PUT /v2/keys/padding value=x")

    def compare(self, steps: Sequence[Step]) -> Difference | None:
        """Play the steps on both; the first difference."""
        with contextlib.ExitStack() as stack:
            sessions = [stack.enter_context(Session(server)) for server in self._servers]
            for position, step in enumerate(steps):
                one, other = self._collect(sessions, step) if step.verb == "collect" else self._play(sessions, step)
                if not equal(step, one, other):
                    return Difference(position, step, one, other)
        return None

    def _play(self, sessions: Sequence[Session], step: Step) -> list[list[str]]:
        return list(self._pool.map(lambda session: _answer(session, step), sessions))

    def _collect(self, sessions: Sequence[Session], step: Step) -> list[list[str]]:
        """Read both watches until they agree, for what one has sent the other may have under way."""
        name = step.question.split(" ")[1]
        deadline = time.monotonic() + CATCH_UP_SECONDS
        collected = [session.collected(name) for session in sessions]
        while not same(*("\n".join(lines) for lines in collected)) and time.monotonic() < deadline:
            time.sleep(0.002)
            collected = [session.collected(name) for session in sessions]
        return collected


def _answer(session: Session, step: Step) -> list[str]:
    try:
        return session.play(step)
    except (Closed, OSError) as error:
        return [f"(no answer: {type(error).__name__})"]


def equal(step: Step, one: list[str], other: list[str]) -> bool:
    """Whether two answers agree; without `sorted`, the nodes of a directory may come in any order."""
    return same("\n".join(one), "\n".join(other)) or (
        "nodes" in "".join(one) and same(*("\n".join(map(_with_sorted_nodes, lines)) for lines in (one, other)))
    )


def _with_sorted_nodes(line: str) -> str:
    def ordered(value: Any) -> Any:
        if isinstance(value, list):
            return sorted((ordered(each) for each in value), key=lambda node: (node["key"], node["modifiedIndex"]))
        return {name: ordered(each) for name, each in value.items()} if isinstance(value, dict) else value

    if not line.startswith('{"action"'):
        return line
    # a relative index, as +7, is no JSON number
    return json.dumps(ordered(json.loads(line.replace(":+", ":"))), separators=(",", ":"))


def shrink(steps: list[Step], differs: Callable[[Sequence[Step]], bool], seconds: float = SHRINK_SECONDS) -> list[Step]:
    """Leave out steps, ever smaller runs of them, as long as the servers still differ; gives up after some time."""
    deadline = time.monotonic() + seconds
    size = len(steps) // 2
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(steps) and time.monotonic() < deadline:
            shorter = steps[:start] + steps[start + size :]
            if differs(shorter):
                steps = shorter
            else:
                start += size
        size //= 2
    return steps


def check(pair: Pair, seed: int, requests: int, *, quirks: bool) -> str | None:
    """Compare one seed's sequence; a report when the servers differ."""
    steps = list(Generator(seed, quirks=quirks).steps(requests))
    found = pair.compare(steps)
    if found is None:
        return None

    def differs(some: Sequence[Step]) -> bool:
        pair.align()
        return pair.compare(some) is not None

    before = steps[: found.position + 1]
    report = [f"seed {seed}: step {found.position} of {requests}", str(found)]
    if not differs(before):
        return "\n".join([*report, "(not seen again when played a second time)"])
    short = shrink(before, differs)
    pair.align()
    again = pair.compare(short)
    report += ["shrunk to:", *(line for step in short[:-1] for line in step.lines())]
    return "\n".join([*report, str(again or "(not seen again)")])


@contextlib.contextmanager
def pairs(lanes: Sequence[str], quirks: str) -> Iterator[list[Pair]]:
    """Run a pair of servers for each HTTP lane of etcdpy."""
    with contextlib.ExitStack() as stack:
        yield [
            Pair(
                stack.enter_context(etcd()),
                stack.enter_context(etcdpy(f"--fast-lane={lane}", f"--v2-quirks={quirks}")),
            )
            for lane in lanes
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="how many sequences (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=2000, help="steps in each (default %(default)s)")
    parser.add_argument("--fast-lane", choices=("on", "off"), action="append", help="default: both, turn about")
    parser.add_argument("--v2-quirks", choices=("etcd", "fixed"), default="etcd")
    options = parser.parse_args()
    differing = 0
    with pairs(options.fast_lane or ("on", "off"), options.v2_quirks) as running:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            began = time.monotonic()
            pair = running[seed % len(running)]
            report = check(pair, seed, options.requests, quirks=options.v2_quirks == "etcd")
            differing += report is not None
            print(report or f"seed {seed}: no difference ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{options.seeds} sequences of {options.requests}, {differing} with a difference")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
