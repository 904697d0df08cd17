"""What `/v2/stats/store` counts, by the names and in the order that etcd 3.4 shows them (v2store/stats.go).

Every operation counts once, as a success or as a failure (etcd counts some refusals as a success, or twice).
"""

from __future__ import annotations

_KINDS = ("gets", "sets", "delete", "update", "create", "compareAndSwap", "compareAndDelete")


class StoreStats:
    def __init__(self) -> None:
        self.counters = {f"{kind}{outcome}": 0 for kind in _KINDS for outcome in ("Success", "Fail")}
        self.counters["expireCount"] = 0

    def replicated(self) -> dict[str, int]:
        """The counters that follow from the replicated commands alone, and are therefore the same on every member."""
        return {name: count for name, count in self.counters.items() if not name.startswith("gets")}
