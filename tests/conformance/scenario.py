"""Scenario files: transcripts that a person writes the questions of and the real server the answers.

    == title                            a scenario: the tree is empty, `{+1}` is the next index
    > PUT /v2/keys/a value=b            method, target and, if any, a form body
    + Header: value                     further request headers, under the request
    < 201 Created; keys; index +1       what etcd answered (written by record.py; see normalise.py)
    ~ ...                               etcdpy's answer where etcd has a bug (--v2-quirks=etcd brings the bug back)
    ! ...                               etcdpy's answer where etcd is not to be copied at all
    # ...                               a comment; above `~` and `!` lines it gives the reason

Beside requests, `>` takes these steps:

    json METHOD target body             a body sent as application/json
    raw bytes                           on a connection of its own; (open) or (closed) tells how that was left
    peer METHOD target                  on the peer port
    watch w target                      begin a watch named w; its head is the answer
    event w, end w, silent w            its next line; the end of its body; nothing comes for a moment
    drain w                             read on until nothing comes, or it is closed
    close w                             hang up
    repeat n METHOD target form         n times the same request, answers unread
    expire target                       poll until the key is gone
    sleep seconds
    counters                            what /v2/stats/store has counted since the scenario began, without gets
    fields target                       the names in a JSON object
    metrics prefix                      names and types in /metrics
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "scenarios"
WITHOUT_ANSWER = ("sleep", "expire", "repeat", "close")


@dataclass(slots=True)
class Step:
    """One question of a transcript, its recorded answer, and the answer that etcdpy gives where it is not etcd's."""

    question: str
    headers: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def verb(self) -> str:
        return self.question.split(" ", 1)[0]

    def lines(self) -> Iterator[str]:
        yield f"> {self.question}"
        yield from (f"+ {line}" for line in self.headers)
        yield from (f"< {line}".rstrip() for line in self.recorded)
        yield from self.remarks
        yield from (f"~ {line}".rstrip() for line in self.fixed)
        yield from (f"! {line}".rstrip() for line in self.ours)

    def expected(self, *, quirks: bool) -> list[str]:
        """Return what etcdpy has to answer, with etcd's bugs or without."""
        return self.ours or (not quirks and self.fixed) or self.recorded


@dataclass(slots=True)
class Scenario:
    """Steps that belong together and start from an empty tree."""

    title: str
    steps: list[Step] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"== {self.title}"
        yield from self.remarks
        for step in self.steps:
            yield from step.lines()


def load(path: Path) -> list[Scenario]:
    """Read the scenarios of a file."""
    return list(parse(path.read_text().split("\n")))[1:]


def parse(lines: Iterable[str]) -> Iterator[Scenario]:
    """Yield a nameless scenario that holds the file's opening remarks, then each scenario."""
    scenario = Scenario("")
    for line in lines:
        mark, text = line[:1], line[2:]
        if line.startswith("== "):
            yield scenario
            scenario = Scenario(line[3:])
        elif mark == ">":
            scenario.steps.append(Step(text))
        elif mark and mark in "+<~!":
            step = scenario.steps[-1]
            {"+": step.headers, "<": step.recorded, "~": step.fixed, "!": step.ours}[mark].append(text)
        elif line:
            (scenario.steps[-1] if scenario.steps else scenario).remarks.append(line)
    yield scenario


def render(scenarios: Iterable[Scenario]) -> str:
    """Write scenarios as `parse` reads them."""
    blocks = ("\n".join(s.lines() if s.title else s.remarks) for s in scenarios)
    return "\n\n".join(blocks) + "\n"
