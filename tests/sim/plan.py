"""What one seed decides before anything happens: sizes, speeds, and the schedule of faults.

Each seed switches on some kinds of faults only, and draws its own sizes, so that rare combinations get their turn
("swarm testing"). Every fault draws from a stream of its own; leaving one out changes no other.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from raft.config import Config as RaftConfig

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND


class Fault(NamedTuple):
    """`step` is when it strikes; `number` names it in a shrunk schedule and seeds what it draws."""

    number: int
    step: int
    kind: str


FAULTS = {
    "kill": 3,
    "power_cut": 4,
    "power_cut_all": 1,
    "crash_in_call": 8,
    "split": 4,
    "isolate_leader": 5,
    "strand_leaders": 3,
    "one_way": 4,
    "lossy": 2,
    "duplicating": 2,
    "slow_network": 2,
    "pause": 4,
    "pause_leader": 3,
    "wall_jump": 2,
    "fsync_error": 1,
    "write_error": 1,
    "disk_full": 1,
    "slow_disk": 2,
    "bit_rot": 2,
    "transfer": 4,
    "change_and_transfer": 2,
    "kill_child": 1,
    "needless_snapshot": 2,
    "add_voter": 3,
    "add_learner": 2,
    "promote": 3,
    "remove": 4,
    "update": 2,
    "add_again": 1,
    "two_changes": 2,
    "heal": 3,
}


class Plan:
    def __init__(self, seed: int, steps: int) -> None:
        random = Random(f"{seed}/plan")
        self.steps = steps
        self.members = random.choice((1, 2, 3, 3, 3, 3, 4, 5, 5, 7))
        self.tick_ns = 100 * MILLISECOND
        self.election_ticks = random.choice((5, 10, 10))
        self.request_timeout_ns = random.choice((2, 4, 7)) * SECOND
        self.segment_bytes = random.choice((8, 16, 64)) * 1024
        self.snapshot_count = random.choice((10, 30, 100))
        self.catch_up_entries = random.choice((3, 10, 50))
        self.history_capacity = random.choice((30, 100))
        self.max_message_bytes = random.choice((100, 1000, 1 << 20))
        self.max_inflight = random.choice((1, 4, 256))
        self.max_committed_bytes = random.choice((200, 1 << 20))
        self.delay_ns = random.choice(
            ((100_000, MILLISECOND), (MILLISECOND, 10 * MILLISECOND), (MILLISECOND, 60 * MILLISECOND))
        )
        self.disk_ns = random.choice(((100_000, MILLISECOND), (MILLISECOND, 8 * MILLISECOND)))
        self.loss = random.choice((0.0, 0.0, 0.01, 0.05))
        self.duplication = random.choice((0.0, 0.01, 0.1))
        self.stragglers = random.choice((0.0, 0.003, 0.02))
        self.clients = random.choice((3, 5, 8))
        self.think_ns = random.choice((20, 60)) * MILLISECOND
        self.keys = random.choice((2, 4))
        self.ttl_ns = random.choice((1, 2, 4)) * SECOND
        self.rate_ppm = random.choice((0, 200, 10_000))
        self.strict_reconfig = random.random() < 0.5
        self.promotes = random.random() < 0.5
        self.wall_skew_ns = random.choice((0, 1, 30)) * SECOND
        self.faults = _schedule(Random(f"{seed}/faults"), steps)

    def raft_config(self, member_id: int, random: Random, applied: int) -> RaftConfig:
        return RaftConfig(
            id=member_id,
            random=random,
            applied=applied,
            election_ticks=self.election_ticks,
            max_entries_bytes_per_message=self.max_message_bytes,
            max_inflight_messages=self.max_inflight,
            max_committed_bytes_per_ready=self.max_committed_bytes,
        )


def _schedule(random: Random, steps: int) -> list[Fault]:
    kinds = [kind for kind in FAULTS if random.random() < 0.6] or ["kill"]
    weights = [FAULTS[kind] for kind in kinds]
    count = int(steps / random.choice((60, 120, 300)))
    at = sorted(random.randrange(100, max(101, steps)) for _ in range(count))
    drawn = random.choices(kinds, weights, k=count)
    return [Fault(number, step, kind) for number, (step, kind) in enumerate(zip(at, drawn, strict=True))]
