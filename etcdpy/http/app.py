"""The whole API on aiohttp's low-level server: routes, and the way of a request through them.

Dispatch is Go's (net/http ServeMux, and etcd 3.4's embed/serve.go in front of it): CORS headers on everything,
OPTIONS always 200, unclean paths redirected whatever they lead to, then an exact path or the longest prefix
that ends in a slash, then the methods that the route allows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import NamedTuple

from aiohttp import web

from etcdpy.auth.gate import Gate
from etcdpy.commands import Watch
from etcdpy.errors import EtcdError
from etcdpy.http.auth import Auth
from etcdpy.http.client_name import address_of, common_name_of, is_plain_loopback
from etcdpy.http.connection import BadRequest, Connection, Exchange, Sent, Server
from etcdpy.http.fast_lane import Lane
from etcdpy.http.go_path import BadTarget, Target, clean_path, parse_target
from etcdpy.http.guard import Guard, own_host_names
from etcdpy.http.health import Health, Info, set_log_level
from etcdpy.http.keys import DENIED, Keys
from etcdpy.http.members import METHODS as MEMBERS_METHODS
from etcdpy.http.members import Members, PeerMembers
from etcdpy.http.metrics import NO_SOURCES, RequestMetrics, Sources, exposition
from etcdpy.http.parse import KEYS_METHODS
from etcdpy.http.render import (
    NOT_FOUND,
    Response,
    http_error,
    message_response,
    method_not_allowed,
    redirect_response,
)
from etcdpy.http.request import Handler, Request
from etcdpy.http.stats import Stats, Traffic
from etcdpy.http.watch import WatchSession
from etcdpy.http.wire import HttpDate, cors_headers, encode, encode_stream_head, ends_with_connection
from etcdpy.service import Service

CLOSE_SECONDS = 1.0
RAFT_PREFIX = "/raft/"

log = logging.getLogger(__name__)

AiohttpHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpConfig(NamedTuple):
    """`cors_origins`: `*` allows any, none of them forbids all. `quirks` keeps etcd's bugs (`--v2-quirks=etcd`).
    `names_from_certificates`: who shows a client certificate is known by its common name (`--client-cert-auth`)."""

    cors_origins: frozenset[str] = frozenset(("*",))
    max_request_bytes: int = 1_572_864
    quirks: bool = False
    fast_lane: bool = True
    names_from_certificates: bool = False
    hosts: frozenset[str] = frozenset(("*",))
    """Host names that may be asked for without TLS (`--host-whitelist`; see `guard`)."""
    own_urls: tuple[str, ...] = ()
    """The advertised client URLs."""

    @property
    def guard(self) -> Guard:
        return Guard(self.hosts, self.cors_origins, own_host_names(self.own_urls))


class Route(NamedTuple):
    """No `methods` means all."""

    methods: tuple[str, ...]
    handler: Handler


class Mux:
    """Go's ServeMux over decoded, clean paths."""

    def __init__(self, routes: dict[str, Route]) -> None:
        self._routes = routes
        self._prefixes = sorted((path for path in routes if path.endswith("/")), key=len, reverse=True)

    def find(self, path: str) -> Route | None:
        route = self._routes.get(path)
        if route is None:
            prefix = next((prefix for prefix in self._prefixes if path.startswith(prefix)), None)
            route = self._routes[prefix] if prefix else None
        return route


