"""Fuzzes all targets in turn for a number of seconds: `python -m tests.fuzz --seconds 60 [target ...]`.

An input that a target accepts, or that is a finding, is kept in `corpus/<target>/`; findings end the run with code 1,
and are replayed by `test_fuzz_corpus.py` from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

from .mutation import mutate
from .targets import TARGETS, seeds

CORPUS = Path(__file__).parent / "corpus"
TURN_SECONDS = 0.5
MAX_KEPT = 16
MAX_KEPT_BYTES = 2048


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.joinpath(name).glob("*"))]


def keep(name: str, data: bytes, prefix: str = "") -> Path:
    path = CORPUS / name / f"{prefix}{hashlib.sha1(data).hexdigest()[:16]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class Campaign:
    """One target with all that mutation begins with."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs = 0
        self.findings: dict[str, Path] = {}
        self._target = TARGETS[name]
        self._corpus = seeds(name) + corpus(name)

    def run(self, dice: random.Random) -> None:
        end = time.monotonic() + TURN_SECONDS
        while time.monotonic() < end:
            self._try(mutate(self._corpus, dice))
            self.inputs += 1

    def _try(self, data: bytes) -> None:
        try:
            accepted = self._target(data)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            if place not in self.findings:
                self.findings[place] = keep(self.name, data, "finding-")
            return
        if accepted and len(self._corpus) < MAX_KEPT and len(data) <= MAX_KEPT_BYTES:
            self._corpus.append(data)
            keep(self.name, data)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    options = parser.parse_args()
    dice = random.Random(options.seed)
    campaigns = [Campaign(name) for name in options.targets]
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        for campaign in campaigns:
            campaign.run(dice)
    print(f"seed {options.seed}")
    for campaign in campaigns:
        print(f"{campaign.inputs:9} {campaign.name}")
        for place, path in campaign.findings.items():
            print(f"          {place}: {path}")
    return 1 if any(campaign.findings for campaign in campaigns) else 0


if __name__ == "__main__":
    sys.exit(main())
