"""One test for each rule of the Raft paper (extended version), section cited."""

from __future__ import annotations

from random import Random

import pytest
from network import Network

from raft.config import Config
from raft.errors import StepRefused
from raft.messages import ConfState, Entry, HardState, Message, MessageType, Role, Snapshot
from raft.rawnode import RawNode
from raft.storage import MemoryStorage

APP, APP_RESP = MessageType.APP, MessageType.APP_RESP
VOTE, VOTE_RESP = MessageType.VOTE, MessageType.VOTE_RESP
HEARTBEAT = MessageType.HEARTBEAT


def entries(*terms: int, first: int = 1) -> tuple[Entry, ...]:
    """A log whose entries have these terms."""
    return tuple(Entry(term, index) for index, term in enumerate(terms, first))


def member(
    *terms: int, term: int = 0, vote: int = 0, commit: int = 0, voters: int = 3
) -> tuple[RawNode, MemoryStorage]:
    """Member 1 with this log and hard state on disk."""
    storage = MemoryStorage(ConfState(tuple(range(1, voters + 1))))
    storage.save(HardState(max(term, *terms, 0), vote, commit), entries(*terms), None)
    return RawNode(Config(id=1, random=Random(1), pre_vote=False), storage), storage


def settle(raw: RawNode, storage: MemoryStorage) -> list[Message]:
    """Pays the Readys of one member; returns what it sent."""
    sent: list[Message] = []
    while raw.has_ready():
        ready = raw.ready()
        storage.save(ready.hard_state, ready.entries, ready.snapshot)
        raw.advance(ready)
        sent += [*ready.messages, *ready.persisted_messages]
    return sent


def lead(*terms: int, voters: int = 3) -> tuple[RawNode, MemoryStorage]:
    """Member 1 as leader of the term after the last one, chosen by everybody; what it sent is gone."""
    raw, storage = member(*terms, voters=voters)
    raw.campaign()
    settle(raw, storage)
    for other in range(2, voters + 1):
        raw.step(Message(VOTE_RESP, 1, other, raw.term))
    assert raw.role == Role.LEADER
    settle(raw, storage)
    return raw, storage


def answer(raw: RawNode, storage: MemoryStorage, message: Message) -> Message:
    raw.step(message)
    (sent,) = [message for message in settle(raw, storage) if message.type not in (APP, HEARTBEAT)]
    return sent


# 5.1 Raft basics.


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_5_1_a_server_that_sees_a_larger_term_takes_it_and_follows(role: Role) -> None:
    raw, storage = lead() if role == Role.LEADER else member()
    if role == Role.CANDIDATE:
        raw.campaign()
        settle(raw, storage)
    assert raw.role == role
    raw.step(Message(APP, 1, 2, raw.term + 4))
    assert (raw.role, raw.term, raw.lead) == (Role.FOLLOWER, {0: 4, 2: 5, 3: 5}[role], 2)


@pytest.mark.parametrize(("request_type", "answer_type"), [(VOTE, VOTE_RESP), (APP, APP_RESP), (HEARTBEAT, APP_RESP)])
def test_5_1_a_request_with_a_stale_term_is_rejected(request_type: MessageType, answer_type: MessageType) -> None:
    raw, storage = member(1, 5)
    settle(raw, storage)
    sent = answer(raw, storage, Message(request_type, 1, 2, 3))
    assert (sent.type, sent.term, sent.to) == (answer_type, 5, 2)
    assert sent.reject or sent.index == 0
    assert (raw.term, raw.lead) == (5, 0)


# 5.2 Leader election.


def test_5_2_servers_begin_as_followers() -> None:
    assert member()[0].role == Role.FOLLOWER


def test_5_2_a_leader_sends_heartbeats_to_all_followers() -> None:
    raw, storage = lead()
    raw.tick()
    beats = [message for message in settle(raw, storage) if message.type == HEARTBEAT]
    assert [(beat.to, beat.term) for beat in beats] == [(2, 1), (3, 1)]


