"""How Go reads a form (Go 1.19: net/http Request.ParseForm, net/url ParseQuery, mime ParseMediaType).

Owns the texts of Go's errors: clients see them as the `cause` of error 210. Knows nothing of etcd. A form is a dict of
the first value of each name: later values of the same name have no meaning to etcd.
"""

from __future__ import annotations

import re

from etcdpy.http.go_path import BadEscape, unescape
from etcdpy.http.go_quote import quote

FORM = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 10 << 20
"""Go's own limit on a form body (net/http: maxFormSize)."""

_TOKEN = r"[^\x00-\x20\x7f-\U0010ffff()<>@,;:\\\"/\[\]?=]+"
_SPECIAL = r"()<>@,;:\\\"/\[\]?="
_MEDIA_TYPE = re.compile(rf"({_TOKEN})?(/)?({_TOKEN})?(.*)", re.DOTALL)
_PARAMETER = re.compile(
    rf'\s*;\s*({_TOKEN})\s*=\s*(?:{_TOKEN}|"(?:\\[{_SPECIAL}]|\\(?![{_SPECIAL}])|[^"\r\n\\])*")', re.DOTALL
)


class FormError(ValueError):
    """`str()` gives Go's text."""


def parse_media_type(content_type: str) -> str:
    """The media type in lower case, without its parameters. Raises `FormError` if type or parameters are malformed."""
    base, _, _ = content_type.partition(";")
    media_type = base.lower().strip()
    _check_media_type(media_type)
    _check_parameters(content_type[len(base) :])
    return media_type


def _check_media_type(media_type: str) -> None:
    match = _MEDIA_TYPE.fullmatch(media_type)
    assert match is not None  # every part of the expression is optional
    main, slash, sub, rest = match.groups()
    if not main:
        raise FormError("mime: no media type")
    if not slash:
        if sub or rest:
            raise FormError("mime: expected slash after first token")
        return
    if not sub:
        raise FormError("mime: expected token after slash")
    if rest:
        raise FormError("mime: unexpected content after media subtype")


def _check_parameters(text: str) -> None:
    seen: set[str] = set()
    while text.strip():
        match = _PARAMETER.match(text)
        if not match:
            if text.strip() == ";":
                return
            raise FormError("mime: invalid media parameter")
        name = match[1].lower()
        if name in seen:
            raise FormError("mime: duplicate parameter name")
        seen.add(name)
        text = text[match.end() :]


def parse_query(query: str) -> dict[str, str]:
    """The first value of each name. Raises `FormError` for what Go refuses; a semicolon outranks a bad escape."""
    if ";" in query:
        raise FormError("invalid semicolon separator in query")
    form: dict[str, str] = {}
    try:
        for pair in query.split("&"):
            if pair:
                name, _, value = pair.partition("=")
                form.setdefault(_unescape(name), _unescape(value))
    except BadEscape as error:
        raise FormError(f"invalid URL escape {quote(error.text)}") from error
    return form


def _unescape(text: str) -> str:
    if "+" not in text:
        return unescape(text)
    unescape(text)  # an error must show the text as it was sent
    return unescape(text.replace("+", " "))


def is_form(content_type: str | None) -> bool:
    """Whether a body of this type is read as a form. Raises `FormError` for a malformed type."""
    if content_type == FORM:
        return True
    return bool(content_type) and parse_media_type(content_type or "") == FORM


def parse_form(query: str, content_type: str | None, body: bytes | None) -> dict[str, str]:
    """The form of a request: body before query, the first value wins. `body` is None for methods whose body Go does
    not read. Raises `FormError`; what is wrong with the body comes first."""
    if body is None or not is_form(content_type):
        return parse_query(query) if query else {}
    if len(body) > MAX_FORM_BYTES:
        raise FormError("http: POST too large")
    form = parse_query(body.decode("utf-8", "surrogateescape"))
    if query:
        form = parse_query(query) | form
    return form
