"""Where a load generator sends its requests."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, NamedTuple

HOST = "127.0.0.1"


class Address(NamedTuple):
    """A port on loopback, in plain HTTP or, with a context, in HTTPS."""

    port: int
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        """Host and port, as in the Host header."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.authority}"

    def get_json(self, path: str, timeout_seconds: float = 5.0) -> Any:
        """The JSON that a GET answers, whatever its status.

        Raises OSError or http.client.HTTPException where no answer comes, ValueError where it isn't JSON.
        """
        connection = self._connection(timeout_seconds)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def put_json(self, path: str, value: object = None, timeout_seconds: float = 5.0) -> int:
        """The status of a PUT. Raises OSError or http.client.HTTPException where no answer comes."""
        connection = self._connection(timeout_seconds)
        try:
            connection.request("PUT", path, json.dumps(value), {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def _connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(HOST, self.port, timeout=timeout_seconds)
        return http.client.HTTPSConnection(HOST, self.port, timeout=timeout_seconds, context=self.tls)
