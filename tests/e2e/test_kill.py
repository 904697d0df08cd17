"""kill -9, and every acknowledged write is there."""

from __future__ import annotations

import random
from pathlib import Path

import chaos
import pytest
from procfile import QUICK, processes


@pytest.mark.parametrize(("victim", "seconds"), [("leader", 6), ("random", 15)])
def test_killing_members_under_load_loses_nothing_and_no_read_is_stale(
    tmp_path: Path, victim: str, seconds: float
) -> None:
    seed = random.randrange(1 << 32)
    report = chaos.run(tmp_path, seconds, seed, victim, QUICK)
    assert report.is_good, f"python tests/e2e/chaos.py --seconds {seconds} --seed {seed} --victim {victim}: {report}"
    assert report.kills >= 2
    assert report.acknowledged > 20
    assert report.reads_and_writes_checked > 20


def test_what_any_member_wrote_every_member_reads_also_after_all_were_killed_at_once(tmp_path: Path) -> None:
    with processes(tmp_path) as cluster:
        cluster.start()
        for writer in cluster.members:
            written = writer.put(f"/from/{writer.name}", value=writer.name)
            assert written.status == 201
            for reader in cluster.members:
                assert reader.get(f"/from/{writer.name}", quorum="true").node == written.node
        acknowledged = {f"/from/{member.name}": member.name for member in cluster.members}
        for i in range(100):
            assert cluster.members[i % 3].put(f"/k/{i}", value=str(i)).status == 201
            acknowledged[f"/k/{i}"] = str(i)
        cluster.kill()
        cluster.start()
        assert all(chaos.values(member) == acknowledged for member in cluster.members)
