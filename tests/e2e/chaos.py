"""Kills a random member again and again under load, and then looks for what was lost.

    python tests/e2e/chaos.py [--seconds 60] [--seed N]

prints what happened; exit code 1 if an acknowledged write is gone, a read was not linearizable, or members differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "checkers"), str(ROOT / "tests" / "e2e")]

from linearizability import find_violation  # noqa: E402
from load import Journal, run_clients  # noqa: E402
from procfile import Member, Processes, client_context, eventually, processes  # noqa: E402

KILL_EVERY_SECONDS = 2.0
DOWN_SECONDS = 0.5
WRITERS, READERS = 8, 8


class Report(NamedTuple):
    acknowledged: int
    unknown: int
    reads_and_writes_checked: int
    kills: int
    leader_kills: int
    lost: list[str]
    illegal: list[str]
    members_differ: bool

    @property
    def is_good(self) -> bool:
        return not self.lost and not self.illegal and not self.members_differ


def run(directory: Path, seconds: float, seed: int, victim: str, variables: Mapping[str, str]) -> Report:
    """`victim` is `random` or `leader`; `variables` are set in the members' environment."""
    draw = random.Random(seed)
    journal = Journal()
    with processes(directory, variables) as members:
        members.start()
        kills, leader_kills = asyncio.run(_under_load(members, seconds, draw, journal, victim))
        members.start()
        lost = journal.contradictions(values(members.members[0]))
        violation = find_violation(journal.history)
        illegal = [] if violation is None else [str(op) for op in sorted(violation, key=lambda op: op.called)]
        return Report(
            len(journal.unique) + sum(known for writes in journal.overwritten.values() for _, known in writes),
            journal.unknown,
            len(journal.history),
            kills,
            leader_kills,
            lost,
            illegal,
            len({json.dumps(listing(member), sort_keys=True) for member in members.members}) != 1,
        )


async def _under_load(
    members: Processes, seconds: float, draw: random.Random, journal: Journal, victim: str
) -> tuple[int, int]:
    """How many members were killed, and how many of them led."""
    stop = asyncio.Event()
    urls = [member.url for member in members.members]
    context = client_context(members.members[0].ca_file)
    load = asyncio.create_task(
        run_clients(urls, context, random.Random(draw.random()), journal, stop, WRITERS, READERS)
    )
    try:
        return await _kill_until(time.monotonic() + seconds, members, draw, victim, load)
    finally:
        stop.set()
        await load


async def _kill_until(
    end: float, members: Processes, draw: random.Random, victim: str, load: asyncio.Task[None]
) -> tuple[int, int]:
    kills = leader_kills = 0
    while time.monotonic() < end and not load.done():
        begun = time.monotonic()
        leader = await asyncio.to_thread(lambda: members.leader)
        member = leader if victim == "leader" else draw.choice(members.members)
        member.kill()
        kills += 1
        leader_kills += member is leader
        await asyncio.sleep(draw.random() * 2 * DOWN_SECONDS)
        member.start()
        await asyncio.sleep(max(0.0, begun + KILL_EVERY_SECONDS - time.monotonic()))
    return kills, leader_kills


def listing(member: Member) -> Any:
    """All keys of a member that has seen every write acknowledged so far."""
    answer = eventually(lambda: _quorum_listing(member), f"linearizable read from {member.name}")
    return answer["node"]


def _quorum_listing(member: Member) -> Any:
    answer = member.request("GET", "/v2/keys/?recursive=true&sorted=true&quorum=true")
    return answer.json if answer.status == 200 else None


def values(member: Member) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = [listing(member)]
    while waiting:
        node = waiting.pop()
        waiting += node.get("nodes", ())
        if "value" in node:
            found[node["key"]] = node["value"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--victim", choices=("random", "leader"), default="random")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        report = run(Path(directory), arguments.seconds, arguments.seed, arguments.victim, {})
    for name, value in report._asdict().items():
        print(f"{name.replace('_', ' ')}: {value}")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
