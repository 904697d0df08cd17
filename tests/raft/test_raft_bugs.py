"""What other Raft implementations got wrong, one test for each class of mistake that a consensus core can make."""

from __future__ import annotations

from random import Random

import pytest
from network import Network
from test_raft_paper import APP, APP_RESP, HEARTBEAT, VOTE, VOTE_RESP, answer, entries, lead, member, settle

from raft import confchange
from raft.config import Config
from raft.errors import ConfChangeRefused, ProposalDropped, ReadyOutstanding, StepRefused, StorageError
from raft.messages import (
    ConfChange,
    ConfChangeType,
    ConfState,
    HardState,
    Message,
    MessageType,
    ReadState,
    Role,
    Snapshot,
)
from raft.progress import ProgressState
from raft.rawnode import RawNode
from raft.storage import MemoryStorage

ADD, REMOVE, LEARN = ConfChangeType.ADD_VOTER, ConfChangeType.REMOVE, ConfChangeType.ADD_LEARNER
PRE_VOTE, PRE_VOTE_RESP = MessageType.PRE_VOTE, MessageType.PRE_VOTE_RESP
HEARTBEAT_RESP, SNAP, PROP = MessageType.HEARTBEAT_RESP, MessageType.SNAP, MessageType.PROP
READ_INDEX, READ_INDEX_RESP = MessageType.READ_INDEX, MessageType.READ_INDEX_RESP

# Elections.


def test_the_own_vote_does_not_count_before_it_is_on_disk() -> None:
    raw, _ = member(voters=2)
    raw.campaign()
    ready = raw.ready()
    assert [message.type for message in ready.persisted_messages] == [VOTE]
    assert ready.messages == ()
    raw.step(Message(VOTE_RESP, 1, 2, 1))
    assert raw.role == Role.CANDIDATE, "one vote of two"
    raw.advance(ready)
    assert raw.role == Role.LEADER


def test_the_own_vote_of_a_lost_election_counts_for_nothing() -> None:
    raw, _ = member(voters=2)
    raw.campaign()
    ready = raw.ready()
    raw.step(Message(HEARTBEAT, 1, 2, 5))
    raw.campaign()
    assert (raw.role, raw.term) == (Role.CANDIDATE, 6)
    raw.advance(ready)
    raw.step(Message(VOTE_RESP, 1, 2, 6))
    assert raw.role == Role.CANDIDATE


def test_a_single_voter_leads_only_after_its_vote_is_on_disk() -> None:
    raw, storage = member(voters=1)
    raw.campaign()
    assert raw.role == Role.CANDIDATE
    settle(raw, storage)
    assert raw.role == Role.LEADER


def test_a_vote_outlives_a_change_of_role_in_the_same_term() -> None:
    raw, storage = member()
    answer(raw, storage, Message(VOTE, 1, 2, 1))
    raw._raft.become_pre_candidate()
    raw._raft.become_follower(1, 0)
    assert answer(raw, storage, Message(VOTE, 1, 3, 1)).reject
    assert storage.initial_state()[0] == HardState(1, 2, 0)


def test_the_same_candidate_gets_its_vote_again() -> None:
    raw, storage = member()
    assert not answer(raw, storage, Message(VOTE, 1, 2, 1)).reject
    assert not answer(raw, storage, Message(VOTE, 1, 2, 1)).reject


def test_a_vote_survives_a_restart() -> None:
    raw, storage = member()
    answer(raw, storage, Message(VOTE, 1, 2, 1))
    again = RawNode(Config(id=1, random=Random(1)), storage)
    assert answer(again, storage, Message(VOTE, 1, 3, 1)).reject


def test_members_with_their_own_randomness_do_not_stand_together() -> None:
    timeouts = {node.raw._raft.election_timeout for node in Network(7).nodes.values()}
    assert len(timeouts) > 1


def test_a_pre_candidate_forgets_leader_and_votes_and_keeps_its_term() -> None:
    net = Network(3)
    net.elect(1)
    raw = net[2]
    vote = raw.status().vote
    raw.campaign()
    assert (raw.role, raw.lead, raw.term, raw.status().vote) == (Role.PRE_CANDIDATE, 0, 1, vote)
    assert raw._raft.tracker.votes == {2: True}


