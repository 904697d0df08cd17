"""Cuts the power of members under load, again and again, and looks for acknowledged writes that are gone.

    python tests/faults/powercut.py [--single 300] [--cluster 100] [--seed N] [--lying-fsync]

cuts a cluster of one member `single` times, then all members of a cluster of three at once `cluster` times; now and
then while they start. Exit code 1 if anything was lost, or a member would not start again. `--lying-fsync` makes the
members' fsync do nothing: then losses must be found, or this program finds none ever.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "faults")]

from loop_disk import Cut, LoopDisk, loop_disks, why_impossible  # noqa: E402
from members import Member, Members, members  # noqa: E402
from power_load import Journal, write_until  # noqa: E402
from procfile import eventually  # noqa: E402

DISK_MEBIBYTES = 512
CUTS_OF_A_DISK = 50
LOAD_SECONDS = 0.4
STARTING_SECONDS = 0.8
CUT_WHILE_STARTING = 0.15
SETTINGS = {"ETCD_HEARTBEAT_INTERVAL": "30", "ETCD_ELECTION_TIMEOUT": "300", "ETCD_SNAPSHOT_COUNT": "100"}
LYING_FSYNC = {"LD_PRELOAD": "libeatmydata.so.1"}
SHOWN = 10


class Report(NamedTuple):
    members: int
    cuts: int
    cuts_while_starting: int
    acknowledged: int
    lost: list[str]
    seconds: float


def run(directory: Path, count: int, cuts: int, draw: random.Random, variables: Mapping[str, str]) -> Report:
    """`count` members. Ends early once something is lost. `variables` are set in the members' environment."""
    begun = time.monotonic()
    total = Report(count, 0, 0, 0, [], 0.0)
    while total.cuts < cuts and not total.lost:
        some = min(CUTS_OF_A_DISK, cuts - total.cuts)
        part = _run_on_new_disks(directory / str(total.cuts), count, some, draw, variables)
        total = Report(count, *(a + b for a, b in zip(total[1:], part[1:], strict=True)))
    return total._replace(seconds=round(time.monotonic() - begun, 1))


def _run_on_new_disks(
    directory: Path, count: int, cuts: int, draw: random.Random, variables: Mapping[str, str]
) -> Report:
    directory.mkdir()
    with (
        members(directory, count, {**SETTINGS, **variables}) as cluster,
        loop_disks([member.data_dir for member in cluster], DISK_MEBIBYTES) as disks,
    ):
        power = _Power(cluster, disks, draw)
        try:
            while power.cuts < cuts and not power.lost:
                power.live_until_cut()
            power.start()
        finally:
            cluster.kill()
        return Report(count, power.cuts, power.cuts_while_starting, power.journal.acknowledged, power.lost, 0.0)


class _Power:
    """Members and their disks, which go off together."""

    def __init__(self, members: Members, disks: list[LoopDisk], draw: random.Random) -> None:
        self.journal = Journal()
        self.lost: list[str] = []
        self.cuts = 0
        self.cuts_while_starting = 0
        self._members = members
        self._disks = disks
        self._draw = draw

    def live_until_cut(self) -> None:
        if self._draw.random() < CUT_WHILE_STARTING:
            self._switch_on()
            time.sleep(self._draw.random() * STARTING_SECONDS)
            self._cut()
            self.cuts_while_starting += 1
        else:
            self.start()
            asyncio.run(self._load_until_cut())
        self.cuts += 1
        self._members.kill()
        for disk in self._disks:
            disk.unmount()
            disk.mount()

    def start(self) -> None:
        """Starts them all and looks for what is lost. A member that refuses to start has lost everything."""
        try:
            self._members.start()
            found, index = eventually(lambda: _state(self._draw.choice(self._members)), "linearizable read")
        except AssertionError as reason:
            self.lost.append(str(reason))
        else:
            self.lost += self.journal.settle(found, index)

    async def _load_until_cut(self) -> None:
        stop = asyncio.Event()
        load = asyncio.create_task(
            write_until(stop, [member.url for member in self._members], self._draw, self.journal)
        )
        await asyncio.sleep(self._draw.random() * LOAD_SECONDS)
        await asyncio.to_thread(self._cut)
        stop.set()
        await asyncio.to_thread(self._members.kill)
        await load

    def _cut(self) -> None:
        for disk in self._draw.sample(self._disks, len(self._disks)):
            disk.cut(self._draw.choice(list(Cut)))

    def _switch_on(self) -> None:
        for member in self._members:
            member.start()


def _state(member: Member) -> tuple[dict[str, str], int] | None:
    """All values by key, and the index of the newest."""
    answer = member.request("GET", "/v2/keys/?recursive=true&quorum=true")
    if answer.status != 200:
        return None
    nodes = list(_leaves(answer.node))
    return {node["key"]: node["value"] for node in nodes}, max((node["modifiedIndex"] for node in nodes), default=0)


def _leaves(node: Any) -> Iterator[Any]:
    if "value" in node:
        yield node
    for child in node.get("nodes", ()):
        yield from _leaves(child)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=300)
    parser.add_argument("--cluster", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--lying-fsync", action="store_true")
    arguments = parser.parse_args()
    impossible = why_impossible()
    if impossible is not None:
        parser.error(impossible)
    print(f"seed {arguments.seed}", flush=True)
    draw = random.Random(arguments.seed)
    variables = LYING_FSYNC if arguments.lying_fsync else {}
    lost = False
    for count, cuts in ((1, arguments.single), (3, arguments.cluster)):
        if cuts == 0:
            continue
        with tempfile.TemporaryDirectory(prefix="powercut-") as directory:
            report = run(Path(directory), count, cuts, draw, variables)
        lost |= bool(report.lost)
        print("; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in _shown(report).items()), flush=True)
    return 1 if lost else 0


def _shown(report: Report) -> dict[str, Any]:
    return report._replace(lost=[*report.lost[:SHOWN], *(["…"] if len(report.lost) > SHOWN else [])])._asdict()


if __name__ == "__main__":
    sys.exit(main())
