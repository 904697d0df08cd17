"""Turns answers into text that is equal whenever two servers mean the same.

Masked are only times, ids, addresses and raft's own counters. A store index is kept, counted from the index at which
the scenario began (`+3`); so every write, refresh and expiry must take exactly as many as it takes in etcd. The header
lists that etcd sends again and again have a name here; a list that differs in anything is written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .servers import Server
from .wire import Answer

CORS = (
    "Access-Control-Allow-Headers: accept, content-type, authorization",
    "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE",
    "Access-Control-Allow-Origin: *",
)
JSON = "Content-Type: application/json"
TEXT = "Content-Type: text/plain; charset=utf-8"
KEYS = (*CORS, JSON, "X-Etcd-Cluster-Id: {cluster}", "X-Etcd-Index: {index}")
RAFT = ("X-Raft-Index: {raft}", "X-Raft-Term: {raft}")
SIZED = ("Date: {date}", "Content-Length: {length}")
HEADER_LISTS = {
    (*KEYS, *RAFT, *SIZED): "keys",
    (*KEYS, *SIZED): "keys-error",
    (*KEYS, *RAFT, "Date: {date}", "Transfer-Encoding: chunked"): "keys-chunked",
    (*CORS, JSON, "X-Etcd-Cluster-Id: {cluster}", *SIZED): "cluster-json",
    (*CORS, JSON, *SIZED): "json",
    (*CORS, *SIZED, TEXT): "text",
    (*CORS, TEXT, "X-Content-Type-Options: nosniff", *SIZED): "text-error",
    (*CORS, *SIZED): "empty",
}
MASKED_HEADERS = {
    "Date": (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "{date}"),
    "Content-Length": (re.compile(r"\d+"), "{length}"),
    "X-Etcd-Index": (re.compile(r"\d+"), "{index}"),
    "X-Raft-Index": (re.compile(r"[1-9]\d*"), "{raft}"),
    "X-Raft-Term": (re.compile(r"[1-9]\d*"), "{raft}"),
}
TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z"')
TTL = re.compile(r'"ttl":(-?\d+)')
INDEX_FIELD = re.compile(r'("(?:modifiedIndex|createdIndex|index)":)(\d+)')
CAUSE_INDEX = re.compile(r"(?<=\[)(\d+)(/| != )(\d+)(?=\])")
IN_ORDER_KEY = re.compile(r"(?<=/)0\d{19}")
DURATION = re.compile(r'"uptime":"[0-9hm.]*[0-9.]+(ns|µs|ms|s)"')
COUNTER = re.compile(r'((?:Cnt|Rate)":)[\d.e+-]+')
TTL_SECONDS_OF_GRACE = 2


class Normaliser:
    """Names what differs between servers: in requests by filling the names in, in answers by putting them back."""

    def __init__(self, server: Server, base_index: int) -> None:
        self.base_index = base_index
        self._names = {
            "{client}": server.url,
            "{peer}": server.peer_url,
            "{member}": server.member_id,
            "{member-decimal}": str(int(server.member_id, 16)),
            "{cluster}": server.cluster_id,
        }

    def fill(self, request: str) -> str:
        """Replace `{+3}` by an index, `{seq+3}` by an in-order key, `{x*9}` by nine x, `{member}` by an id."""
        for name, value in self._names.items():
            request = request.replace(name, value)
        request = re.sub(r"\{x\*(\d+)\}", lambda found: "x" * int(found[1]), request)
        request = re.sub(r"\{seq\+(\d+)\}", lambda found: f"{self.base_index + int(found[1]):020}", request)
        return re.sub(r"\{([+-]\d+)\}", lambda found: str(self.base_index + int(found[1])), request)

    def answer(self, answer: Answer) -> Iterator[str]:
        """Yield the lines of an answer: status and headers, then the body."""
        headers = tuple(f"{name}: {self._header(name, value)}" for name, value in answer.headers)
        index = answer.header("X-Etcd-Index")
        named = HEADER_LISTS.get(headers)
        summary = [named] if named else headers[3:] if headers[:3] == CORS else ["no-cors", *headers]
        shown_index = [] if index is None else [f"index {self._relative(index)}"]
        yield "; ".join([answer.status, *summary, *shown_index])
        yield from self.body(answer.body)

    def body(self, body: bytes) -> Iterator[str]:
        """Yield the lines of a body; a last line that has no newline says so."""
        if not body:
            return
        *lines, last = self._text(body).split("\n")
        yield from lines
        if last:
            yield f"{last} (no newline)"

    def _text(self, body: bytes) -> str:
        text = body.decode("utf-8", "backslashreplace")
        for name, value in self._names.items():
            text = text.replace(value, name)
        text = re.sub(r"x{200,}", lambda found: f"{{x*{len(found[0])}}}", text)
        text = IN_ORDER_KEY.sub(lambda found: f"{{seq{self._relative(found[0])}}}", text)
        text = INDEX_FIELD.sub(lambda found: found[1] + self._relative(found[2]), text)
        text = CAUSE_INDEX.sub(lambda found: self._relative(found[1]) + found[2] + self._relative(found[3]), text)
        text = DURATION.sub('"uptime":"{duration}"', TIME.sub('"{time}"', text))
        return COUNTER.sub(r"\1{n}", text)

    def _header(self, name: str, value: str) -> str:
        pattern, mask = MASKED_HEADERS.get(name, (None, ""))
        if pattern and pattern.fullmatch(value):
            return mask
        for known, real in self._names.items():
            value = value.replace(real, known)
        return value

    def _relative(self, index: str) -> str:
        return "0" if int(index) == 0 else f"{int(index) - self.base_index:+}"


def same(expected: str, got: str) -> bool:
    """Whether two normalised texts agree; a shown ttl may have run on by a second or two."""
    if expected == got:
        return True
    if TTL.sub("", expected) != TTL.sub("", got):
        return False
    pairs = zip(TTL.findall(expected), TTL.findall(got), strict=True)
    return all(abs(int(one) - int(other)) <= TTL_SECONDS_OF_GRACE for one, other in pairs)