def test_5_2_a_follower_that_hears_nothing_begins_an_election() -> None:
    raw, storage = member(1)
    for _ in range(20):
        raw.tick()
    sent = settle(raw, storage)
    assert (raw.role, raw.term) == (Role.CANDIDATE, 2)
    assert storage.initial_state()[0].vote == 1
    assert sent == [Message(VOTE, other, 1, 2, log_term=1, index=1) for other in (2, 3)]


def test_5_2_a_follower_that_hears_its_leader_stays_a_follower() -> None:
    raw, storage = member(1)
    for _ in range(100):
        raw.step(Message(HEARTBEAT, 1, 2, 1))
        raw.tick()
        settle(raw, storage)
    assert (raw.role, raw.term) == (Role.FOLLOWER, 1)


@pytest.mark.parametrize(
    ("voters", "granted", "refused", "role"),
    [
        (1, (), (), Role.LEADER),
        (3, (2, 3), (), Role.LEADER),
        (3, (2,), (), Role.LEADER),
        (3, (2,), (3,), Role.LEADER),
        (5, (2, 3), (), Role.LEADER),
        (4, (2,), (), Role.CANDIDATE),
        (4, (2, 3), (), Role.LEADER),
        (3, (), (2, 3), Role.FOLLOWER),
        (5, (2,), (3, 4, 5), Role.FOLLOWER),
        (4, (), (2, 3), Role.FOLLOWER),
        (3, (), (), Role.CANDIDATE),
        (5, (2,), (), Role.CANDIDATE),
        (3, (7, 8), (), Role.CANDIDATE),
    ],
)
def test_5_2_a_candidate_wins_with_the_votes_of_a_majority_of_the_full_cluster(
    voters: int, granted: tuple[int, ...], refused: tuple[int, ...], role: Role
) -> None:
    raw, storage = member(voters=voters)
    raw.campaign()
    settle(raw, storage)
    for voter in granted + granted:  # a vote that arrives twice counts once
        raw.step(Message(VOTE_RESP, 1, voter, raw.term))
    for voter in refused:
        raw.step(Message(VOTE_RESP, 1, voter, raw.term, reject=True))
    assert raw.role == role


@pytest.mark.parametrize(("vote", "candidate", "granted"), [(0, 2, True), (2, 2, True), (3, 2, False), (1, 2, False)])
def test_5_2_a_server_votes_for_at_most_one_candidate_in_a_term(vote: int, candidate: int, granted: bool) -> None:
    raw, storage = member(1, vote=vote)
    sent = answer(raw, storage, Message(VOTE, 1, candidate, 1, log_term=1, index=1))
    assert sent == Message(VOTE_RESP, candidate, 1, 1, reject=not granted)
    assert storage.initial_state()[0].vote == (candidate if granted else vote)


@pytest.mark.parametrize("ahead", [0, 1])
def test_5_2_a_candidate_that_hears_a_leader_of_its_term_or_later_gives_way(ahead: int) -> None:
    raw, storage = member()
    raw.campaign()
    settle(raw, storage)
    raw.step(Message(APP, 1, 3, raw.term + ahead))
    assert (raw.role, raw.lead, raw.term) == (Role.FOLLOWER, 3, 1 + ahead)


def test_5_2_a_candidate_that_wins_nothing_starts_again_with_a_new_term() -> None:
    raw, storage = member()
    raw.campaign()
    settle(raw, storage)
    for _ in range(20):
        raw.tick()
    settle(raw, storage)
    assert (raw.role, raw.term) == (Role.CANDIDATE, 2)


def test_5_2_election_timeouts_are_spread_over_an_interval() -> None:
    waits = set()
    for seed in range(200):
        raw = RawNode(Config(id=1, random=Random(seed)), MemoryStorage(ConfState((1, 2, 3))))
        ticks = 0
        while raw.role == Role.FOLLOWER:
            raw.tick()
            ticks += 1
        waits.add(ticks)
    assert waits == set(range(10, 20))


# 5.3 Log replication.


