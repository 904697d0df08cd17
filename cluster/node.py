"""The runtime of one member: the one task that owns the `RawNode`.

Whatever comes in (messages, ticks, proposals, reads) waits on a list. The task takes all of it, steps all of it,
takes one `Ready` and processes it, again and again: consensus, disk and network are paid once for everything that
was waiting, and a lone write still leaves at once. Nothing but this task touches the `RawNode`; everything else here
puts something on a list and wakes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from cluster.applier import Applier
from cluster.batching import MAX_COMMAND_BYTES, Asked, Batching
from cluster.clock import ClusterClock
from cluster.codec import (
    PREFIX_SIZE,
    Kind,
    Proposal,
    pack_commands,
    pack_proposal,
    pack_value,
    prefix_of,
    with_prefix,
)
from cluster.errors import (
    ClusterError,
    NoSpace,
    RequestTimeout,
    RequestTimeoutLeaderFailure,
    RequestTooLarge,
    Stopped,
    TooManyRequests,
)
from cluster.membership import Member, Membership, MembershipError
from cluster.pending import Done, Pending, Waiting
from cluster.reads import ReadDone, Reads
from cluster.ready import StoragePort, TransportPort, process_ready
from cluster.reconfiguration import check_reconfiguration
from raft.errors import ProposalDropped, StepRefused
from raft.messages import NONE, ConfChange, ConfChangeType, Entry, EntryType, Message, MessageType, Ready, Role
from raft.rawnode import RawNode

log = logging.getLogger(__name__)

MAX_WAITING_MESSAGES = 10_000
"""Beyond this, messages from peers are dropped: raft repeats what matters."""

ANNOUNCE_SECONDS = 0.001
"""How long the news of what is committed waits for entries to travel with."""

TELL_TIME = frozenset({MessageType.HEARTBEAT, MessageType.VOTE_RESP})
"""What carries cluster time to other members."""


class NodeConfig(NamedTuple):
    """Durations in seconds. `strict_reconfig` refuses membership changes that would lose the quorum."""

    member_id: int
    election_timeout: float
    request_timeout: float
    strict_reconfig: bool = False


class NodeStatus(NamedTuple):
    """This member now, as its raft sees things. `lead` is 0 while nobody leads."""

    member_id: int
    lead: int
    term: int
    role: int
    raft_index: int
    applied_index: int


class ClusterNode:
    """One member, running. Callbacks handed to it are called from its task and must not raise."""

    def __init__(
        self,
        config: NodeConfig,
        raw: RawNode,
        storage: StoragePort,
        transport: TransportPort,
        applier: Applier,
        membership: Membership,
        pending: Pending,
        clock: ClusterClock,
        next_id: Callable[[], int],
        monotonic: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        on_applied: Callable[[], None],
    ) -> None:
        """`on_applied` is told after each `Ready`, with nothing of it left to do: the moment for a snapshot or for
        peers."""
        self.membership = membership
        self.leader_changes = 0
        self.proposals_failed = 0
        self.lead_elected_at = 0.0
        self.stopping = False
        self._config = config
        self._raw = raw
        self._storage = storage
        self._transport = transport
        self._applier = applier
        self._pending = pending
        self._clock = clock
        self._next_id = next_id
        self._monotonic = monotonic
        self._call_later = call_later
        self._on_applied = on_applied
        self._messages: list[Message] = []
        self._unreachable: set[int] = set()
        self._snapshots_sent: list[tuple[int, bool]] = []
        self._campaigns = False
        self._transfer_to = NONE
        self._ticked = False
        self._announces = False
        self._announces_later = False
        self._batching = Batching()
        self._undelivered: list[tuple[int, Waiting]] = []
        self._reads = Reads()
        self._seen_term = 0
        self._wakeup = asyncio.Event()

    # What others may ask. Each call returns at once.

    @property
    def status(self) -> NodeStatus:
        raw = self._raw
        return NodeStatus(self._config.member_id, raw.lead, raw.term, raw.role, raw.commit, self._applier.applied_index)

    @property
    def term(self) -> int:
        return self._raw.term

    @property
    def raft_index(self) -> int:
        """The highest index known to be committed."""
        return self._raw.commit

    @property
    def is_leader(self) -> bool:
        return self._raw.role == Role.LEADER

    @property
    def proposals_pending(self) -> int:
        """How many wait: commands not proposed yet, and proposals not applied yet."""
        return len(self._batching) + len(self._undelivered) + len(self._pending)

    def now_ns(self) -> int:
        """Cluster time, as well as this member knows it."""
        return self._clock.now_ns()

    def propose(self, command: Any, done: Done) -> None:
        """Replicates one command; `done` gets the state machine's result, or a `ClusterError` once that cannot be
        known any more."""
        refusal = self._refusal()
        if refusal is not None:
            done(refusal)
            return
        packed = pack_value(command)
        if len(packed) > MAX_COMMAND_BYTES:
            done(RequestTooLarge())
            return
        self._batching.ask(Asked(packed, done, self._monotonic()))
        self._wakeup.set()

    def _refusal(self) -> ClusterError | None:
        if self.stopping:
            return Stopped()
        if not self._storage.has_room:
            return NoSpace()
        return TooManyRequests() if self._batching.full else None

    def publish(self, member: Member, done: Done) -> None:
        """Tells the cluster this member's name and client URLs."""
        self._propose_one(Kind.ATTRIBUTES, [member.id, member.name, member.client_urls], done)

    def change_membership(self, change_type: ConfChangeType, member: Member, done: Done) -> None:
        """Proposes one change. `done` gets None when it is in force, or the `MembershipError` or `ClusterError` that
        prevented it."""
        proposal_id = self._next_id()
        change = ConfChange(change_type, member.id, pack_value([proposal_id, member]))
        try:
            if len(change.context) > MAX_COMMAND_BYTES:
                raise RequestTooLarge
            self.membership.check(change, member)
            if self._config.strict_reconfig:
                check_reconfiguration(change, self.membership.voters, self.reachable())
        except (MembershipError, ClusterError) as refusal:
            done(refusal)
            return
        self._deliver_later(proposal_id, change, [done], self._monotonic())

    def reachable(self) -> set[int]:
        """The members that can be reached now, this one among them."""
        others = (member.id for member in self.membership.members)
        return {self._config.member_id, *(id_ for id_ in others if self._transport.active_since(id_) is not None)}

    def read_index(self, done: ReadDone) -> None:
        """`done` gets None once this member's state is at least as new as any answer given before this call, or a
        `ClusterError`."""
        self._reads.ask(done, self._monotonic())
        self._wakeup.set()

    def receive(self, message: Message) -> None:
        """A message from a peer."""
        if len(self._messages) < MAX_WAITING_MESSAGES:
            self._messages.append(message)
            self._wakeup.set()

    def tick(self) -> None:
        """One heartbeat interval has passed. Ticks that come while the disk is slow count once: a late member is no
        dead leader."""
        self._ticked = True
        self._expire()
        self._wakeup.set()

    def report_unreachable(self, member_id: int) -> None:
        """Messages to that member were lost."""
        self._unreachable.add(member_id)
        self._wakeup.set()

    def report_snapshot(self, member_id: int, ok: bool) -> None:
        """The fate of a snapshot sent to that member."""
        self._snapshots_sent.append((member_id, ok))
        self._wakeup.set()

    def campaign(self) -> None:
        """Has this member stand for election now, if it may."""
        self._campaigns = True
        self._wakeup.set()

    def transfer_leadership(self) -> bool:
        """Asks the member that is furthest to take over, if this one leads and is not alone; says whether it did."""
        progress = self._raw.status().progress
        voters = set(self._raw.conf_state.voters) - {self._config.member_id}
        candidates = [(peer.match, member_id) for member_id, peer in progress.items() if member_id in voters]
        if candidates:
            self._transfer_to = max(candidates)[1]
            self._wakeup.set()
        return bool(candidates)

    def stop(self) -> None:
        """Ends `run` after the `Ready` in work; whoever waits gets `Stopped`."""
        self.stopping = True
        self._wakeup.set()

    # The task.

    async def run(self) -> None:
        """Runs until `stop`, or raises what the storage raised: then this member must not go on."""
        try:
            while not self.stopping:
                await self._wakeup.wait()
                self._wakeup.clear()
                await self.work()
        finally:
            self.stopping = True
            self._fail_everything(Stopped())

    async def work(self) -> None:
        """Takes in all that waits and processes one `Ready` after another until none is left. It awaits the storage
        alone, so a simulator can drive it without an event loop; only one may be under way at a time."""
        self._take_inputs()
        while self._raw.has_ready(announce=self._announces) and not self.stopping:
            await self._process_one_ready()
            self._take_inputs()
        self._announces = False
        self._announce_later()

    def _announce_later(self) -> None:
        """What is committed is told with the next entries, or without them if none come soon."""
        if not self._announces_later and self._raw.has_ready():
            self._announces_later = True
            self._call_later(ANNOUNCE_SECONDS, partial(self._announce, self._raw.commit))

    def _announce(self, commit: int) -> None:
        self._announces_later = False
        if self._raw.commit != commit:  # entries are flowing
            self._announce_later()
            return
        self._announces = True
        self._wakeup.set()

    async def _process_one_ready(self) -> None:
        ready = self._raw.ready(announce=self._announces)
        if ready.soft_state is not None:
            self._note_leader()
        await process_ready(self._with_time(ready), self._storage, self._transport, self._applier)
        self._raw.advance(ready)
        self._clock.not_before(self._applier.stamp_ns)
        self._reads.confirm(ready.read_states)
        self._reads.answer(self._applier.applied_index)
        self._propose_dead_again()
        self._on_applied()

    def _note_leader(self) -> None:
        self.leader_changes += 1
        self.lead_elected_at = self._monotonic()
        self._reads.ask_again(sent_before=self.lead_elected_at + 1)
        if self.is_leader:
            self._clock.lead()

    def _with_time(self, ready: Ready) -> Ready:
        """The leader's heartbeats carry cluster time, so that followers can go on from it; so do votes, as whoever wins
        may have heard no heartbeat since it started."""
        if not any(message.type in TELL_TIME for message in ready.messages + ready.persisted_messages):
            return ready
        return ready._replace(
            messages=self._stamped(ready.messages), persisted_messages=self._stamped(ready.persisted_messages)
        )

    def _stamped(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        now = self._clock.now_ns() if self.is_leader or self._clock.is_known else 0
        return tuple(message._replace(stamp_ns=now) if message.type in TELL_TIME else message for message in messages)

    def _propose_dead_again(self) -> None:
        if self._applier.applied_term > self._seen_term:
            self._seen_term = self._applier.applied_term
            self._undelivered += self._pending.take_dead(self._seen_term)

    def _take_inputs(self) -> None:
        messages, self._messages = self._messages, []
        for message in messages:
            self._step(message)
        self._take_reports()
        if self._ticked:
            self._ticked = False
            self._raw.tick()
        if self._raw.lead != NONE:
            self._deliver_waiting()

    def _take_reports(self) -> None:
        for member_id in sorted(self._unreachable):
            self._raw.report_unreachable(member_id)
        for member_id, ok in self._snapshots_sent:
            self._raw.report_snapshot(member_id, ok)
        self._unreachable.clear()
        self._snapshots_sent.clear()
        if self._campaigns:
            self._campaigns = False
            self._raw.campaign()
        if self._transfer_to != NONE:
            self._raw.transfer_leader(self._transfer_to)
            self._transfer_to = NONE

    # Messages in.

    def _step(self, message: Message) -> None:
        if message.type == MessageType.PROP:
            self._step_forwarded(message)
            return
        try:
            self._raw.step(message)
        except StepRefused as refusal:
            log.warning(
                "peer's message refused", extra={"fields": {"from": f"{message.sender:x}", "why": str(refusal)}}
            )
        if message.stamp_ns and message.sender == self._raw.lead and message.term == self._raw.term:
            self._clock.hear(message.stamp_ns)
        elif message.stamp_ns and message.type == MessageType.VOTE_RESP and message.term == self._raw.term:
            self._clock.hear_voter(message.stamp_ns)

    def _step_forwarded(self, message: Message) -> None:
        """A follower's proposal counts only for the term it was meant for (see `pending`)."""
        if not self.is_leader:
            return
        for entry in message.entries:
            if entry.type == EntryType.NORMAL and prefix_of(entry.data) != self._raw.term:
                continue
            self._append_forwarded(message.sender, entry)

    def _append_forwarded(self, sender: int, entry: Entry) -> None:
        data = entry.data
        if entry.type == EntryType.NORMAL:
            data = with_prefix(self._clock.stamp_ns(), data[PREFIX_SIZE:])
        stamped = Message(MessageType.PROP, self._config.member_id, sender, entries=(entry._replace(data=data),))
        try:
            self._raw.step(stamped)
        except (ProposalDropped, StepRefused):
            log.debug("forwarded proposal dropped")

    # Proposals out.

    def _propose_one(self, kind: Kind, body: list[Any], done: Done) -> None:
        proposal_id = self._next_id()
        payload = pack_proposal(Proposal(kind, proposal_id, body))
        self._deliver_later(proposal_id, payload, [done], self._monotonic())

    def _deliver_later(self, proposal_id: int, payload: bytes | ConfChange, waiters: list[Done], begun: float) -> None:
        deadline = begun + self._config.request_timeout
        self._undelivered.append((proposal_id, Waiting(0, begun, deadline, waiters, payload)))
        self._wakeup.set()

    def _deliver_waiting(self) -> None:
        for batch in self._batching.take_batches() if len(self._batching) else ():
            proposal_id = self._next_id()
            payload = pack_commands(proposal_id, [asked.packed for asked in batch])
            self._deliver_later(proposal_id, payload, [asked.done for asked in batch], batch[0].begun)
        undelivered, self._undelivered = self._undelivered, []
        for proposal_id, waiting in undelivered:
            self._deliver(proposal_id, waiting)
        if len(self._reads):
            self._raw.read_index(self._reads.begin_round(self._monotonic()))

    def _deliver(self, proposal_id: int, waiting: Waiting) -> None:
        raw = self._raw
        try:
            if isinstance(waiting.payload, ConfChange):
                raw.propose_conf_change(waiting.payload)
            elif self.is_leader:
                raw.propose(with_prefix(self._clock.stamp_ns(), waiting.payload))
            else:
                raw.propose(with_prefix(raw.term, waiting.payload))
        except ProposalDropped:
            self._undelivered.append((proposal_id, waiting))
            return
        self._pending.add(proposal_id, waiting._replace(term=raw.term))

    # The end of patience.

    def _expire(self) -> None:
        """Not part of the task, which may be waiting for the disk: patience ends all the same."""
        now = self._monotonic()
        begun_before = now - self._config.request_timeout
        self._reads.ask_again(sent_before=now - self._config.election_timeout)
        for reading in self._reads.take_expired(begun_before):
            reading.done(self._timeout(reading.begun))
        for asked in self._batching.take_expired(begun_before):
            self.proposals_failed += 1
            asked.done(self._timeout(asked.begun))
        overdue = [waiting for _, waiting in self._undelivered if waiting.deadline <= now]
        self._undelivered = [item for item in self._undelivered if item[1].deadline > now]
        for waiting in overdue + self._pending.take_expired(now):
            self._fail(waiting, self._timeout(waiting.begun))

    def _timeout(self, begun: float) -> ClusterError:
        lead_lost_at = self.lead_elected_at - 2 * self._config.election_timeout
        if lead_lost_at < begun < self.lead_elected_at:
            return RequestTimeoutLeaderFailure()
        return RequestTimeout()

    def _fail(self, waiting: Waiting, error: ClusterError) -> None:
        self.proposals_failed += len(waiting.waiters)
        for done in waiting.waiters:
            done(error)

    def _fail_everything(self, error: ClusterError) -> None:
        for batch in self._batching.take_batches():
            for asked in batch:
                asked.done(error)
        for waiting in [waiting for _, waiting in self._undelivered] + self._pending.take_all():
            self._fail(waiting, error)
        self._undelivered = []
        for reading in self._reads.take_expired(float("inf")):
            reading.done(error)