class App:
    """One port's API. `find` and what handlers do is HTTP; sockets are aiohttp's."""

    def __init__(
        self,
        mux: Mux,
        keys: Keys | None,
        service: Service,
        gate: Gate | None = None,
        cors_origins: Iterable[str] = (),
        names_from_certificates: bool = False,
        guard: Guard | None = None,
    ) -> None:
        """Without `keys` and `gate`, and a `guard`, nothing is asked about who somebody is (the peer port)."""
        self._mux = mux
        self._keys = keys
        self._gate = gate
        self._guard = guard
        self._service = service
        self._origins = frozenset(cors_origins)
        self._names_from_certificates = names_from_certificates
        self.date = HttpDate(time.time)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        exchange = Exchange(request, connection.request_begins())
        try:
            return await self._serve(request, exchange)
        except BadRequest as refusal:
            exchange.write(refusal.answer)
            return Sent(keep_alive=False)
        except ConnectionError as reason:  # the client's doing
            log.debug("connection ended", extra={"fields": {"reason": str(reason)}})
            return Sent(keep_alive=False)
        finally:
            connection.request_ends(request)

    async def _serve(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        exchange.check_head()
        try:
            target = parse_target(exchange.target)
        except BadTarget:
            raise BadRequest from None
        if exchange.expects_the_impossible:
            return await self._send(exchange, Response(417, "", close=True), "")
        if target.path == "*" and exchange.method == "OPTIONS":
            return await self._send(exchange, Response(200, ""), "")
        cors = self._cors(request.headers.get("Origin", ""))
        if self._guard is not None and (refusal := _refusal(self._guard, request, exchange.method)):
            return await self._send(exchange, refusal, cors)
        answer = await self._answer(request, target, exchange)
        if isinstance(answer, Watch):
            return await self._watch(answer, exchange, cors)
        return await self._send(exchange, answer, cors)

    @property
    def cors_without_origin(self) -> str:
        return cors_headers("*") if "*" in self._origins else ""

    def _cors(self, origin: str) -> str:
        return self.cors_without_origin or (cors_headers(origin) if origin in self._origins else "")

    async def _answer(self, request: web.BaseRequest, target: Target, exchange: Exchange) -> Response | Watch:
        method, (path, query) = exchange.method, target
        if method == "OPTIONS" and self._keys is not None:
            return Response(200, "")
        if path == "*":
            return Response(400, "", close=True)
        if method != "CONNECT" and (clean := clean_path(path)) != path:
            return redirect_response(method, clean, query)
        route = self._mux.find(path)
        if route is None:
            return NOT_FOUND
        if route.methods and method not in route.methods:
            return method_not_allowed(route.methods)
        return await route.handler(
            Request(
                method,
                path,
                query,
                request.headers.get("Content-Type"),
                request.content_length,
                request.headers.get("Authorization"),
                exchange.read,
                common_name_of(request.transport) if self._names_from_certificates else None,
                address_of(request.transport),
            )
        )

    async def _send(self, exchange: Exchange, response: Response, cors: str) -> web.StreamResponse:
        framing = exchange.framing._replace(cors=cors)
        if response.close or ends_with_connection(len(response.body), framing):
            framing = framing._replace(keep_alive=False)
        exchange.write(encode(response, self.date(), framing))
        await exchange.drained()
        return Sent(framing.keep_alive)

    async def _watch(self, watch: Watch, exchange: Exchange, cors: str) -> web.StreamResponse:
        assert self._keys is not None  # nothing else answers with a watch
        assert self._gate is not None
        assert watch.access is not None
        if not self._gate.allows(watch.access):  # it was when it was judged, before this task had its turn
            return await self._send(exchange, self._keys.refusal(DENIED), cors)
        self._keys.count_watch()
        framing = exchange.framing._replace(cors=cors)
        try:
            session = WatchSession(self._service, watch, exchange, framing)
        except EtcdError as error:
            return await self._send(exchange, self._keys.refusal(error), cors)
        exchange.stream_begins()
        headers = self._keys.watch_headers(session.start_index)
        unwatched = self._gate.watch_over(watch.access, session.revoke)
        try:
            is_complete = await session.run(encode_stream_head(200, headers, self.date(), framing))
        finally:
            unwatched()
        return Sent(is_complete and framing.keep_alive and framing.version == 1)


def _refusal(guard: Guard, request: web.BaseRequest, method: str) -> Response | None:
    """What a request gets that a web page made a browser send, where that is not allowed."""
    host = request.headers.get("Host", "")
    is_plain = request.transport is not None and request.transport.get_extra_info("sslcontext") is None
    if is_plain and not guard.is_safe_host(host, on_loopback=is_plain_loopback(request.transport)):
        return http_error(403, "this host name is not allowed here (--host-whitelist)")._replace(close=True)
    origin, site = request.headers.get("Origin", ""), request.headers.get("Sec-Fetch-Site", "")
    if not guard.is_safe_origin(method, origin, site, host):
        return http_error(403, "web pages of this origin may not write (--cors)")._replace(close=True)
    return None


class Listener(NamedTuple):
    """`protocol` is for `loop.create_server`; `close` ends the connections that were made."""

    protocol: Callable[[], asyncio.BaseProtocol]
    close: Callable[[], Awaitable[None]]


def make_client_listener(
    service: Service, gate: Gate, config: HttpConfig, traffic: Traffic, sources: Sources = NO_SOURCES
) -> Listener:
    """The API of the client port. Call it in the running event loop."""
    metrics = RequestMetrics()
    keys = Keys(service, gate, metrics, config.max_request_bytes, config.quirks)
    mux = Mux(client_routes(service, gate, keys, metrics, config, traffic, sources))
    guard = config.guard
    app = App(mux, keys, service, gate, config.cors_origins, config.names_from_certificates, guard)
    server = Server(app.serve, handler_cancellation=True)
    if not config.fast_lane:
        return Listener(server, partial(server.shutdown, CLOSE_SECONDS))
    lane = Lane(
        keys,
        server,
        app.date,
        app.cors_without_origin,
        config.max_request_bytes,
        guard,
        config.names_from_certificates,
    )

    async def close() -> None:
        lane.close()
        await server.shutdown(CLOSE_SECONDS)

    return Listener(lane, close)


def make_peer_listener(service: Service, raft: Callable[[AiohttpHandler], AiohttpHandler]) -> Listener:
    """What peers, proxies and tools ask on the peer port over plain HTTP. `raft` adds what members say to each other
    to a handler of all the rest."""
    handler = raft(App(Mux(peer_routes(service)), None, service).serve)

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith(RAFT_PREFIX):
            assert isinstance(request.protocol, Connection)
            request.protocol.request_begins()  # a stream is one request that lasts: no deadline may be left over
        return await handler(request)

    server = Server(serve, handler_cancellation=True)
    return Listener(server, partial(server.shutdown, CLOSE_SECONDS))


def client_routes(
    service: Service,
    gate: Gate,
    keys: Keys,
    metrics: RequestMetrics,
    config: HttpConfig,
    traffic: Traffic,
    sources: Sources,
) -> dict[str, Route]:
    info = Info(service)
    limit, quirks = config.max_request_bytes, config.quirks
    auth = Auth(service, gate, limit, quirks)
    members = Route(MEMBERS_METHODS, users_only(gate, Members(service, gate, limit).handle))
    keys_route = Route(KEYS_METHODS, keys.serve)
    stats = Stats(service, traffic, time.time_ns)
    return {
        "/v2/keys": keys_route,
        "/v2/keys/": keys_route,
        "/v2/members": members,
        "/v2/members/": members,
        "/v2/auth/enable": Route((), auth.enable),
        "/v2/auth/users": Route((), auth.users),
        "/v2/auth/users/": Route((), auth.users),
        "/v2/auth/roles": Route((), auth.roles),
        "/v2/auth/roles/": Route((), auth.roles),
        "/v2/machines": Route(("GET", "HEAD"), users_only(gate, info.machines)),
        "/v2/stats/self": Route(("GET",), users_only(gate, stats.of_self)),
        "/v2/stats/leader": Route(("GET",), users_only(gate, stats.of_leader)),
        "/v2/stats/store": Route(("GET",), users_only(gate, stats.of_store)),
        "/version": Route(("GET",), info.version),
        "/health": Route(("GET",), Health(service, metrics).handle),
        "/metrics": Route((), users_only(gate, exposition(service, metrics, sources))),
        "/debug/vars": Route(("GET",), administrators_only(gate, info.debug_vars)),
        "/config/local/log": Route(("PUT",), administrators_only(gate, set_log_level)),
    }


def users_only(gate: Gate, handler: Handler) -> Handler:
    """Where auth is on and guests have nothing (`--auth-guest=none`), only who has a name gets an answer."""

    async def checked(request: Request) -> Response | Watch:
        if gate.state.enabled and not gate.guest_is_open and not await gate.user_of(request.credentials):
            return message_response(401, "Insufficient credentials")
        return await handler(request)

    return checked


def administrators_only(gate: Gate, handler: Handler) -> Handler:
    """Where auth is on, only who has the role `root` gets an answer. etcd asks nobody here."""

    async def checked(request: Request) -> Response | Watch:
        if await gate.administrator(request.credentials) is None:
            return message_response(401, "Insufficient credentials")
        return await handler(request)

    return checked


def peer_routes(service: Service) -> dict[str, Route]:
    return {
        "/members": Route(("GET",), PeerMembers(service).handle),
        "/version": Route(("GET",), Info(service).version),
    }