def test_a_pre_vote_does_not_refresh_the_last_contact() -> None:
    raw, storage = member()
    for _ in range(9):
        raw.tick()
    assert not answer(raw, storage, Message(PRE_VOTE, 1, 2, 1)).reject
    assert raw._raft.election_elapsed == 9
    assert storage.initial_state()[0] == HardState(0, 0, 0)


def test_a_pre_candidate_of_an_old_term_learns_the_new_one() -> None:
    raw, storage = member(3)
    sent = answer(raw, storage, Message(PRE_VOTE, 1, 2, 2))
    assert (sent.type, sent.reject, sent.term) == (PRE_VOTE_RESP, True, 3)


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_member_that_comes_back_does_not_disturb_the_leader(pre_vote: bool) -> None:
    net = Network(3, pre_vote=pre_vote)
    net.elect(1)
    net.isolate(3)
    net.tick(60, members=[1, 2, 3])
    net.propose(1, b"x")
    term = net[1].term
    net.heal()
    net.tick(60)
    assert net.leaders != []
    assert net.nodes[3].data == [b"x"]
    if pre_vote:
        assert (net.leaders, net[1].term) == ([1], term)


def test_a_removed_member_does_not_disturb_the_leader() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.isolate(3)
    leader.propose_conf_change(ConfChange(REMOVE, 3))
    net.stabilize()
    net.heal()
    net.tick(100)
    assert (net.leaders, net[1].term) == ([1], 1)


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1), (1, 3), (3, 1)])
def test_a_one_way_cut_leaves_one_stable_leader(a: int, b: int) -> None:
    net = Network(3)
    net.elect(1)
    net.cut(a, b, one_way=True)
    net.tick(60)
    (leader,) = net.leaders
    term = net[leader].term
    net.tick(100)
    assert (net.leaders, net[leader].term) == ([leader], term)
    net.propose(leader, b"x")
    assert b"x" in net.nodes[leader].data


def test_a_leader_that_can_send_but_not_hear_steps_down() -> None:
    net = Network(3)
    net.elect(1)
    net.cut(2, 1, one_way=True)
    net.cut(3, 1, one_way=True)
    net.tick(60)
    assert net[1].role != Role.LEADER
    assert net.leaders != []


def test_a_leader_without_its_majority_steps_down_and_keeps_its_term() -> None:
    net = Network(3)
    net.elect(1)
    net.isolate(1)
    net.tick(21, members=[1])
    assert net[1].role in (Role.FOLLOWER, Role.PRE_CANDIDATE)
    assert (net[1].lead, net[1].term) == (0, 1)


@pytest.mark.parametrize("who", [4, 5])
def test_learners_and_strangers_never_stand(who: int) -> None:
    net = Network(3, learners=[4], outsiders=[5])
    net[who].campaign()
    for _ in range(100):
        net[who].tick()
    net.nodes[who].start()
    for _ in range(100):
        net[who].tick()
    assert (net[who].role, net[who].term) == (Role.FOLLOWER, 0)


def test_nobody_stands_with_a_committed_membership_change_to_apply() -> None:
    raw, _ = member(1)
    change = entries(1)[0]._replace(index=2, type=1, data=confchange.encode(ConfChange(REMOVE, 3)))
    raw.step(Message(APP, 1, 2, 1, log_term=1, index=1, entries=(change,), commit=2))
    raw.campaign()
    assert raw.role == Role.FOLLOWER


def test_nobody_stands_with_a_snapshot_to_save() -> None:
    raw, _ = member(1)
    raw.step(Message(SNAP, 1, 2, 1, snapshot=Snapshot(9, 1, ConfState((1, 2, 3)))))
    raw.campaign()
    assert raw.role == Role.FOLLOWER


def test_a_voter_that_believes_to_be_a_learner_votes() -> None:
    storage = MemoryStorage(ConfState((2, 3), (1,)))
    raw = RawNode(Config(id=1, random=Random(1)), storage)
    assert not answer(raw, storage, Message(VOTE, 1, 2, 1)).reject


# Leadership transfer.


def test_leadership_moves_within_a_round_trip_and_writes_go_on() -> None:
    net = Network(3)
    net.elect(1).transfer_leader(3)
    net.stabilize()
    assert net.leaders == [3]
    net.propose(1, b"x")
    assert net.nodes[1].data == [b"x"]


