"""Where the leader's time goes: `python -m bench.profile`, with `--help` for what can be chosen.

Runs three members of etcdpy, loads the leader with wrk and samples it with py-spy (`pip install py-spy`). Prints
the functions that had the processor, as microseconds for each request.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from . import wrk
from .__main__ import DATA
from .errors import BenchError
from .loader import load
from .result import ETCDPY
from .scale import KEYS
from .servers import Member, Product, plan, run

_RATE = 500
"""Samples per second."""

_SHOWN = 40


class Cost(NamedTuple):
    """Microseconds per request in a function alone (`own`), and with all that it called (`total`)."""

    function: str
    own: float
    total: float


@click.command()
@click.option("--connections", default=64, show_default=True)
@click.option("--seconds", default=10, show_default=True)
@click.option("--method", type=click.Choice(["PUT", "GET"]), default="PUT", show_default=True)
@click.option("--etcdpy", default=str(Path(sys.executable).with_name("etcdpy")), help="The etcdpy to look into.")
def main(connections: int, seconds: int, method: str, etcdpy: str) -> None:
    """Print what a request costs the leader, function by function."""
    for needed in ("py-spy", "wrk"):
        if _program(needed) is None:
            raise click.ClickException(f"no `{needed}`: `pip install py-spy` and `apt-get install wrk`")
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="profile-", dir=DATA) as directory:
        with run(plan(Product(ETCDPY, etcdpy), Path(directory, "cluster"))) as cluster:
            leader = cluster.leader()
            load(leader.address, 0, KEYS)
            stacks = Path(directory, "stacks")
            requests = _sample(leader, stacks, connections, seconds, method)
        _print(costs(stacks.read_text().splitlines(), requests), requests / seconds)


def _sample(leader: Member, stacks: Path, connections: int, seconds: int, method: str) -> int:
    """Load the leader while py-spy looks at it. Returns how many requests were answered in the time."""
    spy = [str(_program("py-spy")), "record", "--pid", str(leader.process.pid), "--duration", str(seconds)]
    spy += ["--rate", str(_RATE), "--nonblocking", "--function", "--format", "raw", "--output", str(stacks)]
    sampler = subprocess.Popen(spy, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        generate = wrk.put if method == "PUT" else wrk.get
        found = generate(leader.address, connections, seconds)
        _, complaint = sampler.communicate(timeout=30)
    finally:
        sampler.kill()
    if sampler.returncode != 0:
        raise BenchError(f"py-spy: {complaint.strip()}")
    return int(found.rate * seconds)


def costs(stacks: list[str], requests: int) -> list[Cost]:
    """Read collapsed stacks (`outer;inner 12`), dearest function first. py-spy leaves out what is idle."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for frames, samples in _parse(stacks):
        own[frames[-1]] += samples
        total.update(dict.fromkeys(frames, samples))
    each = 1e6 / _RATE / requests
    found = [Cost(function, own[function] * each, total[function] * each) for function in total]
    return sorted(found, key=lambda cost: (-cost.own, -cost.total))


def _parse(stacks: list[str]) -> Iterator[tuple[list[str], int]]:
    for line in stacks:
        frames, _, samples = line.rpartition(" ")
        yield frames.split(";"), int(samples)


def _print(found: list[Cost], rate: float) -> None:
    click.echo(f"{rate:,.0f} requests/s, {sum(cost.own for cost in found):.1f} µs of the leader for each\n")
    click.echo("| function | own µs | with callees µs |\n|---|---:|---:|")
    for cost in found[:_SHOWN]:
        click.echo(f"| {cost.function} | {cost.own:.2f} | {cost.total:.2f} |")


def _program(name: str) -> str | None:
    """A program from the PATH or from beside the interpreter."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


if __name__ == "__main__":
    main()
