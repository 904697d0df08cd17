"""Our own load generators against servers whose behaviour is known: they count rightly and never hide a failure."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from bench import paced, watchers
from bench.address import HOST, Address
from bench.errors import BenchError
from bench.loader import load
from bench.servers import free_ports

DEADLINE_SECONDS = 10.0
REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def responder() -> Iterator[Address]:
    """The fixed responder, as a process of its own."""
    [port] = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "bench.responder", str(port)])
    try:
        wait_until_open(port)
        yield Address(port)
    finally:
        process.kill()
        process.wait()


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the responder doesn't listen"
            time.sleep(0.02)


class Scripted:
    """A server that gives each PUT the same answer (after a pause before the first, and some refusals), or hangs up
    where that is None."""

    def __init__(self, answer: bytes | None, pause_seconds: float = 0.0, refusals: int = 0) -> None:
        self.refusals = refusals
        self.answer = answer
        self.pause_seconds = pause_seconds
        self.paths: list[bytes] = []
        self.listener = socket.create_server((HOST, 0), backlog=256)
        self.address = Address(self.listener.getsockname()[1])
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(DEADLINE_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._talk, args=(connection,)))
            self.threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    starts = data.split(b"PUT ")[1:]
                    self.paths += [start.split(b" ")[0] for start in starts]
                    if self.answer is None:
                        return
                    pause, self.pause_seconds = self.pause_seconds, 0.0
                    time.sleep(pause)
                    refused = min(self.refusals, len(starts))
                    self.refusals -= refused
                    connection.sendall(REFUSAL * refused + self.answer * (len(starts) - refused))
            except ConnectionError:
                return


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    server = Scripted(*request.param)
    yield server
    server.close()


CREATED = b"HTTP/1.1 201 Created\r\nX-Raft-Term: %d\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("scripted", [(CREATED % 2,)], indirect=True)
def test_the_loader_sets_every_key_once(scripted: Scripted) -> None:
    load(scripted.address, 5, 1005)
    assert sorted(scripted.paths) == [b"/v2/keys/bench/%07d" % number for number in range(5, 1005)]


@pytest.mark.parametrize("scripted", [(CREATED % 2, 0.0, 3)], indirect=True)
def test_the_loader_sends_again_what_was_given_up(scripted: Scripted) -> None:
    load(scripted.address, 0, 1000)
    assert len(scripted.paths) == 1003
    assert set(scripted.paths) == {b"/v2/keys/bench/%07d" % number for number in range(1000)}


def test_the_loader_ends_also_where_there_are_fewer_keys_than_connections(responder: Address) -> None:
    assert load(responder, 0, 3) > 0
    assert load(responder, 3, 3) == 0


@pytest.mark.parametrize("scripted", [(REFUSAL,), (None,)], indirect=True, ids=["status 500", "closed"])
def test_no_generator_makes_a_figure_of_failures(scripted: Scripted) -> None:
    with pytest.raises(BenchError, match=r"status 500|closed a connection"):
        load(scripted.address, 0, 1000)
    with pytest.raises(BenchError, match=r"status 500|closed a connection"):
        paced.put(scripted.address, 1000, lambda seconds: seconds > 0.5)


def test_the_pace_is_kept(responder: Address) -> None:
    found = paced.put(responder, 2000, lambda seconds: seconds >= 0.5)
    assert found.answers == pytest.approx(2000 * found.seconds, rel=0.05)
    assert found.terms == {2}


@pytest.mark.parametrize("scripted", [(CREATED % 7, 0.2)], indirect=True)
def test_a_pause_of_the_server_is_in_the_longest_answer(scripted: Scripted) -> None:
    found = paced.put(scripted.address, 200, lambda seconds: seconds >= 0.5)
    assert found.longest_ms >= 200
    assert found.terms == {7}


def test_every_watcher_is_served_in_every_turn(responder: Address) -> None:
    assert 0 < watchers.fan_out(responder, watchers=100, writes=3) < 1000


@pytest.mark.parametrize("scripted", [(None,)], indirect=True)
def test_a_watcher_that_is_dropped_is_a_failure(scripted: Scripted) -> None:
    with pytest.raises(BenchError):
        watchers.fan_out(scripted.address, watchers=3, writes=1)