def test_a_follower_may_ask_for_the_leadership() -> None:
    net = Network(3)
    net.elect(1)
    net[2].transfer_leader(2)
    net.stabilize()
    assert net.leaders == [2]


@pytest.mark.parametrize("to", [1, 4, 9])
def test_leadership_goes_to_no_learner_no_stranger_and_not_to_itself(to: int) -> None:
    net = Network(3, learners=[4])
    leader = net.elect(1)
    leader.transfer_leader(to)
    assert leader.status().lead_transferee == 0
    net.propose(1, b"x")
    assert (net.leaders, net.nodes[1].data) == ([1], [b"x"])


def test_a_transfer_refuses_writes_and_ends_after_an_election_timeout() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.isolate(3)
    leader.transfer_leader(3)
    with pytest.raises(ProposalDropped):
        leader.propose(b"x")
    for _ in range(3):
        net.tick(3)
        leader.transfer_leader(3)  # asking again does not make it last longer
    net.tick(1)
    net.propose(1, b"x")
    assert net.nodes[1].data == [b"x"]


def test_a_transfer_ends_with_the_removal_of_its_target() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.isolate(3)
    leader.propose_conf_change(ConfChange(REMOVE, 3))
    leader.transfer_leader(3)
    net.stabilize()
    assert leader.status().lead_transferee == 0


# Replication and commit.


def test_a_follower_commits_no_further_than_the_last_new_entry() -> None:
    raw, storage = member(1, 1, 1, term=2)
    raw.step(Message(APP, 1, 2, 2, log_term=1, index=1, entries=entries(1, first=2), commit=3))
    settle(raw, storage)
    assert raw.commit == 2


def test_a_late_append_takes_nothing_away() -> None:
    raw, storage = member()
    raw.step(Message(APP, 1, 2, 1, entries=entries(1, 1, 1)))
    settle(raw, storage)
    sent = answer(raw, storage, Message(APP, 1, 2, 1, entries=entries(1)))
    assert (storage.last_index, sent.index) == (3, 1)


def test_what_is_before_a_compacted_entry_is_no_conflict() -> None:
    raw, storage = member(1, 1, 1, commit=3)
    settle(raw, storage)
    storage.create_snapshot(3, ConfState((1, 2, 3)))
    storage.compact(3)
    sent = answer(raw, storage, Message(APP, 1, 2, 1, log_term=1, index=1, entries=entries(1, 1, first=2)))
    assert (sent.reject, sent.index, storage.last_index) == (False, 3, 3)


def test_an_unknown_term_matches_nothing() -> None:
    raw, storage = member(1, 1, 1, commit=3)
    settle(raw, storage)
    storage.create_snapshot(3, ConfState((1, 2, 3)))
    storage.compact(3)
    log = raw._raft.log
    assert [log.term(index) for index in range(5)] == [None, None, None, 1, None]
    assert not log.matches(1, 0)
    assert not log.matches(4, 0)


def test_a_committed_entry_is_never_replaced() -> None:
    raw, storage = member(1, 1, commit=2, term=3)
    settle(raw, storage)
    with pytest.raises(StepRefused):
        raw._raft.log.maybe_append(1, 1, entries(2, first=2))
    assert storage.last_index == 2


@pytest.mark.parametrize(
    "message",
    [
        Message(APP_RESP, 1, 2, 1, index=99),
        Message(HEARTBEAT_RESP, 1, 2, 1, log_term=5),
        Message(APP_RESP, 1, 2, 1, index=-1),
        Message(APP_RESP, 7, 2, 1),
        Message(APP_RESP, 1, 1, 1),
        Message(APP_RESP, 1, 0, 1),
        Message(APP_RESP, 1, 2, 0),
        Message(99, 1, 2, 1),
        Message(APP, 1, 2, 1 << 64),
        Message(APP, 1, 2, 2, entries=entries(1, first=3)),
        Message(APP, 1, 2, 2, entries=entries(2, 1)),
        Message(APP, 1, 2, 2, entries=entries(3)),
        Message(APP, 1, 2, 2, log_term=1),
        Message(SNAP, 1, 2, 2),
        Message(SNAP, 1, 2, 2, snapshot=Snapshot(3, 3, ConfState((1, 2)))),
        Message(SNAP, 1, 2, 2, snapshot=Snapshot(3, 1, ConfState())),
        Message(SNAP, 1, 2, 2, snapshot=Snapshot(3, 1, ConfState((1, 2), (2,)))),
        Message(PROP, 1, 2),
        Message(PROP, 1, 2, entries=(entries(1)[0]._replace(type=7),)),
    ],
)
def test_a_message_that_cannot_be_is_refused_and_changes_nothing(message: Message) -> None:
    raw, _ = lead()
    before = raw.status()
    with pytest.raises(StepRefused):
        raw.step(message)
    assert raw.status() == before
    assert not raw.has_ready()


