from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.transport.handshake import Identity, Refusal, judge, request_headers, stated_urls

US = Identity(cluster_id=0xAB, member_id=2, version="1.0")
KNOWN = {1, 3}
REMOVED = {9}


def call(cluster_id: int = 0xAB, sender: int = 1, to: int = 2) -> dict[str, str]:
    return request_headers(Identity(cluster_id, sender, "1.0"), to)


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_what_one_side_says_the_other_understands(cluster_id: int, sender: int, to: int) -> None:
    headers = request_headers(Identity(cluster_id, sender), to)
    assert judge(headers, Identity(cluster_id, to), {sender}, ()) == sender


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (call(cluster_id=0xAC), 412),
        (call(to=3), 412),
        (call(sender=9), 410),
        (call(sender=4), 404),
        (call(sender=2), 404),  # ourselves
        (call(sender=9, cluster_id=0xAC), 412),  # only a member of this cluster hears that it was removed
        ({**call(), "X-Raft-Protocol": "2"}, 412),
        ({}, 400),
    ],
)
def test_who_is_refused_and_how(headers: dict[str, str], status: int) -> None:
    verdict = judge(headers, US, KNOWN, REMOVED)
    assert isinstance(verdict, Refusal)
    assert verdict.status == status


@pytest.mark.parametrize("name", ["X-Etcd-Cluster-ID", "X-Server-From", "X-Raft-To", "X-Raft-Protocol"])
def test_every_header_that_decides_is_needed(name: str) -> None:
    headers = call()
    del headers[name]
    verdict = judge(headers, US, KNOWN, REMOVED)
    assert isinstance(verdict, Refusal)
    assert verdict.status == 400


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "0x1", "1_0", "\u0661", "1" * 17, "A", "g", "1\x00"])
def test_an_id_is_lower_case_hex_and_nothing_else(text: str) -> None:
    verdict = judge({**call(), "X-Server-From": text}, US, KNOWN | {0xA, 0x10}, REMOVED)
    assert isinstance(verdict, Refusal)
    assert verdict.status == 400


def test_a_stranger_of_our_cluster_that_says_where_it_is_may_be_a_member_that_we_have_not_heard_of() -> None:
    stranger = Identity(US.cluster_id, 9, "1.0", ("https://a:2380", "https://b:2380"))
    headers = request_headers(stranger, US.member_id)
    assert judge(headers, US, {1}, ()) == 9
    assert stated_urls(headers) == stranger.peer_urls
    assert judge(headers, US, {1}, {9}) == Refusal(410, "the member has been permanently removed from the cluster")
