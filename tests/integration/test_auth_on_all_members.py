"""Users and roles on three members: changes through any of them, checks on all of them, and what lasts."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
from in_process import Answer, Cluster, MemberProcess, run, until


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


ROOT = basic("root", "rp")
ALICE = basic("alice", "pa")
KV = {"read": ["/app/*"], "write": ["/app/*"]}
SETTINGS = {"bcrypt_cost": 4, "auth_guest": "none"}


async def ask(member: MemberProcess, method: str, target: str, user: str = "", value: Any = None) -> Answer:
    headers = {"Authorization": user} if user else {}
    body = None if value is None else json.dumps(value).encode()
    url = member.url + target
    async with aiohttp.ClientSession() as session, session.request(method, url, data=body, headers=headers) as response:
        return Answer(response.status, response.headers, await response.read())


async def change(member: MemberProcess, method: str, target: str, value: Any = None, user: str = ROOT) -> None:
    answer = await ask(member, method, f"/v2/auth/{target}", user, value)
    assert answer.status < 300, (target, answer)


async def secure(cluster: Cluster) -> None:
    """Each change on another member than the last."""
    first, second, third = cluster.members
    await change(first, "PUT", "users/root", {"user": "root", "password": "rp"})
    await change(second, "PUT", "roles/app", {"role": "app", "permissions": {"kv": KV}})
    await cluster.settle()
    await change(third, "PUT", "users/alice", {"user": "alice", "password": "pa", "roles": ["app"]})
    await change(first, "PUT", "enable")
    await cluster.settle()


async def statuses(cluster: Cluster, method: str, target: str, user: str = "") -> list[int]:
    return [(await ask(member, method, target, user)).status for member in cluster.running]


def test_every_member_checks(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await secure(cluster)
        assert await statuses(cluster, "PUT", "/v2/keys/app/k?value=1", ALICE) == [201, 200, 200]
        assert await statuses(cluster, "PUT", "/v2/keys/other?value=1", ALICE) == [401] * 3
        assert await statuses(cluster, "PUT", "/v2/keys/app/k?value=1") == [401] * 3
        assert await statuses(cluster, "GET", "/v2/keys/app/k?quorum=true", ALICE) == [200] * 3
        assert await statuses(cluster, "GET", "/v2/keys/?recursive=true", ALICE) == [401] * 3
        assert await statuses(cluster, "GET", "/v2/auth/users", ALICE) == [401] * 3
        assert await statuses(cluster, "GET", "/v2/auth/users", ROOT) == [200] * 3

    run(tmp_path, scenario, **SETTINGS)


def test_a_revoked_permission_cannot_be_raced(tmp_path: Path) -> None:
    """What one member still takes for allowed is refused at its place in the log, after the change."""

    async def scenario(cluster: Cluster) -> None:
        await secure(cluster)
        follower = cluster.followers[0]
        assert (await ask(follower, "PUT", "/v2/keys/app/k?value=0", ALICE)).status == 201
        writes = [ask(follower, "PUT", f"/v2/keys/app/k?value={number}", ALICE) for number in range(50)]
        await asyncio.gather(
            change(cluster.leader, "PUT", "users/alice", {"user": "alice", "revoke": ["app"]}),
            *writes,
            ask(cluster.leader, "PUT", "/v2/keys/mark?value=1", ROOT),
        )
        assert (await ask(follower, "PUT", "/v2/keys/app/k?value=late", ALICE)).status == 401
        await cluster.settle()
        for member in cluster.running:
            assert (await ask(member, "PUT", "/v2/keys/app/k?value=late", ALICE)).status == 401

    run(tmp_path, scenario, **SETTINGS)


def test_a_changed_password_counts_at_once_everywhere(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await secure(cluster)
        assert await statuses(cluster, "GET", "/v2/keys/app", ALICE) == [401] * 3
        assert await statuses(cluster, "GET", "/v2/keys/app/", ALICE) == [404] * 3
        await change(cluster.members[0], "PUT", "users/alice", {"user": "alice", "password": "new"})
        await cluster.settle()
        assert await statuses(cluster, "GET", "/v2/keys/app/", ALICE) == [401] * 3
        assert await statuses(cluster, "GET", "/v2/keys/app/", basic("alice", "new")) == [404] * 3

    run(tmp_path, scenario, **SETTINGS)


def test_a_watch_on_a_follower_ends_with_its_permission(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await secure(cluster)
        follower = cluster.followers[0]
        async with aiohttp.ClientSession(headers={"Authorization": ALICE}) as session:
            target = f"{follower.url}/v2/keys/app/?wait=true&recursive=true&stream=true"
            async with session.get(target) as response:
                assert response.status == 200
                await change(cluster.leader, "DELETE", "roles/app")
                await ask(cluster.leader, "PUT", "/v2/keys/app/k?value=secret", ROOT)
                async with asyncio.timeout(10):
                    assert await response.read() == b""

    run(tmp_path, scenario, **SETTINGS)


def test_users_survive_restarts_and_reach_members_by_snapshot(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await secure(cluster)
        lagging = cluster.followers[0]
        await lagging.stop()
        await until(lambda: any(member.server.node.is_leader for member in cluster.running), "leader")
        for number in range(60):
            await ask(cluster.running[0], "PUT", f"/v2/keys/app/{number}?value=1", ALICE)
        await change(cluster.running[0], "PUT", "users/bob", {"user": "bob", "password": "pb", "roles": ["app"]})
        await lagging.start()
        await cluster.settle()
        bob = basic("bob", "pb")
        assert await statuses(cluster, "GET", "/v2/keys/app/1", bob) == [200] * 3
        await cluster.stop()
        for member in cluster.members:
            await member.start()
        await cluster.settle()
        assert await statuses(cluster, "GET", "/v2/keys/app/1", bob) == [200] * 3
        assert await statuses(cluster, "GET", "/v2/keys/app/1") == [401] * 3

    run(tmp_path, scenario, snapshot_count=20, **SETTINGS)
