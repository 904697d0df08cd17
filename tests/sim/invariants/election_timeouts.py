"""Election timeouts are drawn at random from a fixed interval, by each member for itself (Raft paper, section 5.2;
hashicorp/raft 50): else all stand at once, for ever."""

from __future__ import annotations

from typing import Any

ENOUGH = 12
"""So many draws of two members are not alike by chance."""


class ElectionTimeouts:
    """`_drawn` has what each life of a member drew, as far as one draw differs from the one before."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._drawn: dict[tuple[Any, int], list[int]] = {}

    def ticked(self, member: Any, raft: Any) -> None:
        ticks, drawn = raft.config.election_ticks, self._drawn.setdefault((member, member.life), [])
        if not drawn or drawn[-1] != raft.election_timeout:
            drawn.append(raft.election_timeout)
            if not ticks <= raft.election_timeout < 2 * ticks:
                self._world.fail(
                    "election timeouts", f"{member} waits {raft.election_timeout} ticks, not {ticks} to twice that"
                )

    def at_end(self) -> None:
        long = [(str(who), tuple(drawn[:ENOUGH])) for (who, _), drawn in self._drawn.items() if len(drawn) >= ENOUGH]
        if len({drawn for _, drawn in long}) < len(long):
            self._world.fail("election timeouts", f"members draw alike: {long}")
        lives = [drawn for drawn in self._drawn.values() if drawn]
        if len(lives) >= ENOUGH and len({timeout for drawn in lives for timeout in drawn}) == 1:
            self._world.fail("election timeouts", f"everybody always waits {lives[0][0]} ticks")
