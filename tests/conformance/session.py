"""Plays a scenario's steps against one server and returns each answer as normalised lines."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from .normalise import Normaliser
from .scenario import Scenario, Step
from .servers import Server
from .wire import ANSWER_SECONDS, Answer, Closed, Wire

SILENCE_SECONDS = 0.08
CLOSE_SECONDS = 5.0
DRAIN_SECONDS = 0.3
EXPIRE_SECONDS = 10.0
UNCOUNTED = ("getsSuccess", "getsFail", "watchers")
FORM = "Content-Type: application/x-www-form-urlencoded"


class Session:
    """One keep-alive connection for plain requests and one for each watch; entering it empties the server's tree."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._plain = Wire(server.address)
        self._watches: dict[str, Wire] = {}
        self._collected: dict[str, list[str]] = {}
        self._last_index = 0
        self._known: dict[str, dict[str, Any]] = {}
        self._normaliser = Normaliser(server, self._empty_tree())
        self._counters = self._count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in (self._plain, *self._watches.values()):
            wire.close()

    def play(self, step: Step) -> list[str]:
        """Take one step; the lines it answered, none for a step that only acts."""
        verb, _, rest = step.question.partition(" ")
        act: Callable[[str], Iterator[str]] | None = getattr(self, f"_do_{verb}", None)
        if act is not None:
            return list(act(rest))
        return list(self._normaliser.answer(self.ask(step.question, step.headers)))

    def ask(self, question: str, headers: list[str] | None = None, content_type: str = FORM) -> Answer:
        """Send `METHOD target [body]` on the plain connection and read the answer."""
        request = self._request(question, headers or [], content_type)
        method = question.partition(" ")[0]
        try:
            self._plain.send(request)
            answer = self._plain.read_answer(method)
        except (Closed, ConnectionError):
            self._reconnect()
            self._plain.send(request)
            answer = self._plain.read_answer(method)
        if answer.closes:
            self._reconnect()
        self._remember(answer)
        return answer

    def collected(self, name: str) -> list[str]:
        """Return all lines that a watch has sent so far, without waiting for more; none for a watch never begun."""
        lines = self._collected.setdefault(name, [])
        wire = self._watches.get(name)
        try:
            while wire and (chunk := wire.read_chunk(0)):
                lines.extend(self._normaliser.body(chunk))
            self._finish(name, "(end)")
        except TimeoutError:
            pass
        except Closed:
            self._finish(name, "(closed)")
        return lines

    def _finish(self, name: str, how: str) -> None:
        if wire := self._watches.pop(name, None):
            self._collected[name].append(how)
            wire.close()

    def _remember(self, answer: Answer) -> None:
        self._last_index = int(answer.header("X-Etcd-Index") or 0) or self._last_index
        if answer.body.startswith(b'{"action"'):
            node = json.loads(answer.body).get("node", {})
            self._known[_quoted(node.get("key", "/"))] = node

    def _fill(self, request: str) -> str:
        """Fill names in, and `{index-1}`, `{modified /a}`, `{value /a}` with what this session saw last.

        An index before the session's first one would show what earlier sessions did; the first is taken instead.
        """
        request = self._normaliser.fill(request)
        request = re.sub(r"\{index([+-]\d+)?\}", lambda found: str(self._seen_index(int(found[1] or 0))), request)
        request = re.sub(
            r"\{modified ([^ }]+)\}", lambda found: str(self._node(found[1]).get("modifiedIndex", 1)), request
        )
        return re.sub(r"\{value ([^ }]+)\}", lambda found: _quoted(self._node(found[1]).get("value", "x")), request)

    def _seen_index(self, offset: int) -> int:
        return max(self._last_index + offset, self._normaliser.base_index + 1)

    def _node(self, path: str) -> dict[str, Any]:
        return self._known.get(path, {})

    def _request(self, question: str, headers: list[str], content_type: str = FORM) -> bytes:
        method, target, *body = self._fill(question).split(" ", 2)
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *map(self._fill, headers)]
        payload = _bytes(body[0]) if body else b""
        if body and not any(header.startswith("Content-Type:") for header in headers):
            lines.append(content_type)
        if body and not any(header.startswith("Content-Length:") for header in headers):
            lines.append(f"Content-Length: {len(payload)}")
        return b"\r\n".join(_bytes(line) for line in lines if line != "Content-Type:") + b"\r\n\r\n" + payload

    def _reconnect(self) -> None:
        self._plain.close()
        self._plain = Wire(self._server.address)

    def _empty_tree(self) -> int:
        self._normaliser = Normaliser(self._server, 0)
        root = json.loads(self.ask("GET /v2/keys/").body)["node"]
        for key in sorted(node["key"] for node in root.get("nodes", [])):
            self.ask(f"DELETE /v2/keys{_quoted(key)}?recursive=true")
        return int(self.ask("GET /v2/keys/").header("X-Etcd-Index") or 0)

    def _count(self) -> dict[str, int]:
        with contextlib.closing(Wire(self._server.address)) as wire:
            wire.send(b"GET /v2/stats/store HTTP/1.1\r\nHost: x\r\n\r\n")
            counters: dict[str, int] = json.loads(wire.read_answer().body)
        return counters

    def _do_json(self, rest: str) -> Iterator[str]:
        return self._normaliser.answer(self.ask(rest, content_type="Content-Type: application/json"))

    def _do_raw(self, rest: str) -> Iterator[str]:
        with contextlib.closing(Wire(self._server.address)) as wire:
            wire.send(_bytes(self._fill(rest)))
            yield from self._answers_until_quiet(wire, "HEAD" if rest.startswith("HEAD") else "GET")

    def _answers_until_quiet(self, wire: Wire, method: str) -> Iterator[str]:
        more = wire.holds_bytes_within(ANSWER_SECONDS)
        while more:
            answer = wire.read_answer(method)
            yield from self._normaliser.answer(answer)
            more = wire.holds_bytes_within(CLOSE_SECONDS if answer.closes else SILENCE_SECONDS)
        yield "(closed)" if wire.closed else "(open)"

    def _do_peer(self, rest: str) -> Iterator[str]:
        with contextlib.closing(Wire(self._server.peer_address)) as wire:
            wire.send(self._request(rest, []))
            yield from self._normaliser.answer(wire.read_answer(rest.partition(" ")[0]))

    def _do_watch(self, rest: str) -> Iterator[str]:
        name, target = rest.split(" ")
        wire = self._watches[name] = Wire(self._server.address)
        wire.send(self._request(f"GET {target}", []))
        head = wire.read_head()
        if head.header("Transfer-Encoding") != "chunked":
            head = head._replace(body=wire.read_body(head))
        return self._normaliser.answer(head)

    def _do_event(self, name: str) -> Iterator[str]:
        chunk = self._watches[name].read_chunk()
        return self._normaliser.body(chunk) if chunk else iter(["(end)"])

    def _do_end(self, name: str) -> Iterator[str]:
        return self._do_event(name)

    def _do_silent(self, name: str) -> Iterator[str]:
        try:
            chunk = self._watches[name].read_chunk(SILENCE_SECONDS)
        except TimeoutError:
            return iter(["(silent)"])
        return self._normaliser.body(chunk) if chunk else iter(["(end)"])

    def _do_drain(self, name: str) -> Iterator[str]:
        wire = self._watches[name]
        try:
            while wire.read_chunk(DRAIN_SECONDS):
                pass
        except TimeoutError:
            return iter(["(events, then silence)"])
        except Closed:
            return iter(["(events, then closed)"])
        return iter(["(events, then closed)"])

    def _do_close(self, name: str) -> Iterator[str]:
        if wire := self._watches.pop(name, None):
            wire.close()
        return iter(())

    def _do_repeat(self, rest: str) -> Iterator[str]:
        times, question = rest.split(" ", 1)
        for _ in range(int(times)):
            self.ask(question)
        return iter(())

    def _do_sleep(self, seconds: str) -> Iterator[str]:
        time.sleep(float(seconds))
        return iter(())

    def _do_expire(self, target: str) -> Iterator[str]:
        deadline = time.monotonic() + EXPIRE_SECONDS
        while self.ask(f"GET {target}").status != "404 Not Found":
            if time.monotonic() > deadline:
                yield f"(not expired within {EXPIRE_SECONDS} s)"
                return
            time.sleep(0.01)

    def _do_counters(self, _: str) -> Iterator[str]:
        now = self._count()
        counted = {name: now[name] - self._counters[name] for name in now if name not in UNCOUNTED}
        yield ", ".join(f"{name} +{by}" for name, by in counted.items() if by) or "(nothing counted)"

    def _do_fields(self, target: str) -> Iterator[str]:
        yield ", ".join(json.loads(self.ask(f"GET {target}").body))

    def _do_metrics(self, prefix: str) -> Iterator[str]:
        text = self.ask("GET /metrics").body.decode()
        yield from sorted(re.findall(rf"^# TYPE ({prefix}\S* \w+)$", text, re.MULTILINE))


def play(scenario: Scenario, server: Server) -> Iterator[tuple[Step, list[str]]]:
    """Play a whole scenario on a server."""
    with Session(server) as session:
        for step in scenario.steps:
            yield step, session.play(step)


def _bytes(text: str) -> bytes:
    return re.sub(
        rb"\\(x[0-9a-f]{2}|[rnt\\])",
        lambda found: _ESCAPES.get(found[1]) or bytes.fromhex(found[1][1:].decode()),
        text.encode(),
    )


_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


def _quoted(key: str) -> str:
    return "".join(
        c if (c.isalnum() and c.isascii()) or c in "/_-." else "".join(f"%{b:02x}" for b in c.encode()) for c in key
    )
