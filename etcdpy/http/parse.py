"""From a request to the one operation it means, or the error etcd gives (etcd 3.4: etcdserver/api/v2http/client.go,
parseKeyRequest; etcdserver/v2_server.go and apply_v2.go for what a method means).

Pure: values in, a value or an `EtcdError` out. The order of the checks is etcd's, because a request with two mistakes
is told of the first one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from etcdpy.commands import (
    MAX_TTL_SECONDS,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Get,
    KeyCommand,
    Set,
    Update,
    Watch,
)
from etcdpy.errors import (
    INDEX_NOT_A_NUMBER,
    INVALID_FIELD,
    INVALID_FORM,
    PREV_VALUE_REQUIRED,
    REFRESH_TTL_REQUIRED,
    REFRESH_VALUE,
    TTL_NOT_A_NUMBER,
    EtcdError,
)
from etcdpy.http.go_form import FormError, is_form, parse_form

KEYS_PREFIX = "/v2/keys"
KEYS_METHODS = ("HEAD", "GET", "PUT", "POST", "DELETE")

_BOOLEANS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)
_DIGITS = re.compile(r"[0-9]+")
_UINT64 = 1 << 64
_SECOND_NS = 1_000_000_000

Operation = KeyCommand | Get | Watch


class KeysRequest(NamedTuple):
    """What a request to `/v2/keys` means. `no_value_on_success` leaves the nodes out of the answer to a write. `key`
    and `recursive` are what was asked for literally, which is what permissions are about."""

    operation: Operation
    no_value_on_success: bool
    key: str = "/"
    recursive: bool = False


class _Fields(NamedTuple):
    """The parameters of a request, checked. None where absence means something else than the zero value."""

    value: str = ""
    prev_value: str = ""
    prev_index: int = 0
    wait_index: int = 0
    recursive: bool = False
    sorted: bool = False
    wait: bool = False
    dir: bool = False
    quorum: bool = False
    stream: bool = False
    no_value_on_success: bool = False
    ttl_ns: int | None = None
    prev_exist: bool | None = None
    refresh: bool = False


_NO_FIELDS = _Fields()


def has_form_body(method: str, content_type: str | None) -> bool:
    """Whether the body of a request is to be read. Raises `EtcdError` for a malformed content type, which needs no
    body to be refused."""
    if method not in ("PUT", "POST"):
        return False
    try:
        return is_form(content_type)
    except FormError as error:
        raise EtcdError(INVALID_FORM, str(error)) from error


def parse_keys(
    method: str, path: str, query: str, content_type: str | None, body: bytes, *, quirks: bool = False
) -> KeysRequest:
    """The operation that one of `KEYS_METHODS` means on `path`, which is decoded, clean, and begins with
    `KEYS_PREFIX`. `query` is raw. With `quirks`, TTLs wrap around as in etcd. Raises `EtcdError`."""
    try:
        form = parse_form(query, content_type, body if method in ("PUT", "POST") else None)
    except FormError as error:
        raise EtcdError(INVALID_FORM, str(error)) from error
    if not form:
        fields = _NO_FIELDS
    elif len(form) == 1 and "value" in form:
        fields = _Fields(form["value"])
    else:
        fields = _parse_fields(method, form, quirks)
    asked = path[len(KEYS_PREFIX) :]
    operation = _OPERATIONS[method](asked.rstrip("/") or "/", fields)
    return KeysRequest(operation, fields.no_value_on_success, asked, fields.recursive)


def _parse_fields(method: str, form: dict[str, str], quirks: bool) -> _Fields:
    prev_index = _uint64(form, "prevIndex", INDEX_NOT_A_NUMBER)
    wait_index = _uint64(form, "waitIndex", INDEX_NOT_A_NUMBER)
    recursive = _boolean(form, "recursive")
    sorted_ = _boolean(form, "sorted")
    wait = _boolean(form, "wait")
    dir_ = _boolean(form, "dir")
    quorum = _boolean(form, "quorum")
    stream = _boolean(form, "stream")
    if wait and method != "GET":
        raise EtcdError(INVALID_FIELD, '"wait" can only be used with GET requests')
    prev_value = form.get("prevValue")
    if prev_value == "":
        raise EtcdError(PREV_VALUE_REQUIRED, '"prevValue" cannot be empty')
    no_value_on_success = _boolean(form, "noValueOnSuccess")
    ttl_ns = _ttl_ns(form, quirks)
    prev_exist = _nullable_boolean(form, "prevExist")
    refresh = bool(_nullable_boolean(form, "refresh"))
    value = form.get("value", "")
    if refresh:
        _check_refresh(value, ttl_ns)
    if not quirks and method in ("PUT", "POST"):
        _check_ttl(ttl_ns)
    return _Fields(
        value,
        prev_value or "",
        prev_index,
        wait_index,
        recursive,
        sorted_,
        wait,
        dir_,
        quorum,
        stream,
        no_value_on_success,
        ttl_ns,
        prev_exist,
        refresh,
    )


def _boolean(form: dict[str, str], name: str) -> bool:
    text = form.get(name)
    if text is None:
        return False
    value = _BOOLEANS.get(text)
    if value is None:
        raise EtcdError(INVALID_FIELD, f'invalid value for "{name}"')
    return value


def _nullable_boolean(form: dict[str, str], name: str) -> bool | None:
    text = form.get(name)
    if text is None:
        return None
    value = _BOOLEANS.get(text)
    if value is None:
        raise EtcdError(INVALID_FIELD, f"invalid value for {name}")  # etcd has no quotes here
    return value


def _uint64(form: dict[str, str], name: str, code: int) -> int:
    text = form.get(name)
    if text is None:
        return 0
    # 20 digits reach 2^64; the rest of a longer number can only be leading zeros
    if _DIGITS.fullmatch(text) and len(digits := text.lstrip("0")) <= 20 and (number := int(digits or "0")) < _UINT64:
        return number
    raise EtcdError(code, f'invalid value for "{name}"')


def _ttl_ns(form: dict[str, str], quirks: bool) -> int | None:
    if not form.get("ttl"):
        return None
    seconds = _uint64(form, "ttl", TTL_NOT_A_NUMBER)
    if quirks:
        wrapped = seconds * _SECOND_NS % _UINT64
        return wrapped - _UINT64 if wrapped >= _UINT64 // 2 else wrapped
    return seconds * _SECOND_NS


def _check_refresh(value: str, ttl_ns: int | None) -> None:
    if value:
        raise EtcdError(REFRESH_VALUE, "A value was provided on a refresh")
    if ttl_ns is None:
        raise EtcdError(REFRESH_TTL_REQUIRED, "No TTL value set")


def _check_ttl(ttl_ns: int | None) -> None:
    """Our own limit, so it comes after all of etcd's."""
    if ttl_ns is not None and ttl_ns > MAX_TTL_SECONDS * _SECOND_NS:
        raise EtcdError(TTL_NOT_A_NUMBER, f'value for "ttl" is larger than {MAX_TTL_SECONDS}')


