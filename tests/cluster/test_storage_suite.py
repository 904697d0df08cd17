"""What every storage must do, whether it lives in memory or on a disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest
from storage_harness import VOTERS, DurableDriver

from cluster.storage import StorageConfig
from raft.errors import Compacted, StorageError, Unavailable
from raft.messages import ConfState, Entry, HardState, Snapshot
from raft.storage import MemoryStorage, Storage


class MemoryDriver:
    def __init__(self) -> None:
        self.storage = MemoryStorage(VOTERS)

    def save(
        self,
        hard_state: HardState | None = None,
        entries: Sequence[Entry] = (),
        snapshot: Snapshot | None = None,
        must_sync: bool = True,
    ) -> None:
        self.storage.save(hard_state, entries, snapshot)

    def create_snapshot(self, index: int, conf_state: ConfState = VOTERS) -> Snapshot:
        return self.storage.create_snapshot(index, conf_state)

    def reopen(self) -> None:
        pass


def reopened_each_time() -> DurableDriver:
    """What was saved must be there in the next life, too."""

    class Reopening(DurableDriver):
        def save(
            self,
            hard_state: HardState | None = None,
            entries: Sequence[Entry] = (),
            snapshot: Snapshot | None = None,
            must_sync: bool = True,
        ) -> int:
            waits = super().save(hard_state, entries, snapshot, must_sync)
            self.reopen()
            return waits

    return Reopening()


Driver = MemoryDriver | DurableDriver


def durable() -> DurableDriver:
    return DurableDriver(config=StorageConfig(catch_up_entries=1000))


@pytest.fixture(params=[MemoryDriver, durable, reopened_each_time])
def driver(request: pytest.FixtureRequest) -> Driver:
    make: Callable[[], Driver] = request.param
    return make()


def run(first: int, last: int, term: int = 1, data: bytes = b"data") -> list[Entry]:
    return [Entry(term, index, 0, data) for index in range(first, last + 1)]


def all_entries(storage: Storage) -> list[Entry]:
    if storage.first_index > storage.last_index:
        return []
    return list(storage.entries(storage.first_index, storage.last_index + 1, sys.maxsize))


def test_a_new_storage_is_empty(driver: Driver) -> None:
    storage = driver.storage
    assert (storage.first_index, storage.last_index, storage.term(0)) == (1, 0, 0)
    assert storage.initial_state() == (HardState(), VOTERS)
    assert storage.snapshot() is None
    with pytest.raises(Unavailable):
        storage.term(1)


def test_entries_are_given_back(driver: Driver) -> None:
    driver.save(HardState(1, 2, 0), run(1, 5))
    driver.save(None, run(6, 9, term=2))
    storage = driver.storage
    assert (storage.first_index, storage.last_index) == (1, 9)
    assert all_entries(storage) == run(1, 5) + run(6, 9, term=2)
    assert [storage.term(index) for index in (0, 1, 5, 6, 9)] == [0, 1, 1, 2, 2]
    assert list(storage.entries(4, 7, sys.maxsize)) == run(4, 5) + run(6, 6, term=2)


def test_the_hard_state_saved_last_counts(driver: Driver) -> None:
    driver.save(HardState(1, 2, 0))
    driver.save(HardState(3, 0, 0))
    assert driver.storage.initial_state()[0] == HardState(3, 0, 0)


def test_a_commit_alone_needs_no_sync(driver: Driver) -> None:
    driver.save(HardState(1, 2, 0), run(1, 5))
    driver.save(HardState(1, 2, 4), must_sync=False)
    assert driver.storage.initial_state()[0] == HardState(1, 2, 4)


def test_a_save_of_nothing_changes_nothing(driver: Driver) -> None:
    driver.save(HardState(1, 2, 0), run(1, 5))
    driver.save(must_sync=False)
    assert all_entries(driver.storage) == run(1, 5)


@pytest.mark.parametrize("first", [1, 2, 5])
def test_new_entries_replace_all_from_their_index_on(driver: Driver, first: int) -> None:
    driver.save(None, run(1, 5))
    driver.save(HardState(2, 0, 0), run(first, first, term=2))
    assert all_entries(driver.storage) == run(1, first - 1) + run(first, first, term=2)


def test_a_gap_is_refused(driver: Driver) -> None:
    driver.save(None, run(1, 5))
    with pytest.raises(StorageError):
        driver.save(None, run(7, 8))


@pytest.mark.parametrize(("max_bytes", "count"), [(0, 1), (9, 1), (10, 1), (20, 2), (29, 2), (30, 3), (1000, 5)])
def test_a_portion_is_bounded_but_never_empty(driver: Driver, max_bytes: int, count: int) -> None:
    driver.save(None, run(1, 5, data=b"0123456789"))
    assert len(driver.storage.entries(1, 6, max_bytes)) == count


def test_what_is_not_there_is_unavailable(driver: Driver) -> None:
    driver.save(None, run(1, 5))
    with pytest.raises(Unavailable):
        driver.storage.entries(1, 7, sys.maxsize)
    with pytest.raises(Unavailable):
        driver.storage.term(6)


def test_a_created_snapshot_is_known_and_the_log_stays(driver: Driver) -> None:
    driver.save(HardState(1, 2, 4), run(1, 5))
    snapshot = driver.create_snapshot(4, ConfState((1, 2)))
    storage = driver.storage
    assert snapshot == Snapshot(4, 1, ConfState((1, 2))) == storage.snapshot()
    assert storage.initial_state()[1] == ConfState((1, 2))
    assert storage.last_index == 5
    assert storage.term(4) == 1
    assert list(storage.entries(5, 6, 10)) == run(5, 5)


def test_a_compacted_entry_is_gone_and_its_term_known(driver: Driver) -> None:
    driver.save(HardState(1, 2, 9), run(1, 6) + run(7, 9, term=2))
    driver.create_snapshot(7)
    driver.storage.compact(7)
    storage = driver.storage
    assert (storage.first_index, storage.last_index, storage.term(7)) == (8, 9, 2)
    with pytest.raises(Compacted):
        storage.term(6)
    with pytest.raises(Compacted):
        storage.entries(7, 9, 100)
    driver.save(None, run(10, 11, term=2))
    assert all_entries(driver.storage) == run(8, 11, term=2)


def test_no_entry_is_forgotten_that_no_snapshot_holds(driver: Driver) -> None:
    driver.save(HardState(1, 2, 5), run(1, 5))
    driver.create_snapshot(3)
    with pytest.raises(StorageError):
        driver.storage.compact(4)


def test_an_installed_snapshot_replaces_the_log(driver: Driver) -> None:
    driver.save(HardState(1, 2, 3), run(1, 5))
    snapshot = Snapshot(40, 3, ConfState((1, 2, 3, 4)))
    driver.save(HardState(3, 0, 40), (), snapshot)
    storage = driver.storage
    assert (storage.first_index, storage.last_index, storage.term(40)) == (41, 40, 3)
    assert storage.initial_state() == (HardState(3, 0, 40), snapshot.conf_state)
    assert storage.snapshot() == snapshot


def test_entries_may_follow_a_snapshot_in_the_same_save(driver: Driver) -> None:
    driver.save(HardState(1, 2, 3), run(1, 50))
    driver.save(HardState(3, 0, 40), run(41, 42, term=3), Snapshot(40, 3, VOTERS))
    assert all_entries(driver.storage) == run(41, 42, term=3)


def test_a_log_goes_on_after_a_snapshot(driver: Driver) -> None:
    driver.save(HardState(3, 0, 40), (), Snapshot(40, 3, VOTERS))
    driver.save(None, run(41, 45, term=3))
    driver.save(None, run(43, 44, term=4))
    assert all_entries(driver.storage) == run(41, 42, term=3) + run(43, 44, term=4)