def test_a_heartbeat_cannot_commit_what_is_not_there() -> None:
    raw, _ = member(1)
    with pytest.raises(StepRefused):
        raw.step(Message(HEARTBEAT, 1, 2, 1, commit=5))
    assert raw.commit == 0


def test_a_late_refusal_does_not_take_next_back_below_match() -> None:
    raw, storage = lead()
    raw.step(Message(APP_RESP, 1, 2, 1, index=1))
    settle(raw, storage)
    for hint in (0, 1, 99):
        raw.step(Message(APP_RESP, 1, 2, 1, index=0, reject=True, reject_hint=hint))
        progress = raw.status().progress[2]
        assert (progress.match, progress.next, progress.state) == (1, 2, ProgressState.REPLICATE)


def test_learners_do_not_count_for_commit() -> None:
    net = Network(3, learners=[4])
    net.elect(1)
    net.isolate(2)
    net.isolate(3)
    net[1].propose(b"x")
    net.stabilize()
    assert net.nodes[4].log[-1] == net.nodes[1].log[-1]
    assert net[1].commit == 1


def test_an_unreachable_follower_is_probed_and_recovers() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.isolate(3)
    net.propose(1, b"a")
    leader.report_unreachable(3)
    assert leader.status().progress[3].state == ProgressState.PROBE
    net.propose(1, b"b", b"c")
    net.heal()
    net.tick(2)
    assert leader.status().progress[3].state == ProgressState.REPLICATE
    assert net.nodes[3].data == [b"a", b"b", b"c"]


def test_a_failed_snapshot_is_sent_again() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.isolate(3)
    net.propose(1, b"a")
    net.nodes[1].compact()
    net.heal()
    net.lose(SNAP)
    net.tick(3)
    assert net[3].commit == 1
    net.heal()
    net.tick(2)
    assert (leader.status().progress[3].state, net.nodes[3].data) == (ProgressState.REPLICATE, [b"a"])


def test_a_follower_slower_than_compaction_needs_one_snapshot_at_a_time() -> None:
    net = Network(3)
    net.elect(1)
    net.isolate(3)
    net.propose(1, b"a")
    net.nodes[1].compact()
    net.heal()
    for item in (b"b", b"c", b"d"):
        net.propose(1, item)
        net.nodes[1].compact()
        net.tick(1)
    assert net.nodes[3].data == [b"a", b"b", b"c", b"d"]
    assert len(net.sent(SNAP)) <= 2


def test_a_lost_window_opens_again() -> None:
    net = Network(3, max_inflight_messages=2)
    net.elect(1)
    net.lose(APP)
    net.propose(1, b"a", b"b", b"c", b"d")
    net.heal()
    net.tick(5)
    assert net.nodes[2].data == net.nodes[3].data == [b"a", b"b", b"c", b"d"]


def test_the_uncommitted_limit_is_given_back() -> None:
    net = Network(3, max_uncommitted_bytes=10)
    leader = net.elect(1)
    for _ in range(50):
        leader.propose(b"12345678")
        with pytest.raises(ProposalDropped):
            leader.propose(b"123")
        net.stabilize()
    assert leader._raft.uncommitted_bytes == 0
    leader.propose(b"one larger than the limit goes alone")


def test_uncommitted_entries_of_earlier_leaders_count() -> None:
    net = Network(3, max_uncommitted_bytes=10)
    net.elect(1)
    net.isolate(1)
    net[1].propose(b"12345678")
    net.stabilize()
    net.heal()
    for node in net.nodes.values():
        node.start()
    net.lose(APP_RESP)
    leader = net.elect(1)
    with pytest.raises(ProposalDropped):
        leader.propose(b"123")


