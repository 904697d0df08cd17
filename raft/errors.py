"""What the consensus machine and its storage refuse to do, by name."""

from __future__ import annotations


class RaftError(Exception):
    """The base of everything that raft raises on purpose."""


class ProposalDropped(RaftError):
    """The proposal did not enter the log and never will; it may be proposed again."""


class ConfChangeRefused(ProposalDropped):
    """A membership change that must not enter the log now (thesis, section 4.1) or that makes no sense at all."""


class StepRefused(RaftError):
    """A message no honest member would send to this one. Nothing was changed by it; drop it and log it."""


class ReadyOutstanding(RaftError):
    """`ready()` was called before the last Ready was handed back to `advance()`, or `advance()` with another one."""


class StorageError(RaftError):
    """The storage cannot give what was asked, or holds what cannot be."""


class Compacted(StorageError):
    """The index lies before the first entry that the log still holds: a snapshot replaced it."""


class Unavailable(StorageError):
    """The index lies after the last entry that the log holds."""
