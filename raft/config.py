"""What one consensus machine is told at its birth."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from raft.messages import NONE

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Durations are in ticks, sizes in bytes of entry data.

    `random` decides the election timeouts and nothing else; members must not share a seed (hashicorp/raft issue 50).
    `applied` is the index up to which the caller's state machine already holds the log; raft hands out what follows.
    Raises ValueError for values that cannot work.
    """

    id: int
    random: Random
    applied: int = 0
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    check_quorum: bool = True
    max_entries_bytes_per_message: int = MIB
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 32 * MIB
    max_uncommitted_bytes: int = 64 * MIB
    max_committed_bytes_per_ready: int = 8 * MIB
    max_waiting_reads: int = 4096

    def __post_init__(self) -> None:
        if self.id == NONE:
            raise ValueError("id must not be 0")
        if self.applied < 0:
            raise ValueError("applied must not be negative")
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError("election_ticks must be greater than heartbeat_ticks, and both positive")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")


_POSITIVE = (
    "max_entries_bytes_per_message",
    "max_inflight_messages",
    "max_inflight_bytes",
    "max_uncommitted_bytes",
    "max_committed_bytes_per_ready",
    "max_waiting_reads",
)
