"""Makes the data directory of a member, as the format of now has it, for the tests of later formats.

    python tests/faults/make_data_dir.py tests/fixtures/data-v1

writes `data-v1.tar.xz` and what the member answers, `data-v1.json`.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "faults")]

from members import Member, members  # noqa: E402
from procfile import eventually  # noqa: E402

KEYS = 60
TEN_YEARS = str(10 * 365 * 86_400)


def write_everything(member: Member) -> None:
    """Keys, directories, TTLs, what was deleted again, bytes that are no text, and enough for several snapshots."""
    for number in range(KEYS):
        member.put(f"/k/{number % 40}", value=f"value {number}")
    member.put("/empty", dir="true")
    member.put("/expires", value="late", ttl=TEN_YEARS)
    member.put("/directory", dir="true", ttl=TEN_YEARS)
    member.put("/directory/ключ", value="\u2603 = \x00")
    member.request("PUT", "/v2/keys/bytes", "value=%ff%fe%80")
    for _ in range(3):
        member.request("POST", "/v2/keys/queue", "value=job")
    member.put("/k/1", value="swapped", prevValue="value 41")
    for number in range(5, 10):
        member.request("DELETE", f"/v2/keys/k/{number}")
    member.put("/large", value="0123456789abcdef" * 300)


def state(member: Member) -> Any:
    """All that does not move with the time of day."""
    answer = member.get("/", recursive="true", sorted="true", quorum="true")
    assert answer.status == 200, answer
    members_known = member.request("GET", "/v2/members").json["members"]
    return {
        "keys": _without_ttl(answer.node),
        "members": [{name: each[name] for name in ("id", "name")} for each in members_known],
    }


def _without_ttl(node: Any) -> Any:
    kept = {name: value for name, value in node.items() if name not in ("ttl", "nodes")}
    return {**kept, "nodes": [_without_ttl(child) for child in node["nodes"]]} if "nodes" in node else kept


def main() -> None:
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory, members(Path(directory), 1, {"ETCD_SNAPSHOT_COUNT": "20"}) as made:
        made.start()
        write_everything(made[0])
        target.with_suffix(".json").write_text(json.dumps(state(made[0]), indent=1, ensure_ascii=False) + "\n")
        snapshot_dir = made[0].data_dir / "member" / "snap"
        eventually(lambda: not any(snapshot_dir.glob("*.tmp")), "end of the snapshot")
        made.kill()
        with tarfile.open(target.with_suffix(".tar.xz"), "w:xz") as archive:
            archive.add(made[0].data_dir / "member", "member")


if __name__ == "__main__":
    main()
