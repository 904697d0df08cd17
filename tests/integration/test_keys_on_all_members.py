"""What is written through one member is there on every other, in the same order and under the same indexes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from in_process import Answer, Cluster, MemberProcess, run, until


def test_a_write_through_any_member_is_read_on_every_other(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for writer in cluster.members:
            written = await writer.put(f"/from/{writer.name}", value=f"by {writer.name}")
            assert written.status == 201
            for reader in cluster.members:
                found = await reader.get(f"/from/{writer.name}", quorum="true")
                assert found.node == written.node

    run(tmp_path, scenario)


def test_every_kind_of_write_through_a_follower(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        follower, other = cluster.followers
        assert (await follower.put("/d", dir="true")).status == 201
        assert (await follower.put("/d/a", value="1", prevExist="false")).status == 201
        created = await follower.post("/d", value="in order")
        assert (await follower.put("/d/a", value="2", prevValue="1")).json["action"] == "compareAndSwap"
        assert (await follower.put("/d/a", value="3", prevExist="true")).json["action"] == "update"
        refused = await follower.put("/d/a", value="4", prevValue="1")
        assert (refused.status, refused.json["errorCode"], refused.json["cause"]) == (412, 101, "[1 != 3]")
        found = await other.get("/d", quorum="true", sorted="true")
        assert [(node["key"], node["value"]) for node in found.node["nodes"]] == [
            (created.node["key"], "in order"),
            ("/d/a", "3"),
        ]
        assert (await follower.delete("/d/a", prevValue="3")).json["action"] == "compareAndDelete"
        assert (await follower.delete("/d", recursive="true")).json["action"] == "delete"
        assert (await other.get("/d", quorum="true")).json["errorCode"] == 100

    run(tmp_path, scenario)


def test_writes_that_compete_give_each_index_once(tmp_path: Path) -> None:
    """Three members, one in-order directory and one counter by compare-and-swap, all at the same time."""

    async def count_up(member: MemberProcess) -> int:
        while True:
            read = await member.get("/counter", quorum="true")
            swapped = await member.put(
                "/counter", value=str(int(read.node["value"]) + 1), prevIndex=str(read.node["modifiedIndex"])
            )
            if swapped.status == 200:
                return int(swapped.node["value"])
            assert swapped.json["errorCode"] == 101

    async def scenario(cluster: Cluster) -> None:
        await cluster.leader.put("/counter", value="0")
        queued = [member.post("/queue", value=str(i)) for i in range(60) for member in cluster.members]
        counted = [count_up(member) for _ in range(4) for member in cluster.members]
        answers: list[Any] = await asyncio.gather(*queued, *counted)
        posted: list[Answer] = answers[: len(queued)]
        keys = [answer.node["key"] for answer in posted]
        assert len(set(keys)) == len(keys) == 180
        assert all(int(answer.node["key"].rpartition("/")[2]) == answer.node["modifiedIndex"] for answer in posted)
        assert sorted(answers[len(queued) :]) == list(range(1, 13))

    run(tmp_path, scenario)


def test_bytes_that_are_not_utf_8_apply_the_same_on_every_member(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        keys = ["/%ff%fe", "/%C3%28", "/caf%c3%a9", "/%e2%82", "/%f0%9f%98%80", "/%ed%a0%80", "/a%09b%7f"]
        values = [
            b"value=%80abc",
            b"value=%ff",
            b"value=\xff\xfe",
            b"value=%00%01",
            b"value=%ed%b0%80",
            b"value=%u1234",
        ]
        statuses = set()
        for i, (key, value) in enumerate((key, value) for key in keys for value in values):
            member = cluster.members[i % 3]
            statuses.add((await member.request("PUT", f"/v2/keys{key}{i}", value)).status)
            statuses.add((await member.request("POST", f"/v2/keys/queue{key}", value)).status)
        assert 201 in statuses
        assert statuses <= {201, 400}
        await cluster.check_alike()
        listings = [(await member.get("/", recursive="true")).body for member in cluster.members]
        assert listings[1:] == listings[:-1]
        await cluster.stop()
        await cluster.start()
        assert [(await member.get("/", recursive="true")).body for member in cluster.members] == listings

    run(tmp_path, scenario)


BAD_REQUESTS = [
    ("PUT", "/v2/keys/a", b"value=%zz", 400),
    ("PUT", "/v2/keys/a?ttl=-1", b"value=x", 400),
    ("PUT", "/v2/keys/a?ttl=99999999999999999999", b"value=x", 400),
    ("PUT", "/v2/keys/a?prevIndex=x", b"value=x", 400),
    ("PUT", "/v2/keys/a?a=1;b=2", b"value=x", 400),
    ("PUT", "/v2/keys/%zz", b"value=x", 400),
    ("PUT", "/v2/keys/..", b"value=x", 301),
    ("PUT", "/v2/keys/a/%2e%2e/b", b"value=x", 301),
    ("PUT", "/v2/keys/", b"value=x", 400),
    ("PATCH", "/v2/keys/a", b"value=x", 405),
    ("DELETE", "/v2/keys/", None, 400),
    ("GET", "/v2/keys/a?wait=maybe", None, 400),
    ("GET", "/nothing", None, 404),
]


def test_bad_requests_are_refused_and_change_nothing(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.settle()
        index = cluster.leader.server.store.index
        for method, target, body, status in BAD_REQUESTS:
            for member in cluster.members:
                answer = await member.request(method, target, body)
                assert answer.status == status, (method, target, answer)
        assert (await cluster.leader.put("/next", value="x")).node["createdIndex"] == index + 1

    run(tmp_path, scenario)


def test_what_is_accepted_from_random_requests_applies_alike(tmp_path: Path) -> None:
    """Odd keys, values, TTLs and conditions, in any combination: some are refused, none may part the members."""
    draw = random.Random(20)
    keys = ["", "/", "/a", "/a/b", "/a/b/c", "/_h", "/%00", "/%2e%2e%2fx", "/a%252f", "/%ff", "/" + "n/" * 300, "/%0a"]
    parts = ["value=x", "value=", "value=%00", "value=%ff", "dir=true", "prevExist=true", "prevExist=false", "ttl=0"]
    parts += ["ttl=", "ttl=1", "ttl=7000000000", "ttl=18446744073", "ttl=18446744073709551615", "refresh=true"]
    parts += ["prevValue=x", "prevIndex=5", "prevIndex=18446744073709551615", "prevIndex=0", "recursive=true"]

    async def send(member: MemberProcess) -> int:
        form = "&".join(draw.sample(parts, draw.randint(0, 4)))
        key = draw.choice(keys)
        method = draw.choice(["PUT", "PUT", "POST", "DELETE"])
        query, body = (f"?{form}", None) if method == "DELETE" else ("", form.encode())
        return (await member.request(method, f"/v2/keys{key}{query}", body)).status

    async def scenario(cluster: Cluster) -> None:
        statuses = [s for _ in range(60) for s in await asyncio.gather(*(send(m) for m in cluster.members * 3))]
        assert {200, 201} <= set(statuses)
        assert all(status < 500 for status in statuses)
        await cluster.check_alike()
        await cluster.stop()
        await cluster.start()

    run(tmp_path, scenario)


@pytest.mark.parametrize("fast_lane", [True, False])
def test_a_body_over_the_limit_is_refused_and_the_member_goes_on(tmp_path: Path, fast_lane: bool) -> None:
    async def scenario(cluster: Cluster) -> None:
        for member in cluster.members:
            large = await member.put("/large", value="x" * 100_001)
            assert 400 <= large.status < 500
            assert "errorCode" in large.json
            assert (await member.put(f"/small/{member.name}", value="x" * 90_000)).status == 201
        assert (await cluster.leader.get("/large", quorum="true")).status == 404

    run(tmp_path, scenario, max_request_bytes=100_000, fast_lane=fast_lane)


def test_keys_expire_on_all_members_under_the_same_index(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for i, member in enumerate(cluster.members):
            await member.put(f"/ttl/{i}", value="x", ttl="1")
        await cluster.followers[0].put("/ttl/dir", dir="true", ttl="1")
        await cluster.followers[1].put("/ttl/dir/below", value="x")
        since = str(cluster.leader.server.store.index + 1)
        seen = await asyncio.gather(*(expiries(member, since, 4) for member in cluster.members))
        assert {event["node"]["key"] for event in seen[0]} == {"/ttl/0", "/ttl/1", "/ttl/2", "/ttl/dir"}
        assert seen[1] == seen[0]
        assert seen[2] == seen[0]
        assert (await cluster.leader.get("/ttl")).node.get("nodes") is None

    run(tmp_path, scenario)


async def expiries(member: MemberProcess, since: str, count: int) -> list[Any]:
    events: list[Any] = []
    async with member.stream("/ttl", recursive="true", waitIndex=since) as stream:
        async for event in stream:
            assert event["action"] == "expire"
            events.append(event)
            if len(events) == count:
                break
    return events


def test_a_key_that_expired_while_its_member_was_down_is_gone_when_it_returns(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        follower = cluster.followers[0]
        await cluster.leader.put("/lease", value="x", ttl="1")
        await follower.stop()
        leader = cluster.leader
        await until(lambda: leader.server.store.next_deadline_ns() is None, "expiry")
        await follower.start()
        await cluster.settle()
        assert (await follower.get("/lease")).status == 404

    run(tmp_path, scenario)


def test_members_know_each_other_and_agree_who_leads(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for member in cluster.members:
            listed = (await member.request("GET", "/v2/members")).json["members"]
            assert {each["name"]: (each["clientURLs"], each["peerURLs"]) for each in listed} == {
                other.name: ([other.url], list(other.config.initial_cluster[other.name])) for other in cluster.members
            }
            leader = (await member.request("GET", "/v2/members/leader")).json
            assert leader["name"] == cluster.leader.name
            own = (await member.request("GET", "/v2/stats/self")).json
            assert own["name"] == member.name
            assert own["leaderInfo"]["leader"] == leader["id"]
            assert own["state"] == ("StateLeader" if member is cluster.leader else "StateFollower")
            machines = (await member.request("GET", "/v2/machines")).body.decode()
            assert set(machines.split(", ")) == {other.url for other in cluster.members}

    run(tmp_path, scenario)
