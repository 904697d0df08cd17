"""What is fuzzed: each target takes any bytes, and must end in an answer or in the refusal that its contract names.

A target returns True for what it accepted, False for what it refused. Whatever else it raises is a finding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgpack

from cluster.disk import RealDisk
from cluster.failures import DataCorrupt
from cluster.snapshotter import SnapshotName, Snapshotter
from cluster.transport.frame import FrameError, FrameReader, decode_message, encode_frame
from cluster.wal.record import BadRecord, Mark, decode_head, decode_save, encode_save, read_record
from cluster.wal.repair import Metadata, read_log
from cluster.wal.wal import WAL
from etcdpy.auth.credentials import parse_basic
from etcdpy.auth.passwords import BadPassword, check_length
from etcdpy.errors import EtcdError
from etcdpy.http import go_json
from etcdpy.http.auth_json import read_role, read_user
from etcdpy.http.go_json import JsonError
from etcdpy.http.go_path import BadTarget, clean_path, parse_target
from etcdpy.http.go_url import UrlError, parse_member_urls
from etcdpy.http.members import parse_peer_urls
from etcdpy.http.parse import KEYS_PREFIX, parse_keys
from etcdpy.http.request_line import RequestSize, rewrite
from etcdpy.state_machine import validate
from etcdpy.store import snapshot
from etcdpy.store.store import Store
from raft.messages import ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot

FORM = "application/x-www-form-urlencoded"
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
SNAPSHOT = Snapshot(7, 2, ConfState((1, 2, 3)))

Target = Callable[[bytes], bool]


def target(data: bytes) -> bool:
    """A request target: decoded and clean, it stays what it is, and means one operation that may be proposed."""
    try:
        path, query = parse_target(data.decode("utf-8", "surrogateescape"))
    except BadTarget:
        return False
    clean = clean_path(path)
    assert clean_path(clean) == clean
    return _means_something(clean, query, b"") if clean.startswith(KEYS_PREFIX + "/") else False


def form(data: bytes) -> bool:
    """A body and a query."""
    query, _, body = data.partition(b"\n")
    return _means_something("/v2/keys/a", query.decode("utf-8", "surrogateescape"), body)


def _means_something(path: str, query: str, body: bytes) -> bool:
    accepted = False
    for method in METHODS:
        try:
            operation = parse_keys(method, path, query, FORM, body).operation
        except EtcdError:
            continue
        accepted = True
        if method in ("PUT", "POST", "DELETE"):
            validate(operation)
    return accepted


def json(data: bytes) -> bool:
    """Every reader of JSON agrees whether it is any."""
    accepted = False
    for read in (go_json.loads, read_user, read_role, parse_peer_urls):
        try:
            value = read(data)
            accepted = True
            if read is parse_peer_urls:
                parse_member_urls(value)
        except (JsonError, UrlError):
            continue
    return accepted


def credentials(data: bytes) -> bool:
    """The value of an `Authorization` header."""
    login = parse_basic(data)
    if login is None:
        return False
    try:
        check_length(login.password)
    except BadPassword:
        return False
    return True


def request_head(data: bytes) -> bool:
    """Bytes of a connection, in two pieces at every place: the count of a request's bytes does not depend on it."""
    rewritten = rewrite(data)
    whole, halves = RequestSize(), RequestSize()
    whole.feed(data)
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        halves.feed(piece)
    assert (whole.has_head, whole.is_whole(0)) == (halves.has_head, halves.is_whole(0))
    return rewritten is not None and whole.has_head


def frames(data: bytes) -> bool:
    """A peer's stream: what is a message can be sent on as the same message."""
    try:
        messages = FrameReader().feed(data)
    except FrameError:
        return False
    for message in messages:
        assert decode_message(encode_frame(message)[4:]) == message
    return bool(messages)


def wal_record(data: bytes) -> bool:
    """One record of the log, and the payloads of both kinds."""
    accepted = False
    for decode in (decode_head, decode_save):
        try:
            decode(data)
            accepted = True
        except ValueError:
            continue
    try:
        return read_record(memoryview(data), 0, 0, 0) is not None or accepted
    except BadRecord:
        return accepted


