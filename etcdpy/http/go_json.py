"""JSON as Go writes and reads it (Go 1.19: encoding/json).

Writing: compact; strings are `json_string`'s. Reading: Go's error texts, which clients see. Both use no
recursion: depth is limited by a number, not by the stack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from etcdpy.http.go_quote import quote as go_quote
from etcdpy.http.json_string import quote

MAX_DEPTH = 10_000
"""Go's own limit on nesting."""

Json = None | bool | int | float | str | Mapping[str, "Json"] | Sequence["Json"]


def dumps(value: Json) -> str:
    """Compact JSON, keys in the order given. For answers whose depth is known to be small."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{quote(name)}:{dumps(item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(dumps, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else _number(value)


def _number(value: int | float) -> str:
    """Go writes a float without an exponent between 1e-6 and 1e21, and a whole one without a fraction."""
    if isinstance(value, int):
        return str(value)
    text = repr(value)
    if 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


# Reading


class JsonError(ValueError):
    """`str()` gives Go's text."""


class Number(str):
    """A number as it was written: Go decides by the target's type what it is, and so do we."""


class Object(NamedTuple):
    """An object as it was written, repeated names included."""

    pairs: list[tuple[str, Parsed]]

    def field(self, name: str) -> list[Parsed]:
        """All values given for a struct field, in order: Go matches names in any case and keeps the last."""
        return [value for key, value in self.pairs if key == name or key.casefold() == name.casefold()]


Parsed = None | bool | str | Number | Object | list["Parsed"]

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING_RUN = re.compile(r'[^"\\\x00-\x1f]*')
_HEX4 = re.compile(r"[0-9a-fA-F]{0,4}")
_ESCAPE_OR_BAD = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))|([\ud800-\udfff])')
_UNESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_LITERALS: dict[str, tuple[str, Parsed]] = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_DIGITS = re.compile(r"[0-9]*")


def loads(data: bytes, *, only: bool = True) -> Parsed:
    """The value that `data` holds. With `only` False, what follows the value is ignored (Go: a Decoder, against
    Unmarshal). Raises `JsonError`."""
    reader = _Reader(data)
    value = reader.read_value()
    if only:
        reader.skip_space()
        if not reader.at_end:
            raise reader.unexpected("after top-level value")
    return value


class _Reader:
    """`text` has one character for each byte, and ends with the space that Go's scanner sees at the end of input."""

    def __init__(self, data: bytes) -> None:
        self._text = data.decode("latin-1") + " "
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def unexpected(self, context: str) -> JsonError:
        if self.at_end:
            return JsonError("unexpected end of JSON input")
        char = self._text[self._at]
        shown = {"'": r"'\''", '"': "'\"'"}.get(char) or f"'{go_quote(char)[1:-1]}'"
        return JsonError(f"invalid character {shown} {context}")

    def skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None  # it may be empty
        self._at = match.end()

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def read_value(self) -> Parsed:
        """One value of any depth: `open_` holds the containers that are not closed yet."""
        open_: list[Object | list[Parsed]] = []
        while True:
            self.skip_space()
            value, opened = self._read_start()
            if opened:
                if len(open_) >= MAX_DEPTH:
                    raise JsonError("exceeded max depth")
                open_.append(opened[0])
                if isinstance(opened[0], Object):
                    self._read_name(opened[0])
                continue
            while True:
                if not open_:
                    return value
                container = open_[-1]
                self._add(container, value)
                if not self._closes(container):
                    break
                value = open_.pop()

    def _read_start(self) -> tuple[Parsed, list[Object | list[Parsed]]]:
        """A value that is complete, or a container that needs its first element."""
        char = self._peek()
        if char == '"':
            return self._read_string(), []
        if char and char in "-0123456789":
            return self._read_number(), []
        if char in _LITERALS:
            return self._read_literal(*_LITERALS[char]), []
        if char not in ("{", "["):
            raise self.unexpected("looking for beginning of value")
        self._at += 1
        self.skip_space()
        container: Object | list[Parsed] = Object([]) if char == "{" else []
        if self._peek() == ("}" if char == "{" else "]"):
            self._at += 1
            return container, []
        return None, [container]

    def _add(self, container: Object | list[Parsed], value: Parsed) -> None:
        if isinstance(container, list):
            container.append(value)
        else:
            name, _ = container.pairs[-1]
            container.pairs[-1] = (name, value)

    def _closes(self, container: Object | list[Parsed]) -> bool:
        """Reads what follows an element: the end of its container (True), or the way to the next element."""
        self.skip_space()
        is_list = isinstance(container, list)
        char = self._peek()
        if char == ("]" if is_list else "}"):
            self._at += 1
            return True
        if char != ",":
            raise self.unexpected("after array element" if is_list else "after object key:value pair")
        self._at += 1
        if isinstance(container, Object):
            self.skip_space()
            self._read_name(container)
        return False

    def _read_name(self, container: Object) -> None:
        if self._peek() != '"':
            raise self.unexpected("looking for beginning of object key string")
        name = self._read_string()
        self.skip_space()
        if self._peek() != ":":
            raise self.unexpected("after object key")
        self._at += 1
        container.pairs.append((name, None))

    def _read_literal(self, word: str, value: Parsed) -> Parsed:
        for expected in word:
            if self._peek() != expected:
                raise self.unexpected(f"in literal {word} (expecting {go_quote(expected)[1:-1]!r})")
            self._at += 1
        return value

    def _digits(self) -> int:
        match = _DIGITS.match(self._text, self._at)
        assert match is not None  # it may be empty
        self._at = match.end()
        return match.end() - match.start()

    def _read_number(self) -> Number:
        start = self._at
        if self._peek() == "-":
            self._at += 1
        if self._peek() == "0":
            self._at += 1
        elif not self._digits():
            raise self.unexpected("in numeric literal")
        if self._peek() == ".":
            self._at += 1
            if not self._digits():
                raise self.unexpected("after decimal point in numeric literal")
        if self._peek() in ("e", "E"):
            self._at += 1
            if self._peek() in ("+", "-"):
                self._at += 1
            if not self._digits():
                raise self.unexpected("in exponent of numeric literal")
        return Number(self._text[start : self._at])

    def _read_string(self) -> str:
        start = self._at = self._at + 1
        while True:
            match = _STRING_RUN.match(self._text, self._at)
            assert match is not None  # it may be empty
            self._at = match.end()
            char = self._peek()
            if char == '"':
                break
            if char != "\\":
                raise self.unexpected("in string literal")
            self._skip_escape()
        raw = self._text[start : self._at]
        self._at += 1
        return _decode_string(raw)

    def _skip_escape(self) -> None:
        self._at += 1
        char = self._peek()
        if char != "u":
            if char not in _UNESCAPED:
                raise self.unexpected("in string escape code")
            self._at += 1
            return
        self._at += 1
        match = _HEX4.match(self._text, self._at)
        assert match is not None  # it may be empty
        self._at = match.end()
        if match.end() - match.start() < 4:
            raise self.unexpected(r"in \u hexadecimal character escape")


def _decode_string(raw: str) -> str:
    text = raw.encode("latin-1").decode("utf-8", "surrogateescape")
    text = _ESCAPE_OR_BAD.sub(_unescape, text)
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined if joined != text else text


def _unescape(match: re.Match[str]) -> str:
    code, short, _ = match.groups()
    if code:
        return chr(int(code, 16))
    return _UNESCAPED[short] if short else "\ufffd"
