"""A member of its own process for the tests of this directory, and raw sockets to attack it with."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
DEADLINE_SECONDS = 20.0


class Member:
    """A running member: its ports, its files, its log."""

    def __init__(self, port: int, peer_port: int, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.peer_port = peer_port
        self.directory = directory
        self.process = process

    @property
    def log(self) -> str:
        return Path(self.directory, "log").read_text(errors="replace")

    @property
    def memory_bytes(self) -> int:
        """Resident now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10  # type: ignore[index]

    @property
    def open_files(self) -> int:
        """Connections included."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def connect(self, *, peer: bool = False, receive_buffer: int = 0) -> socket.socket:
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(DEADLINE_SECONDS)
        try:
            connection.connect(("127.0.0.1", self.peer_port if peer else self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def raw(self, data: bytes, *, peer: bool = False, silence_seconds: float = 0.5) -> bytes:
        """All that comes back to these bytes until the server closes, or is silent for a moment."""
        with self.connect(peer=peer) as connection:
            with contextlib.suppress(ConnectionError):  # it may refuse before it has read all
                connection.sendall(data)
            return received(connection, silence_seconds)

    def ask(self, method: str, target: str, body: str = "", headers: str = "", user: str = "") -> tuple[int, bytes]:
        """Status and body of one plain request."""
        data = request(method, target, body, headers + (authorization(user) if user else ""), "close")
        answer = self.raw(data, silence_seconds=DEADLINE_SECONDS)
        return status_of(answer), body_of(answer)

    def json(self, method: str, target: str, value: Any = None, user: str = "") -> Any:
        """The answer of a request that succeeds."""
        status, body = self.ask(method, target, json.dumps(value) if value is not None else "", user=user)
        assert status < 300, (method, target, status, body)
        return json.loads(body) if body else None

    @property
    def raft(self) -> tuple[int, int]:
        """Index and term."""
        answer = self.raw(request("GET", "/v2/keys/", connection="close"))
        found = [re.search(rb"X-Raft-%b: (\d+)" % name, answer) for name in (b"Index", b"Term")]
        return int(found[0][1]), int(found[1][1])  # type: ignore[index]

    def secure(self, **users: dict[str, Any]) -> None:
        """Auth on, with guests shut out, the user root:rp, and users with their permissions; each password is "pw"."""
        self.json("PUT", "/v2/auth/users/root", {"user": "root", "password": "rp"})
        for name, kv in users.items():
            self.json("PUT", f"/v2/auth/roles/{name}", {"role": name, "permissions": {"kv": kv}})
            self.json("PUT", f"/v2/auth/users/{name}", {"user": name, "password": "pw", "roles": [name]})
        self.json("PUT", "/v2/auth/roles/guest", {"role": "guest"})
        self.json("PUT", "/v2/auth/enable")


def request(method: str, target: str, body: str = "", headers: str = "", connection: str = "keep-alive") -> bytes:
    lines = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n{headers}"
    if body or method in ("PUT", "POST"):
        kind = "" if "content-type" in headers.lower() else FORM
        lines += f"{kind}Content-Length: {len(body.encode())}\r\n"
    return f"{lines}\r\n{body}".encode()


def authorization(user: str) -> str:
    return f"Authorization: Basic {base64.b64encode(user.encode()).decode()}\r\n"


def received(connection: socket.socket, silence_seconds: float = 1.0) -> bytes:
    """What comes until the end, or until nothing has come for a moment."""
    pieces = []
    connection.settimeout(silence_seconds)
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def is_closed(connection: socket.socket, seconds: float = DEADLINE_SECONDS) -> bool:
    """Whether the server ends the connection within that time; what comes before is dropped."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1."), answer[:100]
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" not in head:
        return body
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return whole


def answers_in(data: bytes) -> int:
    """How many answers came on a connection."""
    return len(re.findall(rb"HTTP/1\.[01] \d{3} ", data))


@contextlib.contextmanager
def running(*flags: str) -> Iterator[Member]:
    with tempfile.TemporaryDirectory(prefix="security-") as directory, contextlib.ExitStack() as stack:
        port, peer_port = _free_ports()
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        command = [
            *(
                sys.executable,
                "-m",
                "etcdpy",
                "--name=m",
                f"--data-dir={directory}/data",
                f"--initial-cluster=m={peer}",
            ),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", "--bcrypt-cost=4", *flags),
        ]
        log = stack.enter_context(Path(directory, "log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        stack.callback(_stop, process)
        member = Member(port, peer_port, Path(directory), process)
        _wait_until_ready(member)
        yield member


def peer_headers(member: Member, **changed: str) -> str:
    """The headers of a peer's stream, those of a stranger unless changed; ids are what anybody can see."""
    with urllib.request.urlopen(f"http://127.0.0.1:{member.peer_port}/members") as answer:
        cluster_id, own = answer.headers["X-Etcd-Cluster-Id"], json.load(answer)[0]["id"]
    known = {
        "X-Etcd-Cluster-ID": cluster_id,
        "X-Server-From": "abc123",
        "X-Raft-To": f"{own:x}",
        "X-Raft-Protocol": "1",
    }
    known |= {name.replace("_", "-"): value for name, value in changed.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in known.items())


def frame(*fields: Any) -> bytes:
    payload: bytes = msgpack.packb(fields)
    return len(payload).to_bytes(4, "big") + payload


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _wait_until_ready(member: Member) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with contextlib.suppress(OSError, AssertionError):
            if b'"clientURLs":["' in member.ask("GET", "/v2/members/leader")[1]:  # it has told its name, too
                return
        assert member.process.poll() is None, member.log
        assert time.monotonic() < deadline, member.log
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
