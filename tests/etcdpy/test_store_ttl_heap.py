"""The heap of deadlines against a plain set: order, and that garbage stays bounded whatever changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from etcdpy.store.ttl_heap import Deadline, TtlHeap


def test_garbage_is_bounded_while_keys_are_set_again_and_again() -> None:
    live: dict[str, Deadline] = {}
    heap = TtlHeap(lambda deadline: live.get(deadline[2]) == deadline)
    for step in range(40_000):
        path = f"/{step % 500}"
        live[path] = (10**9 - step, step, path)  # ever earlier: what goes stale is at the bottom, never at the top
        heap.push(live[path])
        assert len(heap) <= 4 * 1024
    assert heap.live() == sorted(live.values())
    assert heap.first() == min(live.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-3, 900)), max_size=60), st.integers(0, 2000))
def test_the_first_live_deadline_is_always_the_least(changes: list[tuple[int, int]], ballast: int) -> None:
    live = {f"/b{i}": (1000 + i, i, f"/b{i}") for i in range(ballast)}
    heap = TtlHeap(lambda deadline: live.get(deadline[2]) == deadline)
    heap.load(live.values())
    for step, (name, deadline_ns) in enumerate(changes):
        path = f"/{name}"
        live.pop(path, None)
        if deadline_ns >= 0:
            live[path] = (deadline_ns, step, path)
            heap.push(live[path])
        until_ns = step * 20
        assert heap.first(until_ns) == min((d for d in live.values() if d[0] <= until_ns), default=None)
        assert heap.first() == min(live.values(), default=None)
    assert heap.live() == sorted(live.values())
