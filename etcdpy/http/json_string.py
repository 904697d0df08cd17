"""Strings as Go's JSON has them (Go 1.19: encoding/json).

`<`, `>`, `&`, U+2028 and U+2029 are escaped, control characters have only the short forms for tab, newline and carriage
return, everything else is literal, and each byte that is not UTF-8 (a surrogate escape) becomes `\\ufffd`.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(r'[\x00-\x1f"\\<>&\u2028\u2029\ud800-\udfff]')
_ESCAPES = {
    **{chr(code): f"\\u{code:04x}" for code in (*range(0x20), *b"<>&", 0x2028, 0x2029)},
    "\t": r"\t",
    "\n": r"\n",
    "\r": r"\r",
    '"': r"\"",
    "\\": r"\\",
}


def quote(text: str) -> str:
    """A JSON string."""
    # Nothing printable is special but these five, and to look for each costs half of what the expression takes.
    if not text.isprintable() or '"' in text or "\\" in text or "<" in text or ">" in text or "&" in text:
        text = _SPECIAL.sub(_escape, text)
    return f'"{text}"'


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], r"\ufffd")
