"""Everything one run found, as a value; JSON is its lasting form."""

from __future__ import annotations

import json
from typing import NamedTuple

from .machine import Machine
from .rows import Verdict, judge, table
from .scale import Scale
from .workloads import Figures

ETCD, ETCDPY = "etcd", "etcdpy"


class Result(NamedTuple):
    """`rounds` holds the figures of each product, round by round; `limits` those of the generators alone."""

    date: str
    scale: Scale
    machine: Machine
    versions: dict[str, str]
    limits: Figures
    rounds: dict[str, list[Figures]]
    failures: list[str]

    def verdicts(self) -> list[Verdict]:
        """The table, judged."""
        return [judge(row, self.rounds[ETCD], self.rounds[ETCDPY]) for row in table(self.scale)]

    def to_json(self) -> str:
        """All of it, the judged table included."""
        found = self._asdict() | {"scale": self.scale._asdict(), "machine": self.machine._asdict()}
        return json.dumps(found | {"table": [_flat(verdict) for verdict in self.verdicts()]}, indent=2) + "\n"


def _flat(verdict: Verdict) -> dict[str, object]:
    row = verdict.row
    return {**row._asdict(), "goal": str(row.goal), **{k: v for k, v in verdict._asdict().items() if k != "row"}}