def wal_file(data: bytes) -> bool:
    """A file of the log: it holds what was written, or is said to be damaged."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        Path(directory, _wal_name()).write_bytes(data)
        try:
            replayed, _ = read_log(RealDisk(), directory, 0)
        except DataCorrupt:
            return False
    assert replayed.entries == ENTRIES[: len(replayed.entries)], "a damaged log must never look like another one"
    return True


def snapshot_file(data: bytes) -> bool:
    """A snapshot file: every byte as it was written, or none."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        snapshotter = Snapshotter(RealDisk(), directory)
        Path(snapshotter.path(SnapshotName.of(SNAPSHOT))).write_bytes(data)
        try:
            content = b"".join(snapshotter.open_reader(SNAPSHOT).pieces())
        except DataCorrupt:
            return False
    assert content == b"".join(snapshot.dump(_store()))
    return True


TARGETS: dict[str, Target] = {
    "target": target,
    "form": form,
    "json": json,
    "credentials": credentials,
    "request_head": request_head,
    "frames": frames,
    "wal_record": wal_record,
    "wal_file": wal_file,
    "snapshot_file": snapshot_file,
}

# What mutation begins with, beside the kept corpus.

ENTRIES = [Entry(1, index, EntryType.NORMAL, b"data %d" % index) for index in range(1, 6)]
MESSAGE = Message(MessageType.APP, 2, 1, 3, 1, 0, tuple(ENTRIES), 2)


def seeds(name: str) -> list[bytes]:
    made = _SEEDS.get(name)
    return made() if made is not None else []


def _store() -> Store:
    store = Store()
    store.set("/a/b", "value", False, 10, False, 1)
    store.create("/q", "v", False, True, None, 2)
    store.delete("/a", True, True, 3)
    return store


def _wal_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        log = WAL.create(RealDisk(), directory, Metadata(1, 2), segment_bytes=1 << 14)
        log.save(HardState(1, 1, 3), ENTRIES[:3])
        log.save(HardState(1, 1, 5), ENTRIES[3:])
        log.close()
        return [Path(directory, _wal_name()).read_bytes()]


@cache
def _wal_name() -> str:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        WAL.create(RealDisk(), directory, Metadata(1, 2), segment_bytes=1 << 14).close()
        return next(Path(directory).iterdir()).name


def _snapshot_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        Snapshotter(RealDisk(), directory).write(SNAPSHOT, b"header", snapshot.dump(_store()))
        return [next(Path(directory).iterdir()).read_bytes()]


def _packed(*values: Any) -> list[bytes]:
    return [msgpack.packb(value) for value in values]


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "target": lambda: [
        b"/v2/keys/a/../b%2fc?recursive=true&wait=false&ttl=5",
        b"http://a/v2/keys/%ff//x?prevExist=true",
    ],
    "form": lambda: [b"ttl=5&prevValue=a\nvalue=x&dir=false&prevIndex=7", b"sorted=1\nrefresh=true&ttl=%35;x"],
    "json": lambda: [
        b'{"user":"a","password":"\\u0041","roles":["r",null]}',
        b'{"peerURLs":["http://a:1"]}',
        b'{"role":"r","grant":{"kv":{"read":["/*"]}}}',
    ],
    "credentials": lambda: [b"Basic cm9vdDpycA==", b"basic Og=="],
    "request_head": lambda: [
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n"
    ],
    "frames": lambda: [encode_frame(MESSAGE), bytes(4) + encode_frame(MESSAGE._replace(entries=()))],
    "wal_record": lambda: [
        encode_save(HardState(1, 1, 3), ENTRIES, Mark(3, 1, False)),
        *_packed([1, 0, 1, 1, 2, 0, [1, 1, 3]]),
    ],
    "wal_file": _wal_seeds,
    "snapshot_file": _snapshot_seeds,
}
