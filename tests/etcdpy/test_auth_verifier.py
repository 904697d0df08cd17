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
from etcdpy.auth.passwords import MAX_WAITING, BadPassword, Busy, Passwords
from etcdpy.auth.verifier import MAX_REMEMBERED, UNKNOWN, Verifier

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()


class CountingPasswords(Passwords):
    def __init__(self) -> None:
        super().__init__(4)
        self.checks: list[tuple[bytes, str | None]] = []

    async def is_right(self, password: bytes, password_hash: str | None) -> bool:
        self.checks.append((password, password_hash))
        return await super().is_right(password, password_hash)


class Bench:
    def __init__(self) -> None:
        self.now = 1000.0
        self.state = AuthState(lambda: None)
        self.put_user("alice", HASH)
        self.passwords = CountingPasswords()
        self.attempts = Attempts(lambda: self.now)
        self.slept: list[float] = []
        self.time_passes = False
        self.verifier = Verifier(self.state, self.passwords, self.attempts, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        if self.time_passes:
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
        burst = int(PER_USER_AND_ADDRESS.burst)
        for number in range(burst + 20):
            assert await bench.ask("alice", f"wrong{number}") is None
        assert len(bench.passwords.checks) == burst
        assert await bench.ask("alice", "right") is None, "a guess that is right is a guess"
        assert await bench.ask("alice", "right", "2.2.2.2") == "alice"
        assert await bench.ask("alice", "right") == "alice", "what is known needs no look"
        bench.time_passes = True
        assert await bench.ask("alice", "wrong!") is None
        assert bench.passwords.checks[-1][0] == b"wrong!"
        assert bench.slept[-1] == 1 / PER_USER_AND_ADDRESS.per_second

    run(scenario)


def test_many_guesses_at_once_are_no_way_around() -> None:
    async def scenario(bench: Bench) -> None:
        guesses = [bench.ask("alice", f"wrong{number}") for number in range(60)]
        assert set(await asyncio.gather(*guesses)) == {None}
        assert len(bench.passwords.checks) == PER_USER_AND_ADDRESS.burst
        assert len(bench.slept) == 1, "one waits, the others do not"

    run(scenario)


def test_what_is_right_costs_no_attempt() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(60):
            bench.put_user(f"u{number}", HASH)
            assert await bench.ask(f"u{number}", "right") == f"u{number}"
        assert bench.slept == []

    run(scenario)


def test_guessing_many_users_from_an_address_is_slowed() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(100):
            await bench.ask(f"user{number}", "x")
        assert len(bench.passwords.checks) == PER_ADDRESS.burst

    run(scenario)


def test_the_memory_is_bounded() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(MAX_REMEMBERED + 10):
            bench.verifier._remember(b"%d" % number, None)  # type: ignore[arg-type]
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
        answers = await asyncio.gather(
            *(bench.passwords.is_right(b"x", HASH) for _ in range(MAX_WAITING + 5)), return_exceptions=True
        )
        assert [type(answer) for answer in answers].count(Busy) == 5

    run(scenario)


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
