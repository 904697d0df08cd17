"""Small parts: wrk's output, collapsed stacks, certificates, and when a paced load has seen its snapshots."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from bench import tls, wrk
from bench.address import Address
from bench.errors import BenchError
from bench.profile import costs
from bench.scale import QUICK
from bench.servers import Cluster, Member, Product, plan, run
from bench.workloads import _Snapshots

DONE = '{"requests": %d, "duration_us": 2000000, "failed": %d, "p50_us": 1500, "p99_us": 9000, "max_us": 20000}\n'


def test_wrk_is_read_from_the_line_that_our_script_writes() -> None:
    load = wrk.parse("Running 2s test @ ...\n  1 threads\n" + DONE % (5000, 0))
    assert load == wrk.Load(rate=2500.0, p50_ms=1.5, p99_ms=9.0, max_ms=20.0)


@pytest.mark.parametrize("counts", [(5000, 1), (0, 0)])
def test_failed_requests_make_no_figure(counts: tuple[int, int]) -> None:
    with pytest.raises(BenchError):
        wrk.parse(DONE % counts)


def test_costs_are_own_and_total_time_for_each_request() -> None:
    found = costs(["loop;apply;set 30", "loop;apply 10", "loop;render 5", "loop;walk;walk 5"], requests=100)
    each = {cost.function: (cost.own, cost.total) for cost in found}
    assert each["set"] == pytest.approx((600, 600))
    assert each["apply"] == pytest.approx((200, 800))
    assert each["walk"] == pytest.approx((100, 100)), "a function that calls itself is not counted twice"
    assert each["loop"] == pytest.approx((0, 1000))
    assert found[0].function == "set"


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_clients_believe_the_certificate_on_loopback_and_nowhere_else(tmp_path: Path) -> None:
    files = tls.issue(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    client = files.client_context()
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(server, client, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "127.0.0.2")
    assert files.key.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Three members that are only directories; the process is one that has ended."""
    ended = subprocess.Popen(["true"], stdin=subprocess.DEVNULL)
    ended.wait()
    members = []
    for name in ("m0", "m1", "m2"):
        snapshots = tmp_path / name / "member" / "snap"
        snapshots.mkdir(parents=True)
        (snapshots / "1.snap").touch()
        members.append(Member(name, Address(0), tmp_path / name, ended))
    return Cluster(tuple(members), 0.0)


def test_the_paced_load_goes_on_until_every_member_has_a_new_snapshot_and_a_little_longer(cluster: Cluster) -> None:
    enough = _Snapshots(cluster, QUICK)
    assert not enough(QUICK.paced_seconds)
    for member in cluster.members[:2]:
        (member.data_dir / "member" / "snap" / "2.snap").touch()
    assert not enough(QUICK.paced_seconds + 1)
    assert not enough.everywhere
    (cluster.members[2].data_dir / "member" / "snap" / "2.snap").touch()
    assert not enough(QUICK.paced_seconds + 2)
    assert enough.everywhere
    assert enough(QUICK.paced_seconds + 4)
    assert enough.count() == 1


def test_the_paced_load_ends_at_its_limit_without_snapshots(cluster: Cluster) -> None:
    enough = _Snapshots(cluster, QUICK)
    assert not enough(QUICK.paced_seconds_limit - 0.1)
    assert enough(QUICK.paced_seconds_limit)
    assert not enough.everywhere


def test_a_server_that_does_not_start_is_reported_with_its_last_words_and_leaves_nothing_running(
    tmp_path: Path,
) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho no such flag >&2\nexit 2\n")
    program.chmod(0o700)
    with (
        pytest.raises(BenchError, match=r"m. ended with 2:\nno such flag"),
        run(plan(Product("broken", str(program)), tmp_path / "cluster")),
    ):
        pass