def test_committed_entries_come_in_portions_and_none_is_lost() -> None:
    net = Network(3, max_committed_bytes_per_ready=1)
    net.elect(1)
    net.isolate(3)
    items = [b"%d" % number for number in range(20)]
    net.propose(1, *items)
    net.heal()
    net.tick(2)
    commits = [ready.hard_state.commit for ready in net.nodes[3].readies if ready.hard_state]
    assert net.nodes[3].data == items
    assert commits == sorted(commits)
    assert all(len(ready.committed_entries) <= 1 for ready in net.nodes[3].readies)


def test_a_single_voter_commits_only_what_is_on_its_disk() -> None:
    raw, _storage = lead(voters=1)
    raw.propose(b"x")
    ready = raw.ready()
    assert (raw.commit, ready.committed_entries) == (1, ())
    raw.advance(ready)
    assert raw.commit == 2


def test_a_leader_counts_its_own_log_only_when_it_is_on_disk() -> None:
    raw, _ = lead(voters=2)
    raw.propose(b"x")
    ready = raw.ready()
    raw.step(Message(APP_RESP, 1, 2, 1, index=2))
    assert raw.commit == 1, "the no-op was on both disks before"
    raw.advance(ready)
    assert raw.commit == 2


def test_entries_that_the_others_committed_are_applied_only_when_on_the_own_disk() -> None:
    raw, storage = lead()
    for follower in (2, 3):
        raw.step(Message(APP_RESP, 1, follower, 1, index=1))
    settle(raw, storage)
    raw.propose(b"x")
    ready = raw.ready()
    for follower in (2, 3):
        raw.step(Message(APP_RESP, 1, follower, 1, index=2))
    assert (raw.commit, ready.committed_entries) == (2, ())
    storage.save(ready.hard_state, ready.entries, ready.snapshot)
    raw.advance(ready)
    assert [entry.data for entry in raw.ready().committed_entries] == [b"x"]


def test_a_save_of_entries_replaced_meanwhile_counts_for_nothing() -> None:
    raw, storage = member()
    raw.step(Message(APP, 1, 2, 1, entries=entries(1, 1)))
    ready = raw.ready()
    raw.step(Message(APP, 1, 3, 2, entries=entries(2, 2)))
    storage.save(ready.hard_state, ready.entries, ready.snapshot)
    raw.advance(ready)
    assert raw._raft.log.stable_index == 0
    assert raw.ready().entries == entries(2, 2)


def test_a_long_divergent_tail_is_repaired_in_few_round_trips() -> None:
    net = Network(3)
    for node, terms in zip(net.nodes.values(), [(1, *[3] * 500), (1, *[2] * 500), ()], strict=True):
        node.storage.save(HardState(3), entries(*terms), None)
        node.start()
    net.elect(1)
    assert net.nodes[2].log == net.nodes[1].log
    assert len([message for message in net.sent(APP_RESP) if message.sender == 2 and message.reject]) <= 2


def test_a_forwarded_proposal_is_not_forwarded_again() -> None:
    net = Network(3)
    net.elect(1)
    with pytest.raises(ProposalDropped):
        net[2].step(Message(PROP, 2, 3, entries=entries(1)))


def test_one_message_carries_new_entries_and_the_news_of_the_commit() -> None:
    raw, _storage = lead()
    for follower in (2, 3):
        raw.step(Message(APP_RESP, 1, follower, 1, index=1))
    raw.propose(b"a")
    raw.propose(b"b")
    appends = raw.ready().messages
    assert [(message.to, len(message.entries), message.commit) for message in appends] == [(2, 2, 1), (3, 2, 1)]
    assert appends[0].entries is appends[1].entries


# Reads.


def test_a_read_waits_until_the_leader_has_committed_in_its_term() -> None:
    net = Network(3)
    net.lose(APP_RESP)
    net.elect(1).read_index(b"r")
    net.tick(2)
    assert net.nodes[1].read_states == []
    net.heal()
    net.tick(2)
    assert net.nodes[1].read_states == [ReadState(1, b"r")]


def test_reads_that_wait_together_share_one_round() -> None:
    net = Network(3)
    leader = net.elect(1)
    for number in range(10):
        leader.read_index(b"%d" % number)
    net.stabilize()
    assert net.nodes[1].read_states == [ReadState(1, b"%d" % number) for number in range(10)]
    assert len(net.sent(HEARTBEAT)) == 2


