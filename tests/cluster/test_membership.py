"""Membership: ids as etcd computes them, and which changes are allowed."""

from __future__ import annotations

import pytest

from cluster.codec import pack_value, unpack_value
from cluster.membership import (
    Member,
    MemberExists,
    MemberNotFound,
    MemberRemoved,
    Membership,
    PeerUrlExists,
    compute_member_id,
)
from raft.messages import ConfChange, ConfChangeType

A = Member(1, "a", ("http://a:1",))
B = Member(2, "b", ("http://b:1",))


def apply(membership: Membership, type_: ConfChangeType, member: Member) -> None:
    change = ConfChange(type_, member.id)
    membership.check(change, member)
    membership.apply(change, member)


def test_ids_are_those_that_etcd_gives_to_its_default_configuration() -> None:
    membership = Membership.bootstrap({"default": ("http://localhost:2380",)}, "etcd-cluster")
    assert [f"{member.id:x}" for member in membership.members] == ["8e9e05c52164694d"]
    assert f"{membership.cluster_id:x}" == "cdf818194e3a8c32"


def test_ids_do_not_depend_on_the_order_in_which_members_are_listed() -> None:
    one = Membership.bootstrap({"a": ("http://a:1",), "b": ("http://b:1",)}, "t")
    other = Membership.bootstrap({"b": ("http://b:1",), "a": ("http://a:1",)}, "t")
    assert one.pack() == other.pack()


def test_token_and_time_of_joining_change_the_id() -> None:
    ids = {compute_member_id(["http://a:1"], "t"), compute_member_id(["http://a:1"], "u")}
    ids |= {compute_member_id(["http://a:1"], "t", 1), compute_member_id(["http://a:1"], "t", 2)}
    assert len(ids) == 4


def test_a_removed_id_never_comes_back() -> None:
    membership = Membership(9, [A, B])
    apply(membership, ConfChangeType.REMOVE, B)
    assert membership.get(B.id) is None
    with pytest.raises(MemberRemoved):
        apply(membership, ConfChangeType.ADD_VOTER, B)


@pytest.mark.parametrize(
    ("type_", "member", "error"),
    [
        (ConfChangeType.REMOVE, Member(7, "", ()), MemberNotFound),
        (ConfChangeType.UPDATE, Member(7, "", ("http://c:1",)), MemberNotFound),
        (ConfChangeType.ADD_VOTER, Member(1, "", ("http://c:1",)), MemberExists),
        (ConfChangeType.ADD_LEARNER, Member(1, "", ("http://c:1",)), MemberExists),
        (ConfChangeType.ADD_VOTER, Member(7, "", ("http://b:1",)), PeerUrlExists),
        (ConfChangeType.UPDATE, Member(1, "", ("http://a:1", "http://b:1")), PeerUrlExists),
    ],
)
def test_what_cannot_be_changed_is_refused_and_changes_nothing(
    type_: ConfChangeType, member: Member, error: type[Exception]
) -> None:
    membership = Membership(9, [A, B])
    before = membership.pack()
    with pytest.raises(error):
        apply(membership, type_, member)
    assert membership.pack() == before


def test_a_learner_does_not_vote_until_it_is_promoted() -> None:
    membership = Membership(9, [A])
    apply(membership, ConfChangeType.ADD_LEARNER, B)
    assert membership.voters == (A.id,)
    apply(membership, ConfChangeType.ADD_VOTER, B)
    assert membership.voters == (A.id, B.id)


def test_update_changes_the_peer_urls_and_nothing_else() -> None:
    membership = Membership(9, [A._replace(client_urls=("http://a:2",)), B])
    apply(membership, ConfChangeType.UPDATE, Member(A.id, "", ("http://a:9",)))
    assert membership.get(A.id) == Member(A.id, "a", ("http://a:9",), ("http://a:2",))


def test_a_packed_membership_loads_equal() -> None:
    membership = Membership(9, [A, B, Member(3, "", ("http://c:1", "http://c:2"), (), True)], removed=[5])
    loaded = Membership(0)
    loaded.load(unpack_value(pack_value(membership.pack())))
    assert loaded.pack() == membership.pack()
    assert loaded.members == membership.members


def test_publishing_by_an_unknown_member_changes_nothing() -> None:
    membership = Membership(9, [A])
    membership.publish(7, "x", ("http://x:1",))
    assert membership.members == [A]
