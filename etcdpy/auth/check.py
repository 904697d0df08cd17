"""Who may touch which key: the one decision, made before the log and again when a command is applied.

Pure. A key is judged as it was asked for, clean but with its trailing slash, because etcd does: `/a/*` covers `/a/`
and not `/a` (etcd 3.4: v2http/client_auth.go, v2auth/auth.go).
"""

from __future__ import annotations

from etcdpy.auth.model import GUEST, ROOT, AuthState, Names, Role
from etcdpy.commands import Access

MAX_REMEMBERED = 10_000


def may_access(state: AuthState, access: Access) -> bool:
    """Whether the request may be answered. Where auth is off, everything may. Guests are asked for the key alone, even
    where the request is recursive: so does etcd."""
    if not state.enabled:
        return True
    decisions = state.decisions
    decision = decisions.get(access)
    if decision is None:
        if len(decisions) >= MAX_REMEMBERED:
            decisions.clear()
        decision = decisions[access] = _decide(state, access)
    return decision


def _decide(state: AuthState, access: Access) -> bool:
    user, key, recursive, write = access
    if not user:
        guest = state.roles.get(GUEST)
        return guest is not None and _covers(guest, key, False, write)
    return any(_covers(role, key, recursive, write) for role in _roles(state, user))


def may_administrate(state: AuthState, user: str) -> bool:
    """Whether somebody may change users, roles and members."""
    return not state.enabled or any(role.name == ROOT for role in _roles(state, user))


def _roles(state: AuthState, name: str) -> list[Role]:
    """Those that exist. The user `root` always has the role `root`."""
    user = state.users.get(name)
    if user is None:
        return []
    names = (*(user.roles or ()), ROOT) if name == ROOT else user.roles or ()
    return [role for role in map(state.find_role, names) if role is not None]


def _covers(role: Role, key: str, recursive: bool, write: bool) -> bool:
    if role.name == ROOT:
        return True
    patterns: Names = role.permissions.write if write else role.permissions.read
    return any(_matches(pattern, key, recursive) for pattern in patterns or ())


def _matches(pattern: str, key: str, recursive: bool) -> bool:
    if pattern.endswith("*"):
        return key.startswith(pattern[:-1])
    return not recursive and key == pattern
