"""The fast parts against slow, obvious twins (hypothesis)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raft import confchange, quorum
from raft.errors import StepRefused
from raft.log import Log
from raft.messages import ConfChange, ConfChangeType, ConfState, Entry, HardState
from raft.progress import Inflights, Progress, ProgressState
from raft.quorum import VoteResult
from raft.read_only import ForwardedReads, ReadRequest, ReadRounds
from raft.storage import MemoryStorage
from raft.unstable import Unstable

# Quorums.


@given(st.lists(st.integers(0, 20), max_size=9))
def test_a_committed_index_is_the_largest_that_a_majority_has(matches: list[int]) -> None:
    reached = [index for index in range(21) if sum(match >= index for match in matches) > len(matches) / 2]
    assert quorum.committed_index(list(matches)) == max(reached, default=0)


@given(st.sets(st.integers(1, 9)), st.dictionaries(st.integers(1, 12), st.booleans()))
def test_an_election_is_won_or_lost_when_no_further_vote_can_change_it(
    voters: set[int], votes: dict[int, bool]
) -> None:
    def wins(missing: bool) -> bool:
        return sum(votes.get(voter, missing) for voter in voters) > len(voters) / 2

    expected = VoteResult.WON if wins(False) else VoteResult.PENDING if wins(True) else VoteResult.LOST
    assert quorum.vote_result(voters, votes) == expected


@given(st.integers(1, 100))
def test_two_majorities_meet(voters: int) -> None:
    assert 2 * quorum.majority(voters) > voters >= quorum.majority(voters)


# Membership.

ids = st.integers(1, 5)
changes = st.builds(ConfChange, st.sampled_from(ConfChangeType), ids, st.binary(max_size=5))


@given(changes)
def test_a_change_survives_its_encoding(change: ConfChange) -> None:
    assert confchange.decode(confchange.encode(change)) == change


@given(st.lists(changes, max_size=20))
def test_membership_is_what_sets_would_say(todo: list[ConfChange]) -> None:
    conf_state = ConfState((1, 2, 3))
    roles = dict.fromkeys((1, 2, 3), "voter")
    for change in todo:
        after = dict(roles)
        if change.type != ConfChangeType.UPDATE:
            after.pop(change.node_id, None)
        if change.type == ConfChangeType.ADD_VOTER:
            after[change.node_id] = "voter"
        if change.type == ConfChangeType.ADD_LEARNER:
            after[change.node_id] = "learner"
        before, conf_state = conf_state, confchange.apply(conf_state, change)
        roles = after if "voter" in after.values() else roles
        assert conf_state.voters == tuple(sorted(who for who, role in roles.items() if role == "voter"))
        assert conf_state.learners == tuple(sorted(who for who, role in roles.items() if role == "learner"))
        assert len(set(before.voters) ^ set(conf_state.voters)) <= 1, "one voter at a time, so majorities meet"


# The log: stable and unstable part together against one plain list.


def terms_from(steps: list[int]) -> list[int]:
    terms, term = [], 1
    for step in steps:
        term += step
        terms.append(term)
    return terms


logs = st.lists(st.sampled_from([0, 0, 0, 1, 2]), max_size=12).map(terms_from)


def as_entries(terms: list[int], first: int = 1) -> list[Entry]:
    return [Entry(term, index) for index, term in enumerate(terms, first)]


def make_log(terms: list[int], stable: int, compacted: int) -> Log:
    """A log of which the first `stable` entries are on disk and the first `compacted` of those forgotten."""
    storage = MemoryStorage()
    storage.save(None, as_entries(terms)[:stable], None)
    if compacted:
        storage.create_snapshot(compacted, ConfState())
        storage.compact(compacted)
    log = Log(storage, HardState(), compacted)
    for entry in as_entries(terms)[stable:]:
        log.append(entry)
    return log


@st.composite
def any_log(draw: st.DrawFn) -> tuple[Log, list[int], int]:
    terms = draw(logs)
    stable = draw(st.integers(0, len(terms)))
    compacted = draw(st.integers(0, stable))
    return make_log(terms, stable, compacted), terms, compacted


@given(any_log())
def test_the_log_reads_as_one_list(any_log: tuple[Log, list[int], int]) -> None:
    log, terms, compacted = any_log
    assert (log.first_index, log.last_index) == (compacted + 1, len(terms))
    for index in range(len(terms) + 3):
        known = compacted <= index <= len(terms)
        expected = (terms[index - 1] if index else 0) if known else None
        assert log.term(index) == expected
    for lo in range(compacted + 1, len(terms) + 1):
        for hi in range(lo + 1, len(terms) + 2):
            assert list(log.entries(lo, hi, 1 << 30)) == as_entries(terms)[lo - 1 : hi - 1]


@given(any_log(), st.integers(0, 15), st.integers(0, 30))
def test_the_search_by_halves_finds_what_the_walk_finds(
    any_log: tuple[Log, list[int], int], index: int, term: int
) -> None:
    log, _, compacted = any_log
    walked = min(index, log.last_index)
    while walked >= compacted and (log.term(walked) or 0) > term:
        walked -= 1
    found, found_term = log.find_conflict_by_term(index, term)
    assert found == max(walked, 0)
    assert found_term == ((log.term(walked) or 0) if walked >= compacted else 0)


@given(any_log(), st.integers(0, 13), logs, st.integers(0, 12))
def test_an_append_does_what_a_list_would_do(
    any_log: tuple[Log, list[int], int], prev: int, new: list[int], commit: int
) -> None:
    log, terms, compacted = any_log
    log.commit_to(min(commit, len(terms)))
    prev_term = log.term(prev) or 0
    incoming = as_entries([max(term, prev_term) for term in new], prev + 1)
    expected = list(as_entries(terms))
    matches = compacted <= prev <= len(terms)
    for entry in incoming if matches else ():
        if entry.index <= len(expected) and expected[entry.index - 1].term != entry.term:
            del expected[entry.index - 1 :]
        if entry.index == len(expected) + 1:
            expected.append(entry)
    committed = as_entries(terms)[: log.commit]
    try:
        assert log.maybe_append(prev, prev_term, incoming) is (matches)
    except StepRefused:
        assert expected[: log.commit] != committed
        return
    assert [log.term(entry.index) for entry in expected[compacted:]] == [entry.term for entry in expected[compacted:]]
    assert log.last_index == len(expected)


@given(
    st.lists(st.tuples(st.sampled_from(["append", "replace", "hand out", "stable"]), st.integers(1, 3)), max_size=40)
)
def test_the_unstable_part_knows_what_is_on_disk(todo: list[tuple[str, int]]) -> None:
    """The twin is a disk that takes whole hand-outs, and a list that is the log."""
    unstable, log, disk, term = Unstable(1), [], [], 1
    outstanding: list[Entry] = []
    for what, number in todo:
        if what == "append":
            log.append(Entry(term, len(log) + 1))
            unstable.append(log[-1])
        elif what == "replace" and number <= len(log):
            term += 1
            del log[-number:]  # `number` counts from the end
            log.append(Entry(term, len(log) + 1))
            unstable.replace_from(log[-1:])
        elif what == "hand out" and not outstanding:
            outstanding = list(unstable.hand_out()[0])
        elif what == "stable" and outstanding:
            disk[outstanding[0].index - 1 :] = outstanding
            unstable.stable_to(outstanding[-1].index, outstanding[-1].term)
            outstanding = []
        assert disk[: unstable.offset - 1] == log[: unstable.offset - 1]
        assert unstable.entries == log[unstable.offset - 1 :]
        assert unstable.handed <= len(log)


# Progress.


@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "ack", "reject", "lost", "probe", "snapshot"]), st.integers(0, 15)),
        max_size=40,
    )
)
def test_progress_never_believes_less_than_it_was_told(todo: list[tuple[str, int]]) -> None:
    progress = Progress(2, 1, Inflights(3, 100))
    told, last_index = 0, 15
    for what, number in todo:
        if what == "send" and not progress.is_paused:
            last = min(last_index, progress.next - 1 + number % 3)
            progress.sent_append(last, 10 * (last - progress.next + 1), 0)
        elif what == "ack":
            told = max(told, number)
            progress.maybe_update(number)
            progress.inflights.free_to(number)
            if progress.state == ProgressState.PROBE:
                progress.become_replicate()
        elif what == "reject" and progress.maybe_decrease(number, number // 2):
            progress.become_probe()
        elif what == "lost":
            progress.inflights.free_first()
        elif what == "probe":
            progress.become_probe()
        elif what == "snapshot":
            progress.become_snapshot(number)
        assert progress.match == told
        assert progress.next > progress.match
        assert len(progress.inflights.sent) <= 3
        assert progress.inflights.bytes == sum(size for _, size in progress.inflights.sent)


# Reads.


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "begin", "confirm"]), st.integers(1, 3), st.integers(0, 9)), max_size=40)
)
def test_a_read_is_answered_once_a_majority_confirmed_its_round_or_a_later_one(
    todo: list[tuple[str, int, int]],
) -> None:
    rounds = ReadRounds()
    round_of: dict[bytes, int] = {}
    confirmed = {2: 0, 3: 0}
    asked: list[bytes] = []
    answered: list[bytes] = []
    for position, (what, member, number) in enumerate(todo):
        if what == "ask":
            asked.append(b"%d" % position)
            rounds.waiting.append(ReadRequest(1, asked[-1]))
        elif what == "begin" and rounds.waiting:
            rounds.begin(position)
            round_of |= {context: rounds.number for context in asked if context not in round_of}
        elif what == "confirm" and member != 1:
            rounds.confirm(member, number)
            if number <= rounds.number:
                confirmed[member] = max(confirmed[member], number)
        for round_ in rounds.take_confirmed((1, 2, 3), 1):
            answered += [request.context for request in round_.requests]
        expected = [context for context in asked if 0 < round_of.get(context, 0) <= max(confirmed.values())]
        assert answered == expected
        assert len(rounds) == len(asked) - len(answered)


@given(st.integers(0, (1 << 64) - 1), st.integers(1, 5))
def test_forwarded_reads_are_answered_once_or_overdue_once(first: int, patience: int) -> None:
    reads = ForwardedReads(first)
    reads.waiting = [b"a", b"b"]
    number = reads.begin()
    reads.waiting = [b"c"]
    assert number != reads.begin()
    assert list(reads.take(number)) == [b"a", b"b"]
    assert list(reads.take(number)) == []
    overdue = [context for _ in range(2 * patience) for context in reads.tick(patience)]
    assert overdue == [b"c"]
    assert reads.take_all() == []
