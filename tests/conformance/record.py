"""Records the answers in the scenario files again, from the real etcd.

    python -m tests.conformance.record [file ...]

Questions, comments and the answers marked `~` or `!` are kept; everything that etcd said is written anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .scenario import FOLDER, WITHOUT_ANSWER, parse, render
from .servers import etcd
from .session import play


def record(path: Path) -> int:
    """Rewrite one file with what a fresh etcd answers; the number of answers recorded."""
    scenarios = list(parse(path.read_text().split("\n")))
    count = 0
    with etcd() as server:
        for scenario in scenarios[1:]:
            for step, answer in play(scenario, server):
                step.recorded = answer
                count += step.verb not in WITHOUT_ANSWER
    path.write_text(render(scenarios))
    return count


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.txt"))
    counts = {path: record(path) for path in paths}
    for path, count in counts.items():
        print(f"{count:5} {path.name}")
    print(f"{sum(counts.values()):5} answers recorded")


if __name__ == "__main__":
    main()
