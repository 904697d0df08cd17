"""Endpoint x method x identity x shape of key: whether it is 401, by a rule that shares no code with the product."""

from __future__ import annotations

import base64
import itertools
from urllib.parse import unquote

import pytest
from http_fakes import Api, parse_answer, request_bytes, run

from etcdpy.auth.model import Permissions, Role

READ = {"alice": ["/app/*", "/one", "/pre*"], "writer": [], "nothing": [], "reader": ["/*"]}
WRITE = {"alice": ["/app/*", "/two"], "writer": ["/app/*", "/one"], "nothing": [], "reader": []}
IDENTITIES = ["guest", "wrong password", "unknown user", "not basic", "no colon", *READ, "root", "admin"]
KEYS = [
    *("", "/", "/app", "/app/", "/app/k", "/appx", "/one", "/one/", "/pre", "/prefix/x", "/two", "/secret", "/_h"),
    *("/app/_h", "/%61pp/k", "/app%2fk", "/app%2F", "/%73ecret", "/one%00", "/%ff"),
]
UNCLEAN = ["/app//k", "//app/k", "/app/../secret", "/app/%2e%2e/secret", "/app/..%2fsecret", "/./secret", "/one/."]
KEYS_REQUESTS = [
    ("GET", ""), ("GET", "?recursive=true"), ("GET", "?quorum=true"), ("HEAD", ""), ("GET", "?wait=true&waitIndex=1"),
    ("PUT", ""), ("PUT", "?recursive=true"), ("POST", ""), ("DELETE", ""), ("DELETE", "?recursive=true"),
    ("GET", "?wait=true&recursive=true&waitIndex=1"), ("GET", "?recursive=true&sorted=true&quorum=true"),
    ("PUT", "?prevExist=true"), ("PUT", "?prevValue=x"), ("PUT", "?dir=true"), ("DELETE", "?prevIndex=9"),
    ("DELETE", "?dir=true"),
]  # fmt: skip
OTHER_REQUESTS = [
    *itertools.product(("GET", "PUT", "DELETE"), ("/v2/auth/enable", "/v2/auth/users/x", "/v2/auth/roles/x")),
    ("GET", "/v2/auth/users"), ("GET", "/v2/auth/roles"),
    ("GET", "/v2/members"), ("POST", "/v2/members"), ("PUT", "/v2/members/1"), ("DELETE", "/v2/members/1"),
    ("GET", "/v2/members/leader"), ("GET", "/v2/stats/leader"),
    ("GET", "/v2/auth/users/root"),
    ("GET", "/v2/auth/roles/root"), ("PUT", "/v2/auth/roles/guest"),
    ("GET", "/v2/machines"), ("GET", "/v2/stats/self"), ("GET", "/v2/stats/store"),
    ("GET", "/version"), ("GET", "/health"), ("GET", "/metrics"),
    ("GET", "/debug/vars"), ("PUT", "/config/local/log"),
]  # fmt: skip
OPEN = {
    *("/v2/members", "/v2/members/leader", "/v2/machines", "/v2/stats/self", "/v2/stats/store", "/v2/stats/leader"),
    "/metrics",
}


def is_allowed_key(identity: str, method: str, query: str, key: str, guest: str) -> bool:
    """The rule of /v2/keys, from the documentation of etcd's v2 auth."""
    if identity in ("root", "admin"):
        return True
    write = method not in ("GET", "HEAD")
    if identity == "guest":
        patterns = ["/*"] if guest == "open" else []
    elif identity in READ:
        patterns = WRITE[identity] if write else READ[identity]
    else:
        return False
    recursive = "recursive" in query and identity != "guest"
    key = unquote(key, "latin-1")
    for pattern in patterns:
        if pattern[-1] == "*" and key[: len(pattern) - 1] == pattern[:-1]:
            return True
        if pattern == key and not recursive:
            return True
    return False


def is_allowed_elsewhere(identity: str, method: str, path: str, guest: str) -> bool:
    if path in ("/version", "/health") or (method, path) == ("GET", "/v2/auth/enable"):
        return True
    if identity in ("root", "admin"):
        return True
    if method == "GET" and path in OPEN:
        return guest == "open" or identity in READ
    return False


def authorization(identity: str) -> str:
    wrong = {"wrong password": "root:no", "unknown user": "mallory:pw", "no colon": "root"}
    if identity == "guest":
        return ""
    if identity == "not basic":
        return "Authorization: Bearer cm9vdDpwdw==\r\n"
    pair = wrong.get(identity, f"{identity}:pw")
    return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


async def set_up(api: Api, guest: str) -> None:
    state, password_hash = api.node.machine.auth, await api.gate.passwords.hash(b"pw")
    for name in READ:
        state.put_role(Role(f"r-{name}", Permissions(tuple(READ[name]), tuple(WRITE[name]))))
        state.put_user(name, password_hash, (f"r-{name}", "no such role"), None, None, False)
    state.put_user("root", password_hash, None, None, None, True)
    state.put_user("admin", password_hash, ("root",), None, None, True)
    state.enable(guest == "open")
    for path in ("/app/k", "/one", "/prefix/x", "/secret"):
        api.store.set(path, "v", False, None, False, 0)


async def status(api: Api, method: str, target: str, identity: str) -> int:
    """The status line is enough: a watch has no end."""
    body = "value=x" if method in ("PUT", "POST") else None
    async with api.connected() as (reader, writer):
        writer.write(request_bytes(method, target, body, headers=authorization(identity)))
        return parse_answer(await reader.readuntil(b"\r\n\r\n"), "HEAD").status


@pytest.mark.parametrize("guest", ["open", "none"])
def test_who_gets_401(guest: str) -> None:
    async def scenario(api: Api) -> None:
        cells = 0
        await set_up(api, guest)
        for identity in IDENTITIES:
            for (method, query), key in itertools.product(KEYS_REQUESTS, KEYS):
                allowed = is_allowed_key(identity, method, query, key, guest)
                got = await status(api, method, f"/v2/keys{key}{query}", identity)
                assert (got != 401) is allowed, (identity, method, key, query, got)
                cells += 1
            for (method, query), key in itertools.product(KEYS_REQUESTS[::5], UNCLEAN):
                got = await status(api, method, f"/v2/keys{key}{query}", identity)
                assert got == 301, "nothing is done, and whoever follows it is judged there"
                cells += 1
            for method, path in OTHER_REQUESTS:
                allowed = is_allowed_elsewhere(identity, method, path, guest)
                got = await status(api, method, path, identity)
                assert (got != 401) is allowed, (identity, method, path, got)
                cells += 1
                api.node.machine.auth.enabled = True  # whoever may has switched it off
                api.node.machine.auth.decisions.clear()
        assert cells > 4000

    run(scenario, guest_is_open=guest == "open")
