"""A cluster's members, seen and changed through `/v2/members`, for commands that run once and wait."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, NamedTuple

from cluster.membership import Member

ANSWER_SECONDS = 15.0
_GONE = (404, 410)


class ApiError(Exception):
    """The cluster could not be asked, or refused. The text is one line for people."""


class ClusterMembers(NamedTuple):
    cluster_id: int
    members: list[Member]


class _Answer(NamedTuple):
    status: int
    cluster_id: int
    body: bytes


class MembersApi:
    """Each request goes to the first endpoint that answers."""

    def __init__(
        self, endpoints: Sequence[str], tls: ssl.SSLContext | None = None, user: tuple[str, str] | None = None
    ) -> None:
        """`user` is name and password."""
        self._endpoints = [endpoint.rstrip("/") for endpoint in endpoints]
        no_proxy = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=tls))
        self._headers = {"Content-Type": "application/json"}
        if user is not None:
            credentials = base64.b64encode(":".join(user).encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"

    def members(self) -> ClusterMembers:
        answer = self._ask("GET", "", None)
        if answer.status != 200:
            raise _refused("show its members", answer)
        return ClusterMembers(answer.cluster_id, [_member(fields) for fields in json.loads(answer.body)["members"]])

    def remove(self, member_id: int) -> None:
        """Does nothing if that was done before."""
        answer = self._ask("DELETE", f"/{member_id:x}", None)
        if answer.status != 204 and answer.status not in _GONE:
            raise _refused(f"remove member {member_id:x}", answer)

    def add(self, peer_urls: Sequence[str]) -> Member:
        answer = self._ask("POST", "", {"peerURLs": list(peer_urls)})
        if answer.status != 201:
            raise _refused("add the member", answer)
        return _member(json.loads(answer.body))

    def _ask(self, method: str, suffix: str, body: Any) -> _Answer:
        reasons = []
        data = None if body is None else json.dumps(body).encode()
        for endpoint in self._endpoints:
            try:
                request = urllib.request.Request(f"{endpoint}/v2/members{suffix}", data, self._headers, method=method)
                return self._open(request)
            except (OSError, HTTPException, ValueError) as error:
                reasons.append(f"{endpoint}: {getattr(error, 'reason', error)}")
        raise ApiError("no endpoint answers: " + "; ".join(reasons))

    def _open(self, request: urllib.request.Request) -> _Answer:
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as response:
                return _Answer(response.status, _cluster_id(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, _cluster_id(error.headers), error.read())


def _cluster_id(headers: Any) -> int:
    return int(headers.get("X-Etcd-Cluster-Id", "0"), 16)


def _member(fields: Any) -> Member:
    client_urls = tuple(fields.get("clientURLs") or ())
    return Member(int(fields["id"], 16), fields.get("name", ""), tuple(fields["peerURLs"]), client_urls)


def _refused(what: str, answer: _Answer) -> ApiError:
    text = answer.body.decode(errors="replace").strip()
    return ApiError(f"the cluster refuses to {what}: {answer.status} {text}")
