"""Users and roles as JSON, read and written as Go does for etcd's types (etcd 3.4: v2auth/auth.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from etcdpy.auth.model import AuthError, AuthState, Names, Permissions, Role, User
from etcdpy.http import go_json
from etcdpy.http.go_json import Json, JsonError, Number, Object, Parsed


class UserRequest(NamedTuple):
    user: str
    password: str
    roles: Names
    grant: Names
    revoke: Names

    def __repr__(self) -> str:
        return f"UserRequest({self.user!r})"


# Reading. Names match in any case, null changes nothing, what follows the value is ignored. Raises `JsonError`.


def read_user(body: bytes) -> UserRequest:
    value = _object(go_json.loads(body, only=False))
    return UserRequest(
        _text(value, "user"),
        _text(value, "password"),
        _names(value, "roles"),
        _names(value, "grant"),
        _names(value, "revoke"),
    )


def read_role(body: bytes) -> Role:
    value = _object(go_json.loads(body, only=False))
    permissions = _permissions(value, "permissions")
    return Role(
        _text(value, "role"),
        permissions or Permissions(),
        _permissions(value, "grant"),
        _permissions(value, "revoke"),
    )


def _object(value: Parsed) -> Object:
    if value is None:
        return Object([])
    if not isinstance(value, Object):
        raise JsonError("an object was expected")
    return value


def _text(value: Object, name: str) -> str:
    text = ""
    for given in value.field(name):
        text = text if given is None else _string(given)
    return text


def _string(value: Parsed) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, Number):
        raise JsonError("a string was expected")
    return value


def _names(value: Object, name: str) -> Names:
    names: Names = None
    for given in value.field(name):
        if given is None:
            names = None
        elif isinstance(given, list):
            names = tuple(map(_string, given))
        else:
            raise JsonError("an array was expected")
    return names


def _permissions(value: Object, name: str) -> Permissions | None:
    permissions: Permissions | None = None
    for given in value.field(name):
        if given is None:
            permissions = None
            continue
        permissions = Permissions()
        for kv in _object(given).field("kv"):
            patterns = _object(kv)
            permissions = Permissions(_names(patterns, "read"), _names(patterns, "write"))
    return permissions


# Writing


def role_json(role: Role) -> dict[str, Json]:
    shown: dict[str, Json] = {"role": role.name, "permissions": _permissions_json(role.permissions)}
    if role.grant is not None:
        shown["grant"] = _permissions_json(role.grant)
    if role.revoke is not None:
        shown["revoke"] = _permissions_json(role.revoke)
    return shown


def _permissions_json(permissions: Permissions) -> dict[str, Json]:
    return {"kv": {"read": permissions.read, "write": permissions.write}}


def put_user_json(user: User) -> dict[str, Json]:
    """As a change of it is answered: roles by name."""
    return {"user": user.name, "roles": user.roles}


def user_json(user: User, roles: Iterable[Role]) -> dict[str, Json]:
    """As it is shown: roles with what they allow."""
    shown: dict[str, Json] = {"user": user.name}
    listed = [role_json(role) for role in roles]
    if listed:
        shown["roles"] = listed
    return shown


def one_user_json(state: AuthState, name: str) -> dict[str, Json]:
    """Raises `AuthError` 404 for the user, and for a role of it that does not exist."""
    user = state.user(name)
    return user_json(user, [state.role(role) for role in user.roles or ()])


def users_json(state: AuthState, show_hidden: bool) -> dict[str, Json]:
    """Roles that do not exist are left out, and so are hidden names, as etcd does, unless they are to be shown."""
    names = [name for name in state.user_names() if show_hidden or not name.startswith("_")]
    users = [state.user(name) for name in names]
    known = [user_json(user, filter(None, map(state.find_role, user.roles or ()))) for user in users]
    return {"users": known or None}


def roles_json(state: AuthState, show_hidden: bool) -> dict[str, Json]:
    names = [name for name in state.role_names() if show_hidden or not name.startswith("_")]
    return {"roles": [role_json(state.role(name)) for name in names]}


def check_patterns(role: Role) -> None:
    """Raises `AuthError` for an empty pattern, at which etcd falls over."""
    for permissions in (role.permissions, role.grant, role.revoke):
        if permissions is not None and "" in (*(permissions.read or ()), *(permissions.write or ())):
            raise AuthError(400, f"Role {role.name} has an empty permission pattern.")
