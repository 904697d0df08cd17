"""Users and roles as replicated state: indexes, snapshots, and the second judgement where a command is applied. What
each change means to a client is in tests/conformance/scenarios/auth.txt, recorded from etcd."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from cluster.state_machine import Position
from etcdpy.auth.model import AuthError, AuthState, Permissions, PutUser, Role, User
from etcdpy.commands import (
    Access,
    AuthDisable,
    AuthEnable,
    Delete,
    OnBehalf,
    RoleDelete,
    RolePut,
    Set,
    UserDelete,
    UserPut,
)
from etcdpy.errors import UNAUTHORIZED, EtcdError
from etcdpy.state_machine import EtcdStateMachine, validate
from etcdpy.store import snapshot
from etcdpy.store.event import Event
from etcdpy.store.store import Store

NOW_NS = 1_700_000_000_000_000_000
NOTHING = [None, None]
DENIED = EtcdError(UNAUTHORIZED, "Insufficient credentials")


def machine() -> EtcdStateMachine:
    return EtcdStateMachine(Store())


def wired(command: Any) -> Any:
    """As it comes out of the log."""
    validate(command)
    return msgpack.unpackb(msgpack.packb(command))


def apply(target: EtcdStateMachine, *commands: Any) -> list[Any]:
    return list(target.apply([wired(command) for command in commands], Position(1, 1, NOW_NS)))


def user(name: str, roles: list[str] | None = None, password_hash: str = "h") -> UserPut:
    return UserPut(name, password_hash, roles, None, None, True)


def role(name: str, read: list[str], write: list[str]) -> RolePut:
    return RolePut(name, [read, write], None, None)


def put(path: str = "/a") -> Set:
    return Set(path, "v", False, None, False)


def by(name: str, command: Any, key: str = "/a", recursive: bool = False) -> OnBehalf:
    return OnBehalf(Access(name, key, recursive, True), command)


def secured() -> EtcdStateMachine:
    """Auth is on; guests may do nothing; alice may write below /a/, and /a itself."""
    target = machine()
    grant = role("app", ["/a"], ["/a", "/a/*"])
    assert not any(
        isinstance(result, Exception)
        for result in apply(target, user("root"), grant, user("alice", ["app"]), AuthEnable(False))
    )
    return target


def test_the_first_write_takes_four_indexes_more_even_if_it_fails() -> None:
    target = machine()
    assert apply(target, UserDelete("x")) == [AuthError(404, "User x does not exist")]
    assert target.store.index == 4
    apply(target, user("root"), user("alice"))
    assert target.store.index == 6


def test_what_is_refused_before_anything_is_written_takes_none() -> None:
    target = machine()
    refused = apply(
        target, UserPut("x", "", None, None, None, True), AuthEnable(True), AuthDisable(), RoleDelete("root")
    )
    assert [type(result) for result in refused] == [AuthError] * 4
    assert target.store.index == 0


def test_enabling_makes_the_role_of_guests_once() -> None:
    target = machine()
    apply(target, user("root"), AuthEnable(True))
    assert target.auth.roles["guest"].permissions == Permissions(("/*",), ("/*",))
    apply(target, by("root", RolePut("guest", NOTHING, None, [["/*"], ["/*"]])))
    apply(target, by("root", AuthDisable()), AuthEnable(True))
    assert target.auth.roles["guest"].permissions == Permissions((), ())


def test_a_closed_guest_gets_nothing() -> None:
    assert apply(secured(), put(), by("", put())) == [DENIED, DENIED]


def test_a_command_is_judged_again_where_it_is_applied() -> None:
    target = secured()
    allowed = apply(target, by("alice", put()), by("alice", Delete("/a", False, False)))
    assert [type(result) for result in allowed] == [Event, Event]
    before = target.store.index
    change = by("root", UserPut("alice", "", None, None, ["app"], True))
    results = apply(target, change, by("alice", put()))
    assert results == [PutUser(User("alice", "h", ()), False), DENIED]
    assert target.store.index == before + 1
    assert apply(target, by("root", UserDelete("alice")), by("alice", put()))[1] == DENIED


def test_each_shape_of_access_is_judged() -> None:
    target = secured()
    access = {
        ("/a", False): True,
        ("/a", True): False,
        ("/a/", False): True,
        ("/a/", True): True,
        ("/ab", False): False,
        ("/", False): False,
    }
    for (key, recursive), allowed in access.items():
        result = apply(target, by("alice", put("/a/k"), key, recursive))[0]
        assert (result != DENIED) is allowed, (key, recursive)


def test_only_the_root_role_changes_users_and_roles() -> None:
    target = secured()
    changes = [user("x"), UserDelete("alice"), role("x", [], []), RoleDelete("app"), AuthDisable(), AuthEnable(True)]
    for change in changes:
        assert apply(target, change, by("alice", change), by("nobody", change)) == [DENIED] * 3, change
    assert apply(target, by("root", UserPut("alice", "", None, ["root"], None, True)))
    assert apply(target, by("alice", AuthDisable())) == [None]


def test_root_keeps_its_role_whatever_is_revoked() -> None:
    target = secured()
    apply(target, by("root", UserPut("root", "", None, None, ["root"], True)))
    assert target.auth.users["root"].roles == ()
    assert target.auth.user("root").roles == ("root",)
    assert isinstance(apply(target, by("root", put("/x"), "/x"))[0], Event)


def test_expiry_needs_no_permission() -> None:
    target = secured()
    apply(target, by("alice", Set("/a", "v", False, 1, False)))
    target.apply([[0]], Position(2, 1, NOW_NS + 10))
    assert target.store.root.children == {}


def test_listeners_hear_of_every_change_and_of_no_refusal() -> None:
    target, heard = machine(), []
    target.auth.on_change.append(lambda: heard.append(target.auth.enabled))
    apply(target, user("root"), UserDelete("nobody"), AuthEnable(True), by("root", AuthDisable()), AuthDisable())
    assert heard == [False, False, True, False]  # root, the guests' role, on, off


def test_a_snapshot_holds_all_of_it() -> None:
    target = secured()
    apply(target, by("root", RolePut("odd", [None, []], NOTHING, [[], None])))
    restored = machine()
    restored.load([bytes([byte]) for byte in b"".join(target.dump())])
    assert restored.auth.as_value() == target.auth.as_value()
    assert restored.auth.roles["odd"] == Role("odd", Permissions(None, ()), Permissions(), Permissions((), None))
    assert b"".join(restored.dump()) == b"".join(target.dump())
    index = restored.store.index
    apply(restored, by("root", UserDelete("nobody")))
    assert restored.store.index == index, "prepared is part of the state"


def test_a_snapshot_without_auth_is_the_beginning() -> None:
    target = secured()
    target.load(snapshot.dump(Store()))
    assert target.auth.as_value() == AuthState(lambda: None).as_value()


def test_a_hash_is_shown_by_nothing_that_prints() -> None:
    target = machine()
    created = apply(target, user("alice", None, "$2b$hash"))[0]
    assert "$2b$" not in f"{created!r} {target.auth.users!r} {created.user}"


NAMES = ["root", "guest", "a", "b", "c"]


def random_change(dice: random.Random) -> Any:
    names = lambda: dice.choice([None, [], dice.choices(NAMES, k=dice.randint(1, 2))])  # noqa: E731
    pair = lambda: [dice.choice([None, [], ["/x"], ["/*", "/x"]]) for _ in range(2)]  # noqa: E731
    name = dice.choice(NAMES)
    change = dice.choice(
        [
            UserPut(name, dice.choice(["", "h1", "h2"]), names(), names(), names(), dice.random() < 0.5),
            UserDelete(name),
            RolePut(name, pair(), dice.choice([None, pair()]), dice.choice([None, pair()])),
            RoleDelete(name),
            AuthEnable(dice.random() < 0.5),
            AuthDisable(),
            put(dice.choice(["/x", "/y"])),
        ]
    )
    if dice.random() < 0.3:
        return change
    return OnBehalf(Access(dice.choice(["", *NAMES]), "/x", dice.random() < 0.5, True), change)


@pytest.mark.parametrize("seed", range(30))
def test_members_that_restart_from_snapshots_come_to_the_same(seed: int) -> None:
    dice = random.Random(seed)
    first, second = machine(), machine()
    for _ in range(150):
        change = random_change(dice)
        results = [apply(target, change)[0] for target in (first, second)]
        assert len({str(getattr(result, "node", result)) for result in results}) == 1, results
        if dice.random() < 0.1:
            fresh = machine()
            fresh.load(second.dump())
            second = fresh
    assert b"".join(first.dump()) == b"".join(second.dump())
