"""What must hold after every step: one file for each promise, with the section that makes it.

An invariant is a class whose methods are told what happens (see `tests/sim/watch.py`); it raises through
`watch.world.fail`. Each looks only at what is new since it last looked.
"""

from __future__ import annotations

from typing import Any

from .applied_state_equal import AppliedStateEqual
from .committed_immutable import CommittedImmutable
from .election_safety import ElectionSafety
from .leader_append_only import LeaderAppendOnly
from .leader_completeness import LeaderCompleteness
from .linearizability import Linearizability
from .log_matching import LogMatching
from .never_back import NeverBack
from .one_change import OneChange
from .promises_kept import PromisesKept
from .read_index import ReadIndexNeverBehind
from .state_machine_safety import StateMachineSafety
from .ttl import Ttl
from .watch_contract import WatchContract

ALL: list[type[Any]] = [
    ElectionSafety,
    LeaderAppendOnly,
    LogMatching,
    CommittedImmutable,
    LeaderCompleteness,
    StateMachineSafety,
    NeverBack,
    PromisesKept,
    ReadIndexNeverBehind,
    OneChange,
    AppliedStateEqual,
    Ttl,
    WatchContract,
    Linearizability,
]