def test_an_answer_to_an_old_heartbeat_confirms_no_new_read() -> None:
    raw, storage = lead()
    raw.step(Message(APP_RESP, 1, 2, 1, index=1))
    settle(raw, storage)
    raw.read_index(b"old")
    old = settle(raw, storage)[0].context
    raw.read_index(b"new")
    settle(raw, storage)
    raw.step(Message(HEARTBEAT_RESP, 1, 2, 1, context=old))
    assert raw.ready().read_states == (ReadState(1, b"old"),)


def test_equal_contexts_of_two_members_do_not_mix() -> None:
    net = Network(3)
    for member_id in (1, 2, 3):
        if member_id == 1:
            net.elect(1)
        net[member_id].read_index(b"same")
    net.stabilize()
    assert [node.read_states for node in net.nodes.values()] == [[ReadState(1, b"same")]] * 3


def test_a_late_answer_confirms_no_later_read_of_the_same_context() -> None:
    net = Network(3)
    net.elect(1)
    net[2].read_index(b"r")
    (late,) = [message for message in net.nodes[2].process() if message.type == READ_INDEX]
    net[2].campaign()
    assert net[2].ready().read_states == (ReadState(0, b"r"),)
    net = Network(3)
    net.elect(1)
    net[2].read_index(b"r")
    net.stabilize()
    net[2].read_index(b"r")
    net.nodes[2].process()
    net[2].step(Message(READ_INDEX_RESP, 2, 1, 1, index=1, context=late.context))
    assert net.nodes[2].read_states == [ReadState(1, b"r")]


@pytest.mark.parametrize("who", [1, 2])
def test_reads_are_dropped_aloud_when_leadership_goes(who: int) -> None:
    net = Network(3)
    net.elect(1)
    net.isolate(1)
    net[who].read_index(b"r")
    net.tick(40)
    assert net.nodes[who].read_states == [ReadState(0, b"r")]


def test_a_read_lost_on_the_way_is_dropped_aloud() -> None:
    net = Network(3)
    net.elect(1)
    net.lose(READ_INDEX)
    net[2].read_index(b"r")
    net.tick(21)
    assert net.nodes[2].read_states == [ReadState(0, b"r")]


def test_without_a_leader_a_read_is_dropped_at_once() -> None:
    raw, _ = member()
    raw.read_index(b"r")
    assert raw.ready().read_states == (ReadState(0, b"r"),)


def test_a_member_that_does_not_lead_refuses_a_read() -> None:
    raw, storage = member(1)
    sent = answer(raw, storage, Message(READ_INDEX, 1, 2, context=b"12345678"))
    assert (sent.type, sent.index, sent.context) == (READ_INDEX_RESP, 0, b"12345678")


def test_learners_do_not_confirm_reads() -> None:
    net = Network(3, learners=[4])
    leader = net.elect(1)
    net.isolate(2)
    net.isolate(3)
    leader.read_index(b"r")
    net.tick(3)
    assert net.nodes[1].read_states == []


def test_a_single_voter_answers_reads_by_itself() -> None:
    net = Network(1)
    net.elect(1).read_index(b"r")
    net.stabilize()
    assert net.nodes[1].read_states == [ReadState(1, b"r")]


def test_waiting_reads_are_bounded() -> None:
    net = Network(3, max_waiting_reads=2)
    leader = net.elect(1)
    for number in range(3):
        leader.read_index(b"%d" % number)
    net.stabilize()
    assert sorted(net.nodes[1].read_states) == [ReadState(0, b"2"), ReadState(1, b"0"), ReadState(1, b"1")]


# Membership.


def test_no_membership_change_before_an_entry_of_the_own_term_is_committed() -> None:
    raw, _ = lead()
    with pytest.raises(ConfChangeRefused):
        raw.propose_conf_change(ConfChange(ADD, 4))


def test_one_membership_change_at_a_time() -> None:
    net = Network(3)
    leader = net.elect(1)
    leader.propose_conf_change(ConfChange(ADD, 4))
    with pytest.raises(ConfChangeRefused):
        leader.propose_conf_change(ConfChange(REMOVE, 3))
    net.stabilize()
    leader.propose_conf_change(ConfChange(REMOVE, 3))
    net.stabilize()
    assert leader.conf_state == ConfState((1, 2, 4))


