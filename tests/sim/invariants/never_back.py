"""Terms and commit indexes never go back (Raft paper, section 5.1, figure 2, "persistent state"): not in memory, not
on disk, and not over a crash: a member comes back with at least what was sure to be on its disk."""

from __future__ import annotations

from typing import Any

from raft.messages import HardState


class NeverBack:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._seen: dict[Any, tuple[int, int, int]] = {}

    def after_step(self, member: Any, raft: Any) -> None:
        now = (member.life, raft.term, raft.log.commit)
        before = self._seen.get(member)
        if before == now:
            return
        if before is not None and before[0] == now[0] and (now[1] < before[1] or now[2] < before[2]):
            self._world.fail("never back", f"{member}: (life, term, commit) {before} became {now}")
        self._seen[member] = now

    def recovered(self, member: Any, storage: Any) -> None:
        found, sure = storage.initial_state()[0], member.durable.hard_state
        if _is_before(found, sure):
            self._world.fail("never back", f"{member} had {sure} on its disk and comes back with {found}")
        self._check_end(member, storage)
        for index, term in member.durable.terms.items():
            if index < storage.first_index:
                continue
            held = storage.term(index) if index <= storage.last_index else 0
            if held != term and any((entry.index, entry.term) == (index, held) for entry in member.last_handed):
                return  # what was being written in its place had got to the disk
            if held != term:
                self._world.fail("never back", f"{member} had {index} of term {term} on its disk and has lost it")

    def _check_end(self, member: Any, storage: Any) -> None:
        """What was cut off stays so; only what was being written may be there as well."""
        handed = [(entry.index, entry.term) for entry in member.last_handed]
        for index in range(max(member.durable.last + 1, storage.first_index), storage.last_index + 1):
            if (index, storage.term(index)) not in handed:
                self._world.fail("never back", f"{member} comes back with {index}, which its log had not any more")


def _is_before(found: HardState, sure: HardState) -> bool:
    if found.term == sure.term:
        return found.commit < sure.commit or (sure.vote != 0 and found.vote != sure.vote)
    return found.term < sure.term or found.commit < sure.commit
