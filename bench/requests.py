"""The requests that our own generators send, as bytes. load.lua makes the same for wrk."""

from __future__ import annotations

from .scale import VALUE_BYTES

DIRECTORY = "/v2/keys/bench/"
WATCHED = "/v2/keys/watched"


def put(authority: str, number: int) -> bytes:
    """Set key `number` to a value of 100 bytes of its own."""
    return _put(authority, f"{DIRECTORY}{number:07d}", f"{number:0{VALUE_BYTES}d}")


def put_watched(authority: str, number: int) -> bytes:
    """Set a key under the watched directory."""
    return _put(authority, f"{WATCHED}/key", f"{number:0{VALUE_BYTES}d}")


def watch(authority: str) -> bytes:
    """Wait for the next event anywhere under the watched directory."""
    return f"GET {WATCHED}?wait=true&recursive=true HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def _put(authority: str, path: str, value: str) -> bytes:
    body = f"value={value}"
    return (
        f"PUT {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