def test_a_refused_change_lets_the_next_one_pass() -> None:
    net = Network(3)
    leader = net.elect(1)
    net.nodes[1].apply = lambda ready: [
        leader.apply_conf_change(None) for entry in ready.committed_entries if entry.type
    ]  # type: ignore[assignment, method-assign, return-value]
    leader.propose_conf_change(ConfChange(ADD, 4))
    net.stabilize()
    assert leader.conf_state == ConfState((1, 2, 3))
    leader.propose_conf_change(ConfChange(ADD, 5))


def test_the_last_voter_cannot_be_removed() -> None:
    net = Network(1)
    with pytest.raises(ConfChangeRefused):
        net.elect(1).propose_conf_change(ConfChange(REMOVE, 1))


@pytest.mark.parametrize("voters", [2, 3])
def test_a_leader_that_is_removed_leads_until_the_others_know(voters: int) -> None:
    net = Network(voters)
    leader = net.elect(1)
    leader.propose_conf_change(ConfChange(REMOVE, 1))
    net.stabilize()
    assert leader.role == Role.FOLLOWER
    assert 1 not in net[2].conf_state.voters
    assert [net[member_id].role for member_id in range(2, voters + 1)].count(Role.LEADER) == 1
    with pytest.raises(ProposalDropped):
        leader.propose(b"x")


def test_a_removed_leader_does_not_count_itself() -> None:
    raw, storage = lead(voters=3)
    raw.step(Message(APP_RESP, 1, 2, 1, index=1))
    settle(raw, storage)
    raw.propose_conf_change(ConfChange(REMOVE, 1))
    raw.propose(b"x")
    settle(raw, storage)
    raw.apply_conf_change(ConfChange(REMOVE, 1))
    raw.step(Message(APP_RESP, 1, 2, 1, index=3))
    assert raw.commit == 1, "one of two voters"


def test_the_other_of_two_members_learns_of_a_removal_from_a_refused_vote() -> None:
    net = Network(2)
    leader = net.elect(1)
    leader.propose_conf_change(ConfChange(REMOVE, 1))
    net.stabilize(until=lambda: 1 not in leader.conf_state.voters)
    leader.step(Message(HEARTBEAT, 1, 2, 9))
    net.wire.clear()
    net.nodes[1].storage.save(HardState(1, 1, 2), entries(1, first=3), None)
    net.crash(1)
    net.nodes[1].storage.create_snapshot(2, leader.conf_state)
    net.nodes[1].library[2, 1] = []
    net.restart(1)
    net.tick(60)
    assert net.leaders == [2]
    assert net[2].conf_state == ConfState((2,))


def test_a_new_member_is_brought_up_and_a_learner_promoted() -> None:
    net = Network(3, outsiders=[4])
    leader = net.elect(1)
    net.propose(1, b"a")
    leader.propose_conf_change(ConfChange(LEARN, 4))
    net.stabilize()
    assert leader.status().progress[4].is_learner
    assert net.nodes[4].data == [b"a"]
    leader.propose_conf_change(ConfChange(ADD, 4))
    net.stabilize()
    assert leader.conf_state == net[4].conf_state == ConfState((1, 2, 3, 4))


def test_a_member_that_comes_back_under_its_old_id_is_known_from_scratch() -> None:
    net = Network(3)
    leader = net.elect(1)
    for change in (REMOVE, ADD):
        leader.propose_conf_change(ConfChange(change, 3))
        net.nodes[1].process()
        leader.step(Message(APP_RESP, 1, 2, 1, index=leader.status().last_index))
        net.nodes[1].process()
    assert leader.status().progress[3].match == 0


def test_a_truncated_membership_change_leaves_no_trace() -> None:
    net = Network(3)
    net.elect(1)
    net.isolate(1)
    net[1].propose_conf_change(ConfChange(REMOVE, 3))
    net.tick(40)
    net.heal()
    net.tick(40)
    assert [node.raw.conf_state for node in net.nodes.values()] == [ConfState((1, 2, 3))] * 3


def test_membership_survives_compaction_and_restart() -> None:
    net = Network(3, outsiders=[4])
    net.elect(1).propose_conf_change(ConfChange(ADD, 4))
    net.stabilize()
    for _ in range(2):
        net.propose(1, b"x")
        net.nodes[1].compact()
    net.crash(1)
    net.restart(1)
    assert net[1].conf_state == ConfState((1, 2, 3, 4))


