"""Bugs that Raft stores have had, put back one at a time by patching at run time. Each must be caught.

A mutant is a function that replaces attributes of the product through `put`, or an edit of one place (`edits.py`);
everything is as it was afterwards. The `bug` names the class of mistake and who has made it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from cluster import applier, clock, node, pending, reads, ready, snapshotter
from cluster.errors import TooManyRequests
from cluster.failures import DiskFull
from cluster.wal import repair, segment, wal
from etcdpy import state_machine
from etcdpy.store import event_history, snapshot, ttl_heap, watcher_hub
from raft import candidate, follower, leader, log, progress, quorum, raft, read_only, step, tracker
from raft.messages import NONE, ReadState

from .editing import edited, find, replaced
from .edits import EDITS, Edit

Put = Callable[[Any, str, Any], None]


class Mutant(NamedTuple):
    """`seeds` is how many may be needed to catch it."""

    name: str
    bug: str
    patch: Callable[[Put], None] | Edit
    seeds: int


MUTANTS: list[Mutant] = []


def _mutant(bug: str, seeds: int = 50) -> Callable[[Callable[[Put], None]], Callable[[Put], None]]:
    def register(patch: Callable[[Put], None]) -> Callable[[Put], None]:
        MUTANTS.append(Mutant(patch.__name__, bug, patch, seeds))
        return patch

    return register


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    if isinstance(mutant.patch, Edit):
        function = find(mutant.patch.where)
        with replaced(function, edited(function, mutant.patch.old, mutant.patch.new)):
            yield
        return
    before: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    mutant.patch(put)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


# Elections.


@_mutant("promises leave before the save (hashicorp/raft 661)")
def promises_are_sent_at_once(put: Put) -> None:
    put(raft.Raft, "promise", raft.Raft.send)


@_mutant("the own vote counts before it is on disk (etcd raft, CandidateSelfVoteAfterLostElection)")
def own_vote_counts_at_once(put: Put) -> None:
    ask = candidate._ask_for_votes

    def ask_and_count(machine: Any, context: bytes) -> None:
        ask(machine, context)
        candidate._count_vote(machine, machine.id, granted=True)

    put(candidate, "_ask_for_votes", ask_and_count)


@_mutant("the vote is cleared though the term did not change (etcd raft 9d2a465)")
def vote_is_forgotten_within_the_term(put: Put) -> None:
    reset = raft.Raft._reset

    def forget(self: Any, term: int) -> None:
        reset(self, term)
        self.vote = NONE

    put(raft.Raft, "_reset", forget)


@_mutant("two votes in one term (a wiped voter: tikv 9579)")
def votes_for_everybody(put: Put) -> None:
    handle = candidate.handle_vote_request

    def forget_first(machine: Any, message: Any) -> None:
        machine.vote = machine.lead = NONE
        handle(machine, message)

    put(step.candidate, "handle_vote_request", forget_first)


@_mutant("logs are compared by length alone (openraft a48a3282)", seeds=500)
def longer_log_wins(put: Put) -> None:
    put(log.Log, "is_up_to_date", lambda self, index, term: index >= self.last_index)


@_mutant("half is a majority (hashicorp/raft 163a55f)")
def half_elects(put: Put) -> None:
    for module in (quorum, tracker):
        put(module, "majority", lambda voters: max(1, voters // 2))


# Replication and commit.


@_mutant("a follower commits what the leader has, not what it has itself (etcd raft b927fa8)")
def follower_commits_too_much(put: Put) -> None:
    handle = follower.handle_append

    def handle_and_commit(machine: Any, message: Any) -> None:
        handle(machine, message)
        machine.log.commit = max(machine.log.commit, min(message.commit, machine.log.last_index))

    put(step, "_FOLLOWER", step._FOLLOWER)
    handlers = dict(step.HANDLERS)
    handlers[0] = {**step._FOLLOWER, step.APP: handle_and_commit}
    put(step, "HANDLERS", handlers)


@_mutant("a late append cuts off what follows it (hashicorp/raft 0f31a01)")
def late_append_truncates(put: Put) -> None:
    put(log.Log, "_from_conflict", lambda self, entries: entries)


@_mutant("a leader counts its own entry before it is on its disk (etcd 14370)")
def leader_counts_unsaved(put: Put) -> None:
    append = raft.Raft.append

    def append_and_count(self: Any, entry_type: int, data: bytes) -> None:
        append(self, entry_type, data)
        own = self.tracker.progress.get(self.id)
        if own is not None and own.maybe_update(self.log.last_index):
            self.maybe_commit()

    put(raft.Raft, "append", append_and_count)


@_mutant("what is committed is applied before it is on the own disk (etcd 14370)")
def applies_unsaved(put: Put) -> None:
    put(log.Log, "stable_index", property(lambda self: self.last_index))


@_mutant("the commit index goes back (etcd raft 8ecce32)")
def commit_goes_back(put: Put) -> None:
    put(log.Log, "commit_to", lambda self, index: setattr(self, "commit", index))


@_mutant("a follower sends before its disk has it (thesis, 10.2.1)")
def acknowledges_before_the_save(put: Put) -> None:
    async def process(what: Any, disk: Any, transport: Any, machine: Any) -> None:
        transport.send(what.messages + what.persisted_messages)
        saved = disk.save(what.hard_state, what.entries, what.snapshot, must_sync=what.must_sync)
        machine.apply(what.committed_entries)
        await saved
        machine.restore(what.snapshot)

    put(node, "process_ready", process)
    put(ready, "process_ready", process)


@_mutant("the window of unacknowledged messages leaks (etcd raft a370b6f)")
def window_leaks(put: Put) -> None:
    put(progress.Inflights, "free_to", lambda self, index: None)
    put(progress.Inflights, "free_first", lambda self: None)


@_mutant("a member whose snapshot failed is never tried again (openraft 1795)", seeds=200)
def failed_snapshot_is_forgotten(put: Put) -> None:
    put(leader, "report_snapshot", lambda machine, member, ok: None)


@_mutant("a repeated proposal is applied twice (etcd raft 8608063)")
def repeats_what_may_live(put: Put) -> None:
    def take(self: Any, applied_term: int) -> Any:
        found = [id_ for id_, waiting in self._waiting.items() if waiting.term <= applied_term]
        return [(id_, self._waiting.pop(id_)) for id_ in found]

    put(pending.Pending, "take_dead", take)


@_mutant("a write that may still commit is answered as not done (redisraft 23)")
def unknown_is_called_failed(put: Put) -> None:
    put(node.ClusterNode, "_timeout", lambda self, begun: TooManyRequests())


# Reads.


@_mutant("a deposed leader answers from its own state (etcd 741)")
def reads_are_not_confirmed(put: Put) -> None:
    def take(self: Any, voters: Any, own: int) -> Any:
        rounds = list(self._open)
        self._open.clear()
        self._open_requests = 0
        return rounds

    put(read_only.ReadRounds, "take_confirmed", take)


@_mutant("reads before the first commit of the term (etcd 12680)", seeds=300)
def reads_before_own_commit(put: Put) -> None:
    put(raft.Raft, "committed_in_term", property(lambda self: True))


@_mutant("a read is answered before its index is applied (etcd 13464)")
def answers_before_applied(put: Put) -> None:
    answer = reads.Reads.answer
    put(reads.Reads, "answer", lambda self, applied_index: answer(self, 1 << 62))


@_mutant("a dropped read is answered all the same (rqlite 1944)")
def dropped_reads_are_answered(put: Put) -> None:
    confirm = reads.Reads.confirm

    def confirm_all(self: Any, states: Any) -> None:
        confirm(self, [ReadState(state.index or 1, state.context) for state in states])

    put(reads.Reads, "confirm", confirm_all)


# Members.


@_mutant("a change is proposed while another is pending, or before the term's first commit (Ongaro, raft-dev 2015)")
def changes_overlap(put: Put) -> None:
    put(leader, "_check_conf_change", lambda machine, entries: None)


@_mutant("a snapshot brings no members (openraft dba24036)")
def snapshot_without_members(put: Put) -> None:
    restore = applier.Applier.restore

    def restore_some(self: Any, taken: Any) -> None:
        members = self._membership.pack() if self._membership.members else None
        restore(self, taken)
        if members is not None and taken is not None:
            self._membership.load([members[0], [list(one) for one in members[1]], members[2]])

    put(applier.Applier, "restore", restore_some)


# Snapshots.


@_mutant("an older snapshot is taken in (etcd 453133977)", seeds=200)
def older_snapshots_count(put: Put) -> None:
    def maybe_restore(machine: Any, taken: Any) -> bool:
        machine.restore(taken)
        return True

    put(follower, "_maybe_restore", maybe_restore)


@_mutant("a snapshot gets its name before it is synced (etcd ab0ccdc4d)", seeds=100)
def snapshot_is_not_synced(put: Put) -> None:
    put(snapshotter._TemporaryFile, "_sync", lambda self: None)


@_mutant("a snapshot that stops short is accepted (openraft 2eccb9e1)", seeds=200)
def short_snapshots_are_accepted(put: Put) -> None:
    put(snapshotter.ReceivedSnapshot, "commit", lambda self: self._finish())


@_mutant("a snapshot without the TTLs (etcd 14571, 14649)")
def snapshot_without_deadlines(put: Put) -> None:
    put(ttl_heap.TtlHeap, "load", lambda self, deadlines: None)


@_mutant("a snapshot without the history of events (etcd 15271)")
def snapshot_without_history(put: Put) -> None:
    put(snapshot, "_slot", lambda row: None)


# Disk.


@_mutant("the log is never synced (etcd 14140)")
def log_is_not_synced(put: Put) -> None:
    put(segment.SegmentFile, "sync", lambda self, offset=0: None)
    put(wal.WAL, "sync", lambda self: self.synced(None))


@_mutant("a new segment is not synced before it gets its name (etcd 53792ccbd)", seeds=100)
def segment_is_not_synced(put: Put) -> None:
    def cut(self: Any, batch: Any, name: Any) -> None:
        sync = segment.SegmentFile.sync
        segment.SegmentFile.sync = lambda self, offset=0: None  # type: ignore[method-assign,assignment]
        try:
            original(self, batch, name)
        finally:
            segment.SegmentFile.sync = sync  # type: ignore[method-assign]

    original = wal.WAL._cut
    put(wal.WAL, "_cut", cut)


@_mutant("names are not synced (etcd 6368)", seeds=100)
def names_are_not_synced(put: Put) -> None:
    put(wal, "_name_durably", lambda disk, old, new: disk.rename(old, new))


@_mutant("damage in the middle is cut off like a torn tail (FAST'18)", seeds=500)
def damage_is_cut_off(put: Put) -> None:
    put(repair._Segment, "_judge", lambda self, reason, torn: setattr(self, "torn", reason))


@_mutant("a torn tail stops the member (etcd 4903)", seeds=100)
def torn_tails_are_refused(put: Put) -> None:
    judge = repair._Segment._judge
    put(repair._Segment, "_judge", lambda self, reason, torn: judge(self, reason, torn=False))


@_mutant("a failed fsync is ignored (ATC'20)", seeds=200)
def failed_fsync_is_ignored(put: Put) -> None:
    def sync(self: Any, offset: int = 0) -> None:
        try:
            self._disk.fdatasync(self._handle)
        except OSError:
            return

    put(segment.SegmentFile, "sync", sync)


@_mutant("a failed fsync is forgotten at the next start (ATC'20)", seeds=200)
def cache_is_trusted(put: Put) -> None:
    put(wal, "write_again", lambda disk, path, start, end: None)


@_mutant("a full disk counts as written (bbolt, lackOfDiskSpace)", seeds=300)
def full_disk_is_ignored(put: Put) -> None:
    write = wal.WAL.write

    def write_or_not(self: Any, batch: Any, sync: bool = True) -> None:
        try:
            write(self, batch, sync=sync)
        except DiskFull:
            return

    put(wal.WAL, "write", write_or_not)


# The state machine, watches, time.


@_mutant("apply looks at a clock of its own")
def apply_has_its_own_clock(put: Put) -> None:
    apply_one, counter = state_machine.EtcdStateMachine._apply_one, itertools.count()
    put(
        state_machine.EtcdStateMachine,
        "_apply_one",
        lambda self, command, now_ns: apply_one(self, command, now_ns + next(counter)),
    )


@_mutant("each leader goes by its own wall clock (etcd 2508, 9768)", seeds=200)
def leaders_go_by_their_wall_clocks(put: Put) -> None:
    put(clock.ClusterClock, "hear", lambda self, stamp_ns: None)


@_mutant("watchers miss what a snapshot jumps over (etcd 15271)", seeds=300)
def watchers_do_not_catch_up(put: Put) -> None:
    put(watcher_hub.WatcherHub, "catch_up", lambda self, history, after_index: None)


@_mutant("a watch that goes on misses the first event (etcd 17529)", seeds=200)
def resumed_watches_lose_one(put: Put) -> None:
    scan = event_history.EventHistory.scan
    put(
        event_history.EventHistory,
        "scan",
        lambda self, path, recursive, since: scan(self, path, recursive, since + (self.oldest_index <= since)),
    )


@_mutant("a watch begins in a history that is gone, in silence (etcd v2)", seeds=300)
def lost_history_is_silent(put: Put) -> None:
    scan = event_history.EventHistory.scan
    put(
        event_history.EventHistory,
        "scan",
        lambda self, path, recursive, since: scan(self, path, recursive, max(since, self.oldest_index)),
    )


MUTANTS.extend(Mutant(edit.name, edit.bug, edit, edit.seeds) for edit in EDITS)