def test_5_3_a_leader_appends_a_command_and_sends_it_to_all_in_parallel() -> None:
    raw, storage = lead()
    for follower in (2, 3):
        raw.step(Message(APP_RESP, 1, follower, 1, index=1))
    settle(raw, storage)
    raw.propose(b"x")
    sent = settle(raw, storage)
    assert sent == [
        Message(APP, other, 1, 1, log_term=1, index=1, entries=(Entry(1, 2, 0, b"x"),), commit=1) for other in (2, 3)
    ]
    assert storage.entries(2, 3, 100) == [Entry(1, 2, 0, b"x")]


@pytest.mark.parametrize(
    ("voters", "acks", "committed"),
    [(1, 0, True), (2, 0, False), (2, 1, True), (3, 0, False), (3, 1, True), (4, 1, False), (4, 2, True), (5, 2, True)],
)
def test_5_3_an_entry_is_committed_once_a_majority_has_it(voters: int, acks: int, committed: bool) -> None:
    raw, storage = lead(voters=voters)
    raw.propose(b"x")
    settle(raw, storage)
    for follower in range(2, 2 + acks):
        raw.step(Message(APP_RESP, 1, follower, 1, index=2))
    assert raw.commit == (2 if committed else 0)


def test_5_3_committing_commits_all_that_came_before_of_earlier_leaders_too() -> None:
    raw, _storage = lead(1, 1, 2)
    raw.step(Message(APP_RESP, 1, 2, 3, index=4))
    assert raw.commit == 4


def test_5_3_a_leader_tells_the_highest_committed_index_and_followers_apply_in_order() -> None:
    net = Network(3)
    net.elect(1)
    net.propose(1, b"a", b"b", b"c")
    assert {member: node.data for member, node in net.nodes.items()} == {key: [b"a", b"b", b"c"] for key in (1, 2, 3)}
    assert [entry.index for entry in net.nodes[2].applied] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("prev_term", "prev_index", "reject"),
    [(0, 0, False), (1, 1, False), (2, 2, False), (1, 2, True), (2, 3, True), (3, 2, True)],
)
def test_5_3_a_follower_refuses_entries_unless_it_has_the_one_before(
    prev_term: int, prev_index: int, reject: bool
) -> None:
    raw, storage = member(1, 2, term=3)
    sent = answer(raw, storage, Message(APP, 1, 2, 3, log_term=prev_term, index=prev_index))
    assert (sent.type, sent.reject, sent.index) == (APP_RESP, reject, prev_index)


@pytest.mark.parametrize(
    ("prev", "new", "log"),
    [
        ((2, 2), (3,), (1, 2, 3)),  # what is missing is added
        ((1, 1), (3, 4), (1, 3, 4)),  # a conflict goes, with all that follows
        ((0, 0), (1,), (1, 2)),  # what is there already stays, and so does what follows
        ((0, 0), (3,), (3,)),
        ((1, 1), (2,), (1, 2)),
        ((2, 2), (), (1, 2)),
    ],
)
def test_5_3_a_conflicting_entry_and_all_that_follow_it_are_replaced(
    prev: tuple[int, int], new: tuple[int, ...], log: tuple[int, ...]
) -> None:
    raw, storage = member(1, 2, term=4)
    batch = entries(*new, first=prev[1] + 1)
    raw.step(Message(APP, 1, 2, 4, log_term=prev[0], index=prev[1], entries=batch))
    settle(raw, storage)
    assert [entry.term for entry in storage.entries(1, storage.last_index + 1, 100)] == list(log)


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ((1, 1, 1, 4, 4, 5, 5, 6, 6), "a"),
        ((1, 1, 1, 4), "b"),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6), "c"),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7), "d"),
        ((1, 1, 1, 4, 4, 4, 4), "e"),
        ((1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3), "f"),
    ],
)
def test_5_3_a_leader_brings_the_logs_of_figure_7_to_its_own(log: tuple[int, ...], name: str) -> None:
    net = Network(3)
    for node, terms in zip(net.nodes.values(), [(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), log, ()], strict=True):
        node.storage.save(HardState(max(7, *terms) if terms else 7), entries(*terms), None)
        node.start()
    net.elect(1)
    assert net.nodes[2].log == net.nodes[1].log == net.nodes[3].log, f"figure 7 ({name})"


