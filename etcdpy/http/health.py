"""`/health`, `/version`, `/v2/machines`, `/debug/vars`, `/config/local/log` (etcd 3.4: api/etcdhttp/base.go,
metrics.go, v2http/client.go)."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys

from cluster.errors import ClusterError
from etcdpy.http import go_json
from etcdpy.http.go_json import JsonError, Number, Object
from etcdpy.http.json_string import quote
from etcdpy.http.metrics import RequestMetrics
from etcdpy.http.render import Response, http_error, json_response, message_response, text_response
from etcdpy.http.request import BodyTooLarge, Request
from etcdpy.http.version import CLUSTER_VERSION, ETCD_VERSION
from etcdpy.service import Service

HEALTH_SECONDS = 1.0
MAX_LOG_REQUEST_BYTES = 64 << 10

_LEVELS = {
    name: level
    for level, names in (
        (logging.CRITICAL, ("CRITICAL", "C")),
        (logging.ERROR, ("ERROR", "0", "E")),
        (logging.WARNING, ("WARNING", "1", "W")),
        (logging.INFO, ("NOTICE", "2", "N", "INFO", "3", "I")),
        (logging.DEBUG, ("DEBUG", "4", "D", "TRACE", "5", "T")),
    )
    for name in names
}
"""etcd's level names; Python has no level between INFO and WARNING, and none below DEBUG."""


class Health:
    def __init__(self, service: Service, metrics: RequestMetrics) -> None:
        self._service = service
        self._metrics = metrics

    async def handle(self, request: Request) -> Response:
        """Healthy means that a linearizable read succeeds in time, which needs a leader and a quorum."""
        if await self._is_healthy():
            self._metrics.health_successes += 1
            return text_response('{"health":"true"}')
        self._metrics.health_failures += 1
        return http_error(503, '{"health":"false"}')

    async def _is_healthy(self) -> bool:
        if not self._service.node.status.lead:
            return False
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._service.check_linearizable()
        except (TimeoutError, ClusterError):
            return False
        return True


class Info:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def version(self, request: Request) -> Response:
        known = self._service.node.status.applied_index > 0
        return json_response({"etcdserver": ETCD_VERSION, "etcdcluster": CLUSTER_VERSION if known else "not_decided"})

    async def machines(self, request: Request) -> Response:
        urls = sorted(url for member in self._service.members for url in member.client_urls)
        return text_response(", ".join(urls))

    async def debug_vars(self, request: Request) -> Response:
        """What Go's expvar shows, as far as it means something here."""
        status = self._service.node.status
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        shown: dict[str, go_json.Json] = {
            "cmdline": sys.argv,
            "file_descriptor_limit": soft_limit,
            "raft.status": {
                "id": f"{status.member_id:x}",
                "term": status.term,
                "commit": status.raft_index,
                "lead": f"{status.lead:x}",
                "applied": status.applied_index,
            },
        }
        lines = ",\n".join(f"{quote(name)}: {go_json.dumps(value)}" for name, value in shown.items())
        headers = "Content-Type: application/json; charset=utf-8\r\n"
        return Response(200, headers, f"{{\n{lines}\n}}\n".encode())


async def set_log_level(request: Request) -> Response:
    """Sets the level of everything that logs in this process."""
    try:
        text = _level_in(await request.read(MAX_LOG_REQUEST_BYTES))
    except (JsonError, BodyTooLarge):
        return message_response(400, "Invalid json body")
    level = _LEVELS.get(text.upper())
    if level is None:
        return message_response(400, f"Invalid log level {text}")
    logging.getLogger().setLevel(level)
    return Response(204, "")


def _level_in(body: bytes) -> str:
    """The `Level` of a request, "" if there is none. Raises `JsonError`."""
    value = go_json.loads(body, only=False)
    if value is None:
        return ""
    if not isinstance(value, Object):
        raise JsonError("not an object")
    level = ""
    for given in value.field("Level"):
        if isinstance(given, Number) or not isinstance(given, str | None):
            raise JsonError("not a string")
        level = given or level
    return level