# Snapshots and start.


def test_an_older_or_equal_snapshot_changes_nothing() -> None:
    raw, storage = member(1, 1, 1, commit=3)
    settle(raw, storage)
    for index in (1, 3):
        sent = answer(raw, storage, Message(SNAP, 1, 2, 1, snapshot=Snapshot(index, 1, ConfState((1, 9)))))
        assert (sent.index, raw.conf_state) == (3, ConfState((1, 2, 3)))


def test_nothing_is_applied_while_a_snapshot_is_pending() -> None:
    raw, storage = member(1, 1, term=2)
    raw.step(Message(HEARTBEAT, 1, 2, 2, commit=2))
    raw.step(Message(SNAP, 1, 2, 2, snapshot=Snapshot(9, 2, ConfState((1, 2, 3)))))
    raw.step(Message(APP, 1, 2, 2, log_term=2, index=9, entries=entries(2, first=10), commit=10))
    ready = raw.ready()
    assert (ready.committed_entries, ready.entries) == ((), entries(2, first=10))
    storage.save(ready.hard_state, ready.entries, ready.snapshot)
    raw.advance(ready)
    assert raw.applied == 9
    assert raw.ready().committed_entries == entries(2, first=10)


def test_a_disk_that_contradicts_itself_is_refused_at_start() -> None:
    with pytest.raises(StorageError):
        member(1, commit=2)
    storage = MemoryStorage(ConfState((1,)))
    storage.save(HardState(1), entries(2), None)
    with pytest.raises(StorageError):
        RawNode(Config(id=1, random=Random(1)), storage)


def test_one_ready_at_a_time() -> None:
    raw, _ = member(voters=1)
    raw.campaign()
    ready = raw.ready()
    with pytest.raises(ReadyOutstanding):
        raw.ready()
    raw.advance(ready)
    with pytest.raises(ReadyOutstanding):
        raw.advance(ready)


def test_a_follower_sends_nothing_that_depends_on_its_disk_before_the_save() -> None:
    net = Network(5)
    net.elect(1)
    net.propose(1, b"a")
    net.isolate(5)
    net.tick(40)
    net.heal()
    net.tick(40)
    promises = {APP_RESP, VOTE_RESP, PRE_VOTE_RESP, VOTE, PRE_VOTE}
    for node in net.nodes.values():
        for ready in node.readies:
            assert promises.isdisjoint(message.type for message in ready.messages)


def test_a_removal_is_on_disk_before_the_one_removed_hears_of_it() -> None:
    """With two members: the other one stops, and its vote would be needed for ever, had a power cut taken the news."""
    raw, storage = lead(voters=2)
    raw.step(Message(APP_RESP, 1, 2, 1, index=1))
    settle(raw, storage)
    raw.propose_conf_change(ConfChange(REMOVE, 2))
    settle(raw, storage)
    raw.step(Message(APP_RESP, 1, 2, 1, index=2))
    ready = raw.ready()
    assert ready.must_sync
    assert [message.commit for message in ready.messages] == []
    assert [message.commit for message in ready.persisted_messages] == [2]


def test_a_follower_says_that_it_knows_of_a_removal_when_its_disk_does() -> None:
    raw, storage = member(voters=2)
    change = entries(1)[0]._replace(index=1, type=1, data=confchange.encode(ConfChange(REMOVE, 2)))
    answer(raw, storage, Message(APP, 1, 2, 1, entries=(change,)))
    raw.step(Message(HEARTBEAT, 1, 2, 1, commit=1))
    ready = raw.ready()
    assert ready.must_sync
    assert [message.commit for message in ready.messages] == [0]
    raw.advance(ready)
    assert answer(raw, storage, Message(HEARTBEAT, 1, 2, 1, commit=1)).commit == 1


def test_what_another_leader_has_told_to_be_committed_is_remembered() -> None:
    raw, storage = lead(voters=2)
    raw.step(Message(APP_RESP, 1, 2, 1, index=1))
    settle(raw, storage)
    assert (raw.commit, raw.commit_told) == (1, 0), "it knows by itself"
    raw.step(Message(HEARTBEAT, 1, 2, 2, commit=1))
    assert raw.commit_told == 1
