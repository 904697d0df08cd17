"""Credentials: what is remembered, what is forgotten, what is refused without a look, and that nothing tells more."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import bcrypt
import pytest

from etcdpy.auth.attempts import MAX_BUCKETS, PER_ADDRESS, PER_USER_AND_ADDRESS, Attempts
from etcdpy.auth.credentials import Credentials, parse_basic
from etcdpy.auth.model import AuthState
from etcdpy.auth.passwords import MAX_WAITING_PER_ADDRESS, BadPassword, Busy, Passwords
from etcdpy.auth.patience import MAX_WAITING_SECONDS
from etcdpy.auth.turns import Turns
from etcdpy.auth.verifier import MAX_REMEMBERED, UNKNOWN, Verifier, _Verdict

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()


class CountingPasswords(Passwords):
    def __init__(self) -> None:
        super().__init__(4)
        self.checks: list[tuple[bytes, str | None]] = []

    async def is_right(self, password: bytes, password_hash: str | None, user: str = "", address: str = "") -> bool:
        self.checks.append((password, password_hash))
        return await super().is_right(password, password_hash, user, address)


class Bench:
    def __init__(self) -> None:
        self.now = 1000.0
        self.state = AuthState(lambda: None)
        self.put_user("alice", HASH)
        self.passwords = CountingPasswords()
        self.attempts = Attempts(lambda: self.now)
        self.verifier = Verifier(self.state, self.passwords, self.attempts, self.sleep)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds

    def put_user(self, name: str, password_hash: str) -> None:
        self.state.put_user(name, password_hash, None, None, None, True)

    async def ask(self, user: str, password: str, address: str = "1.1.1.1") -> str | None:
        return await self.identify(basic(user, password, address))

    async def identify(self, credentials: Credentials) -> str | None:
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.verifier.identify(credentials, future.set_result)
        return await future


def basic(user: str, password: str, address: str = "1.1.1.1") -> Credentials:
    return Credentials(b"Basic " + base64.b64encode(f"{user}:{password}".encode()), None, address)


def run(scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        bench = Bench()
        try:
            await scenario(bench)
        finally:
            bench.passwords.close()

    asyncio.run(main())


def test_bcrypt_looks_once_at_right_ones_and_at_wrong_ones() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            assert await bench.ask("alice", "right") == "alice"
            assert await bench.ask("alice", "wrong") is None
            assert await bench.ask("nobody", "x") is None
        assert bench.passwords.checks == [(b"right", HASH), (b"wrong", HASH), (b"x", None)]
        assert bench.verifier.known(basic("alice", "right")) == "alice"

    run(scenario)


def test_a_changed_deleted_or_new_user_is_looked_at_again() -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.ask("alice", "right") == "alice"
        bench.put_user("alice", OTHER_HASH)
        assert bench.verifier.known(basic("alice", "right")) is UNKNOWN
        assert await bench.ask("alice", "right") is None
        assert await bench.ask("alice", "other") == "alice"
        bench.state.delete_user("alice")
        assert await bench.ask("alice", "other") is None
        bench.put_user("alice", OTHER_HASH)
        assert await bench.ask("alice", "other") == "alice"

    run(scenario)


def test_a_user_changed_while_bcrypt_looks_is_not_let_in() -> None:
    async def scenario(bench: Bench) -> None:
        answer = asyncio.ensure_future(bench.ask("alice", "right"))
        while not bench.passwords.checks:  # noqa: ASYNC110
            await asyncio.sleep(0)
        bench.put_user("alice", OTHER_HASH)
        assert await answer is None

    run(scenario)


def test_equal_credentials_wait_for_one_look() -> None:
    async def scenario(bench: Bench) -> None:
        assert set(await asyncio.gather(*(bench.ask("alice", "right") for _ in range(64)))) == {"alice"}
        assert len(bench.passwords.checks) == 1

    run(scenario)


def test_guessing_is_slowed_for_a_user_from_an_address_and_nobody_else() -> None:
    async def scenario(bench: Bench) -> None:
        begun, (burst, per_second) = bench.now, PER_USER_AND_ADDRESS
        for number in range(int(burst)):
            assert await bench.ask("alice", f"wrong{number}") is None
        assert bench.now == begun
        assert await bench.ask("alice", "right", "2.2.2.2") == "alice"
        assert await bench.ask("alice", "right") == "alice", "what is known needs no look"
        assert bench.now == begun
        for number in range(20):
            assert await bench.ask("alice", f"wrong again{number}") is None
        assert bench.now - begun >= 20 / per_second

    run(scenario)


def test_many_guesses_at_once_are_no_way_around() -> None:
    async def scenario(bench: Bench) -> None:
        guesses = [bench.ask("alice", f"wrong{number}") for number in range(60)]
        assert set(await asyncio.gather(*guesses)) == {None}
        assert len(bench.passwords.checks) == PER_USER_AND_ADDRESS.burst + 1, "one waits, the others do not"

    run(scenario)


def test_a_user_of_an_address_where_others_guess_gets_his_turn() -> None:
    """They ask again as soon as they have been told no, and he once."""

    async def scenario(bench: Bench) -> None:
        bench.put_user("bob", OTHER_HASH)
        over = False

        async def guess(who: int) -> None:
            number = 0
            while not over:
                await bench.ask(f"u{who % 20}", f"wrong{who}-{number}")
                number += 1
                await asyncio.sleep(0)

        guessing = [asyncio.create_task(guess(who)) for who in range(40)]
        while len(bench.passwords.checks) < 2 * PER_ADDRESS.burst:  # noqa: ASYNC110
            await asyncio.sleep(0)
        begun = bench.now
        assert await bench.ask("bob", "other") == "bob"
        assert bench.now - begun < 25 / PER_ADDRESS.per_second
        over = True
        await asyncio.gather(*guessing)

    run(scenario)


def test_who_has_waited_too_long_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        asked = [bench.ask(f"u{number}", "x") for number in range(400)]
        assert set(await asyncio.gather(*asked)) == {None}
        at_most = PER_ADDRESS.burst + (MAX_WAITING_SECONDS + 1) * PER_ADDRESS.per_second
        assert len(bench.passwords.checks) <= at_most
        assert bench.verifier._patience._lines == {}

    run(scenario)


def test_what_is_right_costs_no_attempt() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(60):
            bench.put_user(f"u{number}", HASH)
            assert await bench.ask(f"u{number}", "right") == f"u{number}"
        assert bench.now == 1000.0

    run(scenario)


def test_guessing_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(bench: Bench) -> None:
        for times in (1, 2):
            await asyncio.gather(*(bench.ask("alice", f"wrong{times}-{number}") for number in range(100)))
            assert caplog.messages == ["too many wrong passwords"] * times
            bench.now += 60

    run(scenario)


def test_guessing_many_users_from_an_address_is_slowed() -> None:
    async def scenario(bench: Bench) -> None:
        begun = bench.now
        for number in range(100):
            await bench.ask(f"user{number}", "x")
        assert bench.now - begun >= (100 - PER_ADDRESS.burst) / PER_ADDRESS.per_second

    run(scenario)


def test_the_memory_is_bounded() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(MAX_REMEMBERED + 10):
            bench.verifier._remember(b"%d" % number, _Verdict("u", None, False))
        assert len(bench.verifier._verdicts) == MAX_REMEMBERED
        attempts = Attempts(lambda: 0.0)
        for number in range(MAX_BUCKETS):
            assert attempts.take("u", str(number))
        assert len(attempts._tokens) == MAX_BUCKETS

    run(scenario)


def test_no_secret_is_kept() -> None:
    async def scenario(bench: Bench) -> None:
        credentials = basic("alice", "right")
        assert await bench.identify(credentials) == "alice"
        held = repr(bench.verifier._verdicts) + repr(bench.verifier._checking)
        assert base64.b64encode(b"alice:right").decode() not in held
        assert "right" not in repr(credentials) + repr(parse_basic(credentials.authorization))

    run(scenario)


def test_a_certificate_names_a_user_that_exists_unless_there_is_a_header() -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.identify(Credentials(b"", "alice")) == "alice"
        assert await bench.identify(Credentials(b"", "mallory")) == ""
        assert await bench.identify(Credentials(b"", None)) == ""
        assert await bench.identify(Credentials(b"Basic !", "alice")) is None
        assert await bench.identify(Credentials(basic("alice", "right").authorization, "root")) == "alice"

    run(scenario)


@pytest.mark.parametrize("password", [b"x" * 73, b"x" * 100_000, b"a\0b", b"\0"])
def test_passwords_that_bcrypt_cannot_take(password: bytes) -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(BadPassword) as refusal:
            await bench.passwords.hash(password)
        assert password.decode() not in str(refusal.value)
        assert not await bench.passwords.is_right(password, HASH)

    run(scenario)


@pytest.mark.parametrize("password", [b"x" * 72, b"\xff\xfe", "päss".encode(), b" ", b":"])
def test_passwords_that_it_can(password: bytes) -> None:
    async def scenario(bench: Bench) -> None:
        hashed = await bench.passwords.hash(password)
        assert await bench.passwords.is_right(password, hashed)
        assert not await bench.passwords.is_right(password + b"x", hashed)
        assert hashed != await bench.passwords.hash(password)

    run(scenario)


def test_an_empty_password_and_a_broken_hash_are_wrong() -> None:
    async def scenario(bench: Bench) -> None:
        assert not await bench.passwords.is_right(b"", HASH)
        assert not await bench.passwords.is_right(b"right", "no hash")

    run(scenario)


def test_too_many_at_once_are_refused_and_the_loop_goes_on() -> None:
    async def scenario(bench: Bench) -> None:
        count = MAX_WAITING_PER_ADDRESS + 5
        crowd = [bench.passwords.is_right(b"x", HASH, "", "1.1.1.1") for _ in range(count)]
        others = [bench.passwords.is_right(b"right", HASH, "", f"2.2.2.{number}") for number in range(5)]
        *answers, last = await asyncio.gather(*crowd, asyncio.gather(*others), return_exceptions=True)
        assert 4 <= [type(answer) for answer in answers].count(Busy) <= 5  # one is under way at once
        assert last == [True] * 5

    run(scenario)


def test_a_crowd_waits_for_itself_and_nobody_else_does() -> None:
    """Addresses take turns, and so do the users of one."""

    async def scenario(bench: Bench) -> None:
        done: list[str] = []

        async def check(name: str, user: str, address: str) -> None:
            await bench.passwords.is_right(b"x", HASH, user, address)
            done.append(name)

        crowd = [check("crowd", "alice", "1.1.1.1") for _ in range(30)]
        await asyncio.gather(*crowd, check("neighbour", "bob", "1.1.1.1"), check("stranger", "alice", "2.2.2.2"))
        assert {"neighbour", "stranger"} <= set(done[:5]), done

    run(scenario)


def test_who_leaves_while_he_waits_holds_up_nobody() -> None:
    async def scenario(bench: Bench) -> None:
        for begun in (0, 1, 2):
            waiting = [asyncio.create_task(bench.passwords.is_right(b"x", HASH)) for _ in range(5)]
            for _ in range(begun):
                await asyncio.sleep(0)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert await asyncio.wait_for(bench.passwords.is_right(b"right", HASH), 10)
        assert bench.passwords._free_threads == 1

    run(scenario)


def test_many_users_of_one_address_who_are_right_all_get_in() -> None:
    """After a restart nothing is remembered, and all of them come at once."""

    async def scenario(bench: Bench) -> None:
        users = [f"u{number}" for number in range(120)]
        for user in users:
            bench.put_user(user, HASH)
        assert await asyncio.gather(*(bench.ask(user, "right") for user in users)) == users

    run(scenario)


def test_lines_take_turns() -> None:
    turns: Turns[str] = Turns()
    for path, work in ((("a", "x"), "1"), (("a", "x"), "2"), (("a", "y"), "3"), (("b", "x"), "4"), ((), "0")):
        turns.add(path, work)
    assert (turns.waiting, turns.waiting_in("a"), turns.waiting_in("c")) == (5, 3, 0)
    assert [turns.take() for _ in range(5)] == ["0", "1", "4", "3", "2"]
    with pytest.raises(KeyError):
        turns.take()
    assert turns.waiting == 0


@pytest.mark.parametrize(
    ("header", "login"),
    [
        (b"Basic YTpi", ("a", b"b")),
        (b"bAsIc YTpi", ("a", b"b")),
        (b"Basic YTpiOmM=", ("a", b"b:c")),
        (b"Basic Og==", ("", b"")),
        (b"Basic YTo=", ("a", b"")),
        (b"Basic YTr/", ("a", b"\xff")),
        (b"Basic  YTpi", None),
        (b"Basic YTpi ", None),
        (b"Basic YTpi=", None),
        (b"Basic YTp", None),
        (b"Basic YQ==", None),
        (b"Basic", None),
        (b"Basic ", None),
        (b"Bearer YTpi", None),
        (b"Basic YTpi\xff", None),
        (b"BasicYTpi", None),
    ],
)
def test_the_header_is_read_as_go_does(header: bytes, login: tuple[str, bytes] | None) -> None:
    assert parse_basic(header) == login


def test_unknown_and_known_users_take_the_same_time() -> None:
    """Both are one bcrypt of the same cost."""
    passwords = Passwords(5)
    assert passwords._dummy_hash.startswith(b"$2b$05$")
    bcrypt.checkpw(b"x", passwords._dummy_hash)  # it is a hash that bcrypt works on; else it would raise
    passwords.close()