def _get(key: str, fields: _Fields) -> Operation:
    if fields.wait and not fields.quorum:
        return Watch(key, fields.recursive, fields.stream, fields.wait_index)
    return Get(key, fields.recursive, fields.sorted, fields.quorum)


def _head(key: str, fields: _Fields) -> Operation:
    return Get(key, fields.recursive, fields.sorted, quorum=False)


def _post(key: str, fields: _Fields) -> Operation:
    return Create(key, fields.value, fields.dir, unique=True, ttl_ns=fields.ttl_ns)


def _put(key: str, fields: _Fields) -> Operation:
    value, ttl_ns, refresh = fields.value, fields.ttl_ns, fields.refresh
    if fields.prev_exist is False:
        return Create(key, value, fields.dir, unique=False, ttl_ns=ttl_ns)
    if fields.prev_index or fields.prev_value:
        return CompareAndSwap(key, fields.prev_value, fields.prev_index, value, ttl_ns, refresh)
    if fields.prev_exist:
        return Update(key, value, ttl_ns, refresh)
    return Set(key, value, fields.dir, ttl_ns, refresh)


def _delete(key: str, fields: _Fields) -> Operation:
    if fields.prev_index or fields.prev_value:
        return CompareAndDelete(key, fields.prev_value, fields.prev_index)
    return Delete(key, fields.dir, fields.recursive)


_OPERATIONS = {"HEAD": _head, "GET": _get, "POST": _post, "PUT": _put, "DELETE": _delete}
