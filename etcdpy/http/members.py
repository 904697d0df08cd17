"""`/v2/members`, and the peers' `/members` (etcd 3.4: v2http/client.go membersHandler, etcdhttp/peer.go)."""

from __future__ import annotations

import re

from cluster.errors import ClusterError
from cluster.membership import Member, MemberExists, MemberNotFound, MemberRemoved, PeerUrlExists
from etcdpy.auth.gate import Gate
from etcdpy.http import go_json
from etcdpy.http.go_json import Json, JsonError, Number, Object, Parsed
from etcdpy.http.go_url import UrlError, parse_member_urls
from etcdpy.http.render import Headers, Response, cluster_header, http_error, json_response, message_response
from etcdpy.http.request import BodyTooLarge, Request
from etcdpy.service import Service

PREFIX = "/v2/members"
METHODS = ("GET", "POST", "DELETE", "PUT")

_HEX_ID = re.compile(r"[0-9a-fA-F]+")
_UINT64 = 1 << 64
_GO_TYPE = 'struct { PeerURLs []string "json:\\"peerURLs\\"" }'


class Refused(Exception):
    """The request is answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


def member_json(member: Member) -> dict[str, Json]:
    return {
        "id": f"{member.id:x}",
        "name": member.name,
        "peerURLs": member.peer_urls,
        "clientURLs": member.client_urls,
    }


def peer_member_json(member: Member) -> dict[str, Json]:
    """As peers ask for it: the id is a number, and what is empty is left out."""
    shown: dict[str, Json] = {"id": member.id, "peerURLs": member.peer_urls}
    if member.is_learner:
        shown["isLearner"] = True
    if member.name:
        shown["name"] = member.name
    if member.client_urls:
        shown["clientURLs"] = member.client_urls
    return shown


class Members:
    def __init__(self, service: Service, gate: Gate, max_request_bytes: int) -> None:
        self._service = service
        self._gate = gate
        self._max_request_bytes = max_request_bytes
        self._handlers = {"GET": self._get, "POST": self._post, "PUT": self._put, "DELETE": self._delete}

    @property
    def _headers(self) -> Headers:
        return cluster_header(self._service.cluster_id)

    async def handle(self, request: Request) -> Response:
        """Answers one of `METHODS`. Who may administrate may change the members; anybody may see them."""
        if request.method != "GET" and await self._gate.administrator(request.credentials) is None:
            return message_response(401, "Insufficient credentials")
        try:
            return await self._handlers[request.method](request)
        except Refused as refusal:
            return message_response(refusal.status, refusal.message, self._headers)

    async def _get(self, request: Request) -> Response:
        suffix = _suffix(request)
        if not suffix:
            listed: Json = {"members": [member_json(member) for member in self._service.members]}
            return json_response(listed, headers=self._headers, newline=True)
        if suffix != "leader":
            raise Refused(404, "Not found")
        leader = self._service.leader
        if leader is None:
            raise Refused(503, "During election")
        return json_response(member_json(leader), headers=self._headers, newline=True)

    async def _post(self, request: Request) -> Response:
        peer_urls = await self._read_peer_urls(request)
        try:
            member = await self._service.add_member(peer_urls)
        except Exception as error:
            raise _refusal(error, "") from None
        return json_response(member_json(member), status=201, headers=self._headers, newline=True)

    async def _put(self, request: Request) -> Response:
        member_id = _member_id(request)
        if member_id is None:
            return http_error(405, "Method Not Allowed", self._headers)
        peer_urls = await self._read_peer_urls(request)
        try:
            await self._service.update_member(member_id, peer_urls)
        except Exception as error:
            raise _refusal(error, f"{member_id:x}") from None
        return Response(204, self._headers)

    async def _delete(self, request: Request) -> Response:
        member_id = _member_id(request)
        if member_id is None:
            return http_error(405, "Method Not Allowed", self._headers)
        try:
            await self._service.remove_member(member_id)
        except Exception as error:
            raise _refusal(error, f"{member_id:x}") from None
        return Response(204, self._headers)

    async def _read_peer_urls(self, request: Request) -> list[str]:
        content_type = request.content_type or ""
        if ";" in content_type:
            content_type = content_type.partition(";")[0].lower().strip()
        if content_type != "application/json":
            raise Refused(415, f"Bad Content-Type {content_type}, accept application/json")
        try:
            return parse_member_urls(parse_peer_urls(await request.read(self._max_request_bytes)))
        except BodyTooLarge as error:
            limit = self._max_request_bytes
            raise Refused(413, f"request body is larger than {limit} bytes (--max-request-bytes)") from error
        except (JsonError, UrlError) as error:
            raise Refused(400, str(error)) from error


class PeerMembers:
    """`/members` on the peer port."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, request: Request) -> Response:
        headers = cluster_header(self._service.cluster_id)
        listed = [peer_member_json(member) for member in self._service.members]
        return json_response(listed, headers=headers, newline=True)


def _suffix(request: Request) -> str:
    return request.path[len(PREFIX) :].removeprefix("/")


def _member_id(request: Request) -> int | None:
    """The id in the path; None if there is none."""
    text = _suffix(request)
    if not text:
        return None
    digits = text.lstrip("0") or "0"
    if not _HEX_ID.fullmatch(text) or len(digits) > 16:
        raise Refused(404, f"No such member: {text}")
    return int(digits, 16)


def _refusal(error: Exception, shown_id: str) -> Exception:
    """What a failed change is answered with; errors that nobody foresaw go up as they are."""
    match error:
        case PeerUrlExists():
            return Refused(409, "membership: peerURL exists")
        case MemberExists():
            return Refused(409, "membership: ID exists")
        case MemberRemoved():
            return Refused(410, f"Member permanently removed: {shown_id}")
        case MemberNotFound():
            return Refused(404, f"No such member: {shown_id}")
        case NotImplementedError():
            return Refused(501, "Not Implemented")
        case ClusterError():
            return Refused(500, "Internal Server Error")
        case _:
            return error


def parse_peer_urls(body: bytes) -> list[str]:
    """The `peerURLs` of a request. Raises `JsonError` with the text of Go's json.Unmarshal."""
    value = go_json.loads(body)
    if value is None:
        return []
    if not isinstance(value, Object):
        raise JsonError(f"json: cannot unmarshal {_kind(value)} into Go value of type {_GO_TYPE}")
    urls: list[str] = []
    for given in value.field("peerURLs"):
        if given is None:
            urls = []
        elif isinstance(given, list):
            urls = [_url_text(item) for item in given]
        else:
            raise JsonError(_mismatch(given, "[]string"))
    return urls


def _url_text(item: Parsed) -> str:
    if item is None:
        return ""
    if not isinstance(item, str) or isinstance(item, Number):
        raise JsonError(_mismatch(item, "string"))
    return item


def _mismatch(value: Parsed, go_type: str) -> str:
    return f"json: cannot unmarshal {_kind(value)} into Go struct field .peerURLs of type {go_type}"


def _kind(value: Parsed) -> str:
    match value:
        case bool():
            return "bool"
        case Number():
            return "number"
        case str():
            return "string"
        case Object():
            return "object"
        case _:
            return "array"