# 5.4 Safety.


@pytest.mark.parametrize(
    ("own", "last", "granted"),
    [
        ((1,), (1, 1), True),
        ((1,), (2, 1), True),
        ((1, 1), (2, 1), True),  # the later term wins, though the log is shorter
        ((1, 1), (1, 1), False),
        ((2,), (1, 5), False),  # and an earlier term loses, though the log is longer
        ((1, 1), (1, 2), True),
    ],
)
def test_5_4_1_no_vote_for_a_candidate_whose_log_is_less_up_to_date(
    own: tuple[int, ...], last: tuple[int, int], granted: bool
) -> None:
    raw, storage = member(*own)
    sent = answer(raw, storage, Message(VOTE, 1, 2, 9, log_term=last[0], index=last[1]))
    assert sent.reject is not granted


@pytest.mark.parametrize(("acked", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_5_4_2_only_entries_of_the_own_term_are_committed_by_counting(acked: int, commit: int) -> None:
    raw, _ = lead(1, 2)
    raw.step(Message(APP_RESP, 1, 2, 3, index=acked))
    assert raw.commit == commit


# 5.5, 7, 8.


def test_5_5_rpcs_are_idempotent() -> None:
    raw, storage = member()
    message = Message(APP, 1, 2, 1, entries=entries(1, 1), commit=1)
    first, second = answer(raw, storage, message), answer(raw, storage, message)
    assert (first.index, raw.commit) == (2, 1)
    assert not second.reject
    assert storage.last_index == 2


def test_7_a_follower_too_far_behind_gets_a_snapshot_that_replaces_its_log() -> None:
    net = Network(3)
    net.elect(1)
    net.isolate(3)
    net.propose(1, b"a", b"b")
    net.nodes[1].compact()
    net.heal()
    net.tick(3)
    snapshot = Snapshot(3, 1, ConfState((1, 2, 3)))
    assert [message.snapshot for message in net.sent(MessageType.SNAP)] == [snapshot]
    assert net.nodes[3].storage.snapshot() == snapshot
    net.propose(1, b"c")
    assert net.nodes[3].data == [b"a", b"b", b"c"]


def test_7_a_snapshot_of_a_prefix_of_the_log_leaves_what_follows() -> None:
    raw, storage = member(1, 1, 1)
    sent = answer(raw, storage, Message(MessageType.SNAP, 1, 2, 1, snapshot=Snapshot(2, 1, ConfState((1, 2, 3)))))
    assert (sent.index, raw.commit, storage.last_index) == (2, 2, 3)


def test_8_a_new_leader_commits_an_entry_of_its_own_term_at_once() -> None:
    _raw, storage = lead(1)
    assert storage.entries(2, 3, 100) == [Entry(2, 2)]


def test_8_a_leader_confirms_that_it_leads_before_it_answers_a_read() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.isolate(1)
    leader.read_index(b"r")
    net.stabilize()
    assert net.nodes[1].read_states == []
    net.heal()
    net.tick(1)
    assert [(state.index, state.context) for state in net.nodes[1].read_states] == [(1, b"r")]


def test_figure_2_term_and_vote_are_on_disk_before_any_promise_leaves() -> None:
    raw, _ = member(1)
    raw.step(Message(VOTE, 1, 2, 5, log_term=1, index=1))
    ready = raw.ready()
    assert (ready.messages, ready.must_sync) == ((), True)
    assert ready.hard_state == HardState(5, 2, 0)
    assert ready.persisted_messages == (Message(VOTE_RESP, 2, 1, 5),)


def test_figure_3_two_leaders_in_one_term_cannot_be() -> None:
    raw, _ = lead()
    with pytest.raises(StepRefused):
        raw.step(Message(APP, 1, 2, 1))
