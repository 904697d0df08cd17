"""`/v2/keys`: parse, ask the service, render. The same for every lane; only watches are answered elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from etcdpy.auth.credentials import NO_CREDENTIALS, Credentials
from etcdpy.auth.gate import Gate
from etcdpy.auth.verifier import UNKNOWN
from etcdpy.commands import Access, Get, KeyCommand, OnBehalf, Watch
from etcdpy.errors import COMPARE_FAILED, INVALID_FORM, UNAUTHORIZED, EtcdError
from etcdpy.http.go_form import MAX_FORM_BYTES
from etcdpy.http.metrics import RequestMetrics
from etcdpy.http.parse import KeysRequest, has_form_body, parse_keys
from etcdpy.http.render import Headers, Response, as_etcd_error, error_response, event_response, watch_headers
from etcdpy.http.request import BodyTooLarge, Request
from etcdpy.service import Service, awaited
from etcdpy.store.event import Event

log = logging.getLogger(__name__)

Reply = Callable[[Response | Watch], None]

_READS = frozenset(("GET", "HEAD"))
DENIED = EtcdError(UNAUTHORIZED, "Insufficient credentials")


class Keys:
    def __init__(
        self, service: Service, gate: Gate, metrics: RequestMetrics, max_request_bytes: int, quirks: bool = False
    ) -> None:
        self._service = service
        self._gate = gate
        self._auth = gate.state
        self._metrics = metrics
        self._max_request_bytes = max_request_bytes
        self._quirks = quirks

    async def serve(self, request: Request) -> Response | Watch:
        """Answers one of `KEYS_METHODS`. A watch is the caller's to serve."""
        method, path, query, content_type, content_length = request[:5]
        body = b""
        try:
            if has_form_body(method, content_type):
                body = await request.read(self._max_request_bytes)
        except EtcdError as error:
            return self.refusal(error)
        except BodyTooLarge:
            return self.too_large(content_length)
        answer: Response | Watch = await awaited(
            lambda reply: self.handle(method, path, query, content_type, body, reply, request.credentials)
        )
        return answer

    def handle(
        self,
        method: str,
        path: str,
        query: str,
        content_type: str | None,
        body: bytes,
        reply: Reply,
        credentials: Credentials = NO_CREDENTIALS,
    ) -> None:
        """Answers a request, at once or later; `reply` is called once. The first arguments are those of
        `parse_keys`."""
        try:
            request = parse_keys(method, path, query, content_type, body, quirks=self._quirks)
        except EtcdError as error:
            reply(self.refusal(error))
            return
        self.perform(method, request, reply, credentials)

    def meaning(self, method: str, path: str, query: str, content_type: str | None) -> KeysRequest | None:
        """What a request without a body means, to be given to `perform`; None if it is to be refused."""
        try:
            return parse_keys(method, path, query, content_type, b"", quirks=self._quirks)
        except EtcdError:
            return None

    def perform(
        self, method: str, request: KeysRequest, reply: Reply, credentials: Credentials = NO_CREDENTIALS
    ) -> None:
        """Answers a request that has been parsed, if it is allowed; a watch is the caller's to serve."""
        if self._auth.enabled:
            user = self._gate.known(credentials)
            if user is UNKNOWN:
                self._gate.identify(credentials, lambda user: self._perform_as(user, method, request, reply))
            else:
                self._perform_as(user, method, request, reply)
            return
        operation, no_value, key, recursive = request
        begun = time.monotonic()
        if type(operation) is Get and not operation.quorum:
            self._metrics.received[method] += 1
            reply(self._response(method, self._service.read_now(operation), no_value, begun))
        elif type(operation) is Watch:
            reply(operation._replace(access=Access("", key, recursive, write=False)))
        else:
            self._perform_later(method, operation, no_value, begun, reply)

    def _perform_as(self, user: str | None, method: str, request: KeysRequest, reply: Reply) -> None:
        """The same for somebody: None is one whose credentials are wrong."""
        operation, no_value, key, recursive = request
        access = Access(user or "", key, recursive, method not in _READS)
        if user is None or not self._gate.allows(access):
            reply(self.refusal(DENIED))
            return
        begun = time.monotonic()
        if type(operation) is Watch:
            reply(operation._replace(access=access))
        elif type(operation) is Get and not operation.quorum:
            self._metrics.received[method] += 1
            reply(self._response(method, self._service.read_now(operation), no_value, begun))
        else:
            self._perform_later(method, operation, no_value, begun, reply, access)

    def _perform_later(
        self,
        method: str,
        operation: KeyCommand | Get | Watch,
        no_value: bool,
        begun: float,
        reply: Reply,
        access: Access | None = None,
    ) -> None:
        if type(operation) is Get:
            method = "QGET"
        self._metrics.received[method] += 1

        def done(result: Any) -> None:
            try:
                if access is not None:
                    result = self._as_allowed(result, access)
                response = self._response(method, result, no_value, begun)
            except Exception:  # the node calls this, and must not pay for a mistake of ours
                log.exception("an answer could not be rendered")
                response = self.refusal(as_etcd_error(RuntimeError()))
            reply(response)

        if type(operation) is Get:
            self._service.read(operation, done)
        else:  # no watch comes here
            command: Any = operation
            self._service.write(command if access is None else OnBehalf(access, command), done)

    def _as_allowed(self, result: Any, access: Access) -> Any:
        """What of a result somebody may be told: while it was on its way, permissions may have changed; and who may
        write but not read learns no value (with etcd's quirks, he does)."""
        user, key, recursive, write = access
        if not write:
            return result if self._gate.allows(access) else DENIED
        if self._quirks or self._gate.allows(Access(user, key, recursive, False)):
            return result
        return _without_old_values(result)

    def _response(self, method: str, result: Any, no_value: bool, begun: float) -> Response:
        if type(result) is Event:
            self._metrics.succeeded(method, time.monotonic() - begun)
            return self._success(result, no_value)
        error = as_etcd_error(result)
        self._metrics.failed[method, error.http_status] += 1
        return self.refusal(error)

    def _success(self, event: Event, no_value: bool) -> Response:
        node = self._service.node
        return event_response(event, no_value, self._service.cluster_id, node.raft_index, node.term)

    def refusal(self, error: EtcdError) -> Response:
        return error_response(error, self._service.cluster_id)

    def watch_headers(self, start_index: int) -> Headers:
        """The headers of a watch that was accepted at that store index."""
        node = self._service.node
        return watch_headers(self._service.cluster_id, start_index, node.raft_index, node.term)

    def too_large(self, content_length: int | None) -> Response:
        """The refusal of a form too large. etcd limits v2 requests by Go's 10 MiB only, which has Go's text; so it
        accepts values that its log cannot be read back with. Our own limit names itself."""
        if (content_length or 0) > MAX_FORM_BYTES:
            return self.refusal(EtcdError(INVALID_FORM, "http: POST too large"))._replace(close=True)
        cause = f"request body is larger than {self._max_request_bytes} bytes (--max-request-bytes)"
        return self.refusal(EtcdError(INVALID_FORM, cause))._replace(status=413, close=True)

    def count_watch(self) -> None:
        self._metrics.watch_requests += 1


def _without_old_values(result: Any) -> Any:
    """The result of a write, for somebody who may not read."""
    if type(result) is EtcdError and result.code == COMPARE_FAILED:
        return EtcdError(COMPARE_FAILED, index=result.index)
    if type(result) is Event and result.prev_node is not None and result.prev_node.value:
        return Event(result.action, result.node, result.prev_node._replace(value=""), result.store_index)
    return result
