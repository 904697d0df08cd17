"""What must hold after every step: one file for each promise, with the section that makes it.

An invariant is a class whose methods are told what happens (see `tests/sim/watch.py`); it raises through
`watch.world.fail`. Each looks only at what is new since it last looked.
"""

from __future__ import annotations

from typing import Any

from .answers import Answers
from .append_rules import AppendRules
from .applied_state_equal import AppliedStateEqual
from .cluster_time import ClusterTime
from .commit_by_majority import CommitByMajority
from .committed_immutable import CommittedImmutable
from .elected_by_majority import ElectedByMajority
from .election_safety import ElectionSafety
from .election_timeouts import ElectionTimeouts
from .leader_append_only import LeaderAppendOnly
from .leader_completeness import LeaderCompleteness
from .leaving import Leaving
from .linearizability import Linearizability
from .log_matching import LogMatching
from .match_index import MatchIndex
from .never_back import NeverBack
from .no_refusals import NoRefusals
from .one_change import OneChange
from .promises_kept import PromisesKept
from .promotion import PromotedWhenCaughtUp
from .quick_repair import QuickRepair
from .quorum_heard import QuorumHeard
from .read_index import ReadIndexNeverBehind
from .reads_confirmed import ReadsConfirmed
from .snapshots_in_order import SnapshotsInOrder
from .state_machine_model import StateMachineModel
from .state_machine_safety import StateMachineSafety
from .terms_obeyed import TermsObeyed
from .transfer_ends import TransferEnds
from .ttl import Ttl
from .watch_contract import WatchContract

ALL: list[type[Any]] = [
    TermsObeyed,
    AppendRules,
    NoRefusals,
    ElectedByMajority,
    ElectionSafety,
    ElectionTimeouts,
    LeaderAppendOnly,
    LogMatching,
    MatchIndex,
    QuickRepair,
    CommitByMajority,
    CommittedImmutable,
    LeaderCompleteness,
    StateMachineSafety,
    NeverBack,
    PromisesKept,
    SnapshotsInOrder,
    TransferEnds,
    OneChange,
    Leaving,
    PromotedWhenCaughtUp,
    QuorumHeard,
    ReadsConfirmed,
    ReadIndexNeverBehind,
    StateMachineModel,
    Answers,
    AppliedStateEqual,
    ClusterTime,
    Ttl,
    WatchContract,
    Linearizability,
]
