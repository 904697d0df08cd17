"""Users, roles and whether auth is on: replicated state with the meaning of each change (etcd 3.4:
etcdserver/api/v2auth/auth.go, auth_requests.go).

Pure: a function of the changes applied. Knows no password, only hashes; no HTTP, though refusals carry etcd's HTTP
status, for that is part of what etcd says. etcd keeps all this in the store of the keys, so `record_event` is called
for each index that a change takes there: the first one that gets as far as writing makes four directories and flags.

None and the empty tuple differ, because etcd's JSON (`null`, `[]`) does, and its test for "nothing changed".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

ROOT = "root"
GUEST = "guest"
"""The role of requests without a name."""

PREPARATION_EVENTS = 4

Names: TypeAlias = tuple[str, ...] | None


class AuthError(Exception):
    """A refusal: `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = f"auth: {message}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuthError) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


class Permissions(NamedTuple):
    """Patterns of keys: exact, or with `*` at the end any that begin like it."""

    read: Names = None
    write: Names = None

    @property
    def is_empty(self) -> bool:
        return not self.read and not self.write


class Role(NamedTuple):
    """`grant` and `revoke` are empty ones that a creator gave; etcd keeps and shows them."""

    name: str
    permissions: Permissions = Permissions()
    grant: Permissions | None = None
    revoke: Permissions | None = None


class User(NamedTuple):
    name: str
    password_hash: str
    roles: Names = None

    def __repr__(self) -> str:
        return f"User({self.name!r}, roles={self.roles!r})"  # never the hash


class PutUser(NamedTuple):
    """What became of a user, and whether it answers as a creation."""

    user: User
    created: bool


ALL_KEYS = Permissions(("/*",), ("/*",))
ROOT_ROLE = Role(ROOT, ALL_KEYS)


class AuthState:
    """`on_change` has what is called after each change that may alter what somebody may do."""

    def __init__(self, record_event: Callable[[], object]) -> None:
        self.enabled = False
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.on_change: list[Callable[[], object]] = []
        self.decisions: dict[Any, bool] = {}
        """What `check` has found out since the last change."""
        self._is_prepared = False
        self._record_event = record_event

    # Reads

    def user(self, name: str) -> User:
        """Raises `AuthError` 404. The user `root` has the role `root`, whatever was revoked."""
        user = self.users.get(name)
        if user is None:
            raise AuthError(404, f"User {name} does not exist.")
        return _with_root_role(user)

    def role(self, name: str) -> Role:
        """Raises `AuthError` 404."""
        role = self.find_role(name)
        if role is None:
            raise AuthError(404, f"Role {name} does not exist.")
        return role

    def find_role(self, name: str) -> Role | None:
        return ROOT_ROLE if name == ROOT else self.roles.get(name)

    def user_names(self) -> list[str]:
        return sorted(self.users)

    def role_names(self) -> list[str]:
        return sorted([ROOT, *self.roles])

    # Changes. Each raises `AuthError` if it is refused.

    def enable(self, guest_is_open: bool) -> None:
        """Makes the role of guests unless there is one: with all rights, as etcd does, or with none."""
        if self.enabled:
            raise AuthError(409, "already enabled")
        if ROOT not in self.users:
            raise AuthError(409, "No root user available, please create one")
        if GUEST not in self.roles:
            self._set_role(Role(GUEST, ALL_KEYS if guest_is_open else Permissions((), ())))
        self.enabled = True
        self._changed()

    def disable(self) -> None:
        if not self.enabled:
            raise AuthError(409, "already disabled")
        self.enabled = False
        self._changed()

    def put_user(
        self, name: str, password_hash: str, roles: Names, grant: Names, revoke: Names, must_exist: bool
    ) -> PutUser:
        """Creates or updates, as etcd decides by what was given. "" is no password. With `must_exist`, so must the
        roles that are given."""
        must_be_roles = [*(roles or ()), *(grant or ())] if must_exist else []
        if not grant and not revoke and (roles or name not in self.users):
            user = _with_root_role(User(name, password_hash, roles))
            self._create_user(user, must_be_roles)
            return PutUser(user, created=not roles)
        user = self._merged(self.user(name), password_hash, grant, revoke)
        self._check_roles(must_be_roles)
        self._set_user(user)
        return PutUser(user, created=False)

    def delete_user(self, name: str) -> None:
        if self.enabled and name == ROOT:
            raise AuthError(403, "Cannot delete root user while auth is enabled.")
        self._prepare()
        if self.users.pop(name, None) is None:
            raise AuthError(404, f"User {name} does not exist")
        self._changed()

    def put_role(self, role: Role) -> Role:
        """Creates the role, or grants and revokes what `role` says."""
        if role.name == ROOT:
            raise AuthError(403, "Cannot modify role root: is root role.")
        if _is_empty(role.grant) and _is_empty(role.revoke):
            self._prepare()
            if role.name in self.roles:
                raise AuthError(409, f"Role {role.name} already exists.")
            self._set_role(role)
            return role
        return self._update_role(role)

    def delete_role(self, name: str) -> None:
        if name == ROOT:
            raise AuthError(403, f"Cannot modify role {name}: is root role.")
        self._prepare()
        if self.roles.pop(name, None) is None:
            raise AuthError(404, f"Role {name} doesn't exist.")
        self._changed()

    # Snapshots

    def as_value(self) -> Any:
        """All of it as plain values; equal states give equal ones."""
        users = [list(self.users[name]) for name in self.user_names()]
        return [self.enabled, self._is_prepared, users, [self.roles[name] for name in sorted(self.roles)]]

    def restore(self, value: Any) -> None:
        """Takes the state that `as_value` gave, None for the first one. Raises ValueError or TypeError if it is none,
        and then changes nothing."""
        enabled, is_prepared, users, roles = value or (False, False, (), ())
        restored_users = {row[0]: User(row[0], row[1], as_names(row[2])) for row in users}
        restored_roles = {row[0]: as_role(row) for row in roles}
        self.enabled, self._is_prepared = bool(enabled), bool(is_prepared)
        self.users, self.roles = restored_users, restored_roles
        self._tell()

    def _check_roles(self, names: Iterable[str]) -> None:
        for name in names:
            self.role(name)

    def _create_user(self, user: User, must_be_roles: Iterable[str]) -> None:
        if not user.password_hash:
            raise AuthError(400, f"Cannot create user {user.name} with an empty password")
        self._prepare()
        if user.name in self.users:
            raise AuthError(409, f"User {user.name} already exists.")
        self._check_roles(must_be_roles)
        self._set_user(user)

    def _merged(self, old: User, password_hash: str, grant: Names, revoke: Names) -> User:
        roles = set(old.roles or ())
        for name in grant or ():
            if name in roles:
                raise AuthError(409, f"Granting duplicate role {name} for user {old.name}")
            roles.add(name)
        for name in revoke or ():
            if name not in roles:
                raise AuthError(409, f"Revoking ungranted role {name} for user {old.name}")
            roles.remove(name)
        merged = User(old.name, password_hash or old.password_hash, tuple(sorted(roles)))
        if merged == old:
            raise AuthError(400, "User not updated. Use grant/revoke/password to update the user.")
        return merged

    def _update_role(self, change: Role) -> Role:
        old = self.role(change.name)
        grant, revoke = change.grant, change.revoke
        permissions = old.permissions if grant is None else _granted(old.permissions, grant)
        if revoke is not None:
            permissions = _revoked(permissions, revoke)
        updated = Role(change.name, permissions)
        if updated == old:
            raise AuthError(400, "Role not updated. Use grant/revoke to update the role.")
        self._set_role(updated)
        return updated

    def _set_user(self, user: User) -> None:
        self._prepare()
        self.users[user.name] = user
        self._changed()

    def _set_role(self, role: Role) -> None:
        self._prepare()
        self.roles[role.name] = role
        self._changed()

    def _prepare(self) -> None:
        if not self._is_prepared:
            self._is_prepared = True
            for _ in range(PREPARATION_EVENTS):
                self._record_event()

    def _changed(self) -> None:
        self._record_event()
        self._tell()

    def _tell(self) -> None:
        self.decisions.clear()
        for listener in list(self.on_change):
            listener()


def as_names(value: Sequence[str] | None) -> Names:
    """From a decoded message."""
    return None if value is None else tuple(value)


def as_permissions(value: Sequence[Any] | None) -> Permissions | None:
    """From a decoded message."""
    return None if value is None else Permissions(as_names(value[0]), as_names(value[1]))


def as_role(value: Sequence[Any]) -> Role:
    """From a decoded message."""
    name, permissions, grant, revoke = value
    return Role(name, as_permissions(permissions) or Permissions(), as_permissions(grant), as_permissions(revoke))


def _with_root_role(user: User) -> User:
    if user.name != ROOT or ROOT in (user.roles or ()):
        return user
    return user._replace(roles=(*(user.roles or ()), ROOT))


def _is_empty(permissions: Permissions | None) -> bool:
    return permissions is None or permissions.is_empty


def _granted(old: Permissions, new: Permissions) -> Permissions:
    return Permissions(_added(old.read, new.read, "read"), _added(old.write, new.write, "write"))


def _added(old: Names, new: Names, kind: str) -> Names:
    patterns = set(old or ())
    for pattern in new or ():
        if pattern in patterns:
            raise AuthError(409, f"Granting duplicate {kind} permission {pattern}")
        patterns.add(pattern)
    return tuple(sorted(patterns))


def _revoked(old: Permissions, gone: Permissions) -> Permissions:
    return Permissions(
        tuple(sorted(set(old.read or ()) - set(gone.read or ()))),
        tuple(sorted(set(old.write or ()) - set(gone.write or ()))),
    )
