"""`/v2/auth`: users, roles, on and off (etcd 3.4: v2http/client_auth.go), with etcd's order of checks: method, who
asks, JSON, the change itself. Passwords become hashes here, before they go anywhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from cluster.errors import ClusterError
from etcdpy.auth.gate import Gate
from etcdpy.auth.model import AuthError, PutUser, Role
from etcdpy.auth.passwords import BadPassword, Busy
from etcdpy.commands import (
    Access,
    AuthCommand,
    AuthDisable,
    AuthEnable,
    OnBehalf,
    RoleDelete,
    RolePut,
    UserDelete,
    UserPut,
)
from etcdpy.errors import EtcdError
from etcdpy.http.auth_json import (
    UserRequest,
    check_patterns,
    one_user_json,
    put_user_json,
    read_role,
    read_user,
    role_json,
    roles_json,
    users_json,
)
from etcdpy.http.go_form import FormError, parse_form
from etcdpy.http.go_json import Json, JsonError
from etcdpy.http.render import (
    JSON_TYPE,
    Headers,
    Response,
    cluster_header,
    json_response,
    message_response,
    method_not_allowed,
)
from etcdpy.http.request import BodyTooLarge, Request
from etcdpy.service import Service, awaited

PREFIX = "/v2/auth"
_ENABLE_METHODS = ("GET", "PUT", "DELETE")
_DENIED = message_response(401, "Insufficient credentials")

_Handler = Callable[..., Awaitable[Response]]
"""Takes the request, the name in its path, and who asks (`user`)."""


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class Auth:
    """Handlers of the three places. `quirks` keeps etcd's bugs."""

    def __init__(self, service: Service, gate: Gate, max_request_bytes: int, quirks: bool = False) -> None:
        self._service = service
        self._gate = gate
        self._state = gate.state
        self._max_request_bytes = max_request_bytes
        self._quirks = quirks

    async def enable(self, request: Request) -> Response:
        if request.method not in _ENABLE_METHODS:
            return method_not_allowed(_ENABLE_METHODS)
        if request.method == "GET":
            return self._shown({"enabled": self._state.enabled})
        command = AuthEnable(self._gate.guest_is_open) if request.method == "PUT" else AuthDisable()
        return await self._as_administrator(request, partial(self._change, command))

    async def users(self, request: Request) -> Response:
        return await self._route(request, self._list_users, self._one_user)

    async def roles(self, request: Request) -> Response:
        return await self._route(request, self._list_roles, self._one_role)

    async def _route(self, request: Request, listing: Callable[[Request], Json], one: _Handler) -> Response:
        """`/users` and `/users/` are the collection; one more component is a name."""
        pieces = request.path[len(PREFIX) :].rstrip("/").split("/")
        if len(pieces) > 3:
            return message_response(400, "Invalid path")
        allowed = ("GET",) if len(pieces) == 2 else ("GET", "PUT", "DELETE")
        if request.method not in allowed:
            return method_not_allowed(allowed)
        if len(pieces) == 2:
            return await self._as_administrator(request, partial(self._listed, request, listing))
        return await self._as_administrator(request, partial(one, request, pieces[2]))

    async def _as_administrator(self, request: Request, answer: Callable[..., Awaitable[Response]]) -> Response:
        """Every refusal of a change or a look is made an answer here."""
        user = await self._gate.administrator(request.credentials)
        if user is None:
            return _DENIED
        try:
            return await answer(user=user)
        except (_Refused, AuthError) as refusal:
            return message_response(refusal.status, refusal.message, self._headers)

    # Looking

    @property
    def _headers(self) -> Headers:
        return cluster_header(self._service.cluster_id)

    def _shown(self, value: Json, status: int = 200) -> Response:
        return json_response(value, status=status, headers=self._headers, newline=True)

    async def _listed(self, request: Request, listing: Callable[[Request], Json], user: str) -> Response:
        return self._shown(listing(request))

    def _list_users(self, request: Request) -> Json:
        _check_query(request)
        return users_json(self._state, show_hidden=not self._quirks)

    def _list_roles(self, request: Request) -> Json:
        _check_query(request)
        return roles_json(self._state, show_hidden=not self._quirks)

    # Changing

    async def _one_user(self, request: Request, name: str, user: str) -> Response:
        if request.method == "GET":
            shown = one_user_json(self._state, name)
            _check_query(request)
            return self._shown(shown)
        if request.method == "DELETE":
            return await self._change(UserDelete(name), user)
        asked = self._read(read_user, await self._body(request))
        if asked.user != name:
            raise _Refused(400, "User JSON name does not match the name in the URL")
        return await self._put_user(asked, user)

    async def _put_user(self, asked: UserRequest, user: str) -> Response:
        if (asked.grant or asked.revoke) and asked.roles:
            raise _Refused(400, "User JSON contains both roles and grant/revoke")
        password_hash = await self._hash(asked) if asked.password else ""
        command = UserPut(asked.user, password_hash, asked.roles, asked.grant, asked.revoke, not self._quirks)
        return await self._change(command, user)

    async def _hash(self, asked: UserRequest) -> str:
        try:
            return await self._gate.passwords.hash(asked.password.encode("utf-8", "surrogateescape"))
        except BadPassword as problem:
            raise _Refused(400, f"auth: Cannot create user {asked.user} with {problem}") from None
        except Busy:
            raise _Refused(503, "too many passwords wait to be hashed") from None

    async def _one_role(self, request: Request, name: str, user: str) -> Response:
        if request.method == "GET":
            return self._shown(role_json(self._state.role(name)))
        if request.method == "DELETE":
            return await self._change(RoleDelete(name), user)
        asked = self._read(read_role, await self._body(request))
        if asked.name != name:
            raise _Refused(400, "Role JSON name does not match the name in the URL")
        is_update = any(change is not None and not change.is_empty for change in (asked.grant, asked.revoke))
        if is_update and not asked.permissions.is_empty:
            raise _Refused(400, "Role JSON contains both permissions and grant/revoke")
        check_patterns(asked)
        return await self._change(RolePut(*asked), user, 200 if is_update else 201)

    async def _body(self, request: Request) -> bytes:
        try:
            return await request.read(self._max_request_bytes)
        except BodyTooLarge:
            limit = self._max_request_bytes
            raise _Refused(413, f"request body is larger than {limit} bytes (--max-request-bytes)") from None

    def _read(self, reader: Callable[[bytes], Any], body: bytes) -> Any:
        try:
            return reader(body)
        except JsonError:
            raise _Refused(400, "Invalid JSON in request body.") from None

    async def _change(self, command: AuthCommand, user: str, status: int = 200) -> Response:
        """Replicates the change; at its place in the log it is judged again whether `user` may."""
        access = Access(user, "", recursive=False, write=True)
        try:
            result = await awaited(partial(self._service.write, OnBehalf(access, command)))
        except EtcdError:
            return _DENIED
        except ClusterError:
            return message_response(500, "Internal Server Error", self._headers)
        if isinstance(result, PutUser):
            return self._shown(put_user_json(result.user), 201 if result.created else 200)
        if isinstance(result, Role):
            return self._shown(role_json(result), status)
        return Response(200, JSON_TYPE + self._headers)


def _check_query(request: Request) -> None:
    """Go parses it, though nothing asks for it; what cannot be parsed is its own error."""
    try:
        parse_form(request.query, None, None)
    except FormError:
        raise _Refused(500, "Internal Server Error") from None
