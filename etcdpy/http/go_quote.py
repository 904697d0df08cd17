"""Go's quoted strings, as its error texts contain them (strconv.Quote)."""

from __future__ import annotations

import re

_SHORT = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}
_PLAIN = re.compile(r"[ !#-\[\]-~]*")


def quote(text: str) -> str:
    """The text in double quotes. Bytes that are not UTF-8 (surrogate escapes) become `\\xff`."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(_quote_one, text)) + '"'


def _quote_one(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
