"""The log: what a line looks like, that nothing forges one, and that a reader who stops stops nobody else."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpy.logs import JsonFormatter, TextFormatter, ThreadHandler, configure, escape

ANYTHING = st.text(st.characters(codec=None, categories=None), max_size=60)
PIPE_SECONDS = 10.0


def make_record(message: str, level_number: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {"name": "cluster.node", "levelno": level_number, "msg": message, "created": 1_763_978_400.12}
    )
    record.fields = fields
    return record


@contextlib.contextmanager
def pipe_handler(capacity_lines: int = 10_000) -> Iterator[tuple[ThreadHandler, int]]:
    """A handler that writes into a pipe, and the pipe's end to read from."""
    reader, writer = os.pipe()
    handler = ThreadHandler(writer, capacity_lines)
    handler.setFormatter(TextFormatter())
    try:
        yield handler, reader
    finally:
        os.close(reader)  # whatever the thread still writes fails now
        handler.close()
        os.close(writer)


def read_until(reader: int, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        chunk = os.read(reader, 65_536)
        assert chunk, f"the pipe ended without {wanted!r}"
        data += chunk
    return data


def fill(writer: int) -> None:
    """Writes to the pipe until no byte more goes in."""
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)


def test_a_text_line() -> None:
    line = TextFormatter().format(make_record("peer connected", url="http://a:1", attempts=3))
    assert line == "2025-11-24T10:00:00.120Z info  cluster.node  peer connected url=http://a:1 attempts=3"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("two words", '"two words"'),
        ('say "no"', '"say \\"no\\""'),
        ("a=b", '"a=b"'),
        ("x\r\n2025-11-24T10:00:00.120Z info", '"x\\r\\n2025-11-24T10:00:00.120Z info"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("größe", "größe"),
        ("\u202egnp", '"\\u202egnp"'),
        ("\udc80", '"\\udc80"'),
        (b"\xff", "b'\\xff'"),
        (None, "None"),
    ],
)
def test_a_value_is_one_word_or_quoted(value: object, shown: str) -> None:
    assert TextFormatter().format(make_record("m", key=value)).endswith(f"  m key={shown}")


@pytest.mark.parametrize(
    ("level", "name"),
    [(10, "debug"), (20, "info "), (30, "warn "), (40, "error"), (50, "fatal")],
)
def test_level_names_are_etcds(level: int, name: str) -> None:
    assert f"Z {name} cluster.node" in TextFormatter().format(make_record("m", level))


def test_a_json_line() -> None:
    line = JsonFormatter().format(make_record("peer\nlost", logging.WARNING, peer="8e9e", attempts=3, level="forged"))
    assert json.loads(line) == {
        "level": "warn",
        "ts": "2025-11-24T10:00:00.120Z",
        "logger": "cluster.node",
        "msg": "peer\nlost",
        "peer": "8e9e",
        "attempts": 3,
    }
    assert "\n" not in line


def test_a_traceback_cannot_forge_a_line() -> None:
    record = make_record("failed", logging.ERROR)
    try:
        raise ValueError("evil\n2025-11-24T10:00:00.120Z info  auth  root logged in\r\n\x1b[2J")
    except ValueError:
        record.exc_info = sys.exc_info()
    first, *rest = TextFormatter().format(record).split("\n")
    assert first.endswith("  failed")
    assert len(rest) > 3
    assert all(line.startswith("    ") for line in rest)
    assert "ValueError: evil" in json.loads(JsonFormatter().format(record))["stacktrace"]


@given(message=ANYTHING, user=ANYTHING, value=ANYTHING)
def test_no_text_leaves_its_line(message: str, user: str, value: str) -> None:
    record = make_record(message.replace("%", ""), key=value, user=user)
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record)
        line.encode()  # no half of a surrogate pair
        assert len(line.splitlines()) == 1
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


@given(ANYTHING)
def test_escaping_leaves_what_is_harmless(text: str) -> None:
    assert escape(escape(text)) == escape(text)
    if text.isprintable() and text.isascii():
        assert escape(text) == text


def test_a_mistake_in_logging_is_told_and_stops_nobody() -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with pipe_handler() as (handler, reader):
        handler.handle(logging.makeLogRecord({"msg": "%d members", "args": ("three",)}))
        handler.handle(make_record("m", key=Unspeakable()))
        text = read_until(reader, b"no words").decode()
    assert text.count("log line not formatted") == 2
    assert 'template="%d members"' in text


def test_lines_come_out_in_order() -> None:
    with pipe_handler() as (handler, reader):
        for number in range(1000):
            handler.handle(make_record("m", n=number))
        lines = read_until(reader, b"n=999\n").decode().splitlines()
    assert [line.rpartition("n=")[2] for line in lines] == [str(number) for number in range(1000)]


def test_a_reader_that_stops_stops_nobody_and_learns_what_it_missed() -> None:
    reader, writer = os.pipe()
    fill(writer)
    handler = ThreadHandler(writer, capacity_lines=50)
    handler.setFormatter(TextFormatter())
    began = time.monotonic()
    for number in range(1000):
        handler.handle(make_record("m", n=number))
    waited = time.monotonic() - began
    text, kept, dropped = "", 0, 0
    while kept + dropped < 1000:  # the notices may be several, and lines may follow them
        chunk = os.read(reader, 65_536)
        assert chunk, f"the pipe ended after {kept} lines and {dropped} dropped ones"
        text += chunk.decode()
        whole_lines = text[: text.rfind("\n") + 1]
        kept = len(re.findall(r"  m n=\d+\n", whole_lines))
        dropped = sum(map(int, re.findall(r"log lines dropped count=(\d+)\n", whole_lines)))
    os.close(reader)
    handler.close()
    os.close(writer)

    assert waited < 1
    assert kept + dropped == 1000
    assert 50 <= kept <= 51


def test_closing_waits_for_the_reader_but_not_for_ever() -> None:
    reader, writer = os.pipe()
    fill(writer)
    handler = ThreadHandler(writer)
    handler.setFormatter(TextFormatter())
    handler.handle(make_record("m"))
    began = time.monotonic()
    handler.close()
    waited = time.monotonic() - began
    os.close(reader)
    os.close(writer)
    assert waited < 5


def test_closing_writes_what_waits() -> None:
    with pipe_handler() as (handler, reader):
        for number in range(500):
            handler.handle(make_record("m", n=number))
        read = threading.Thread(target=read_until, args=(reader, b"n=499\n"))
        read.start()
        handler.close()
        read.join(PIPE_SECONDS)
        assert not read.is_alive()


def test_a_descriptor_that_does_not_block_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler = ThreadHandler(writer)
    handler.setFormatter(TextFormatter())
    for number in range(5000):
        handler.handle(make_record("m", n=number, padding="p" * 40))
    data = read_until(reader, b"n=4999 padding=" + b"p" * 40 + b"\n")
    handler.close()
    os.close(reader)
    os.close(writer)
    assert len(data.splitlines()) == 5000


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    handler = ThreadHandler(writer)
    handler.setFormatter(TextFormatter())
    handler.handle(make_record("m"))
    handler.close()
    os.close(writer)


def run_python(code: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], timeout=30, check=True, **options)


PRELUDE = "import logging; from etcdpy.logs import configure; "


def test_configure_sends_all_loggers_to_stderr_from_a_level_on() -> None:
    code = PRELUDE + (
        "configure('debug', 'text'); configure('warn', 'json'); log = logging.getLogger('a.b');"
        "log.info('quiet'); log.error('loud'); logging.getLogger().setLevel('INFO'); log.info('now heard')"
    )
    done = run_python(code, capture_output=True)
    assert done.stdout == b""
    assert [json.loads(line)["msg"] for line in done.stderr.splitlines()] == ["loud", "now heard"]


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    reader, writer = os.pipe()
    fill(writer)
    began = time.monotonic()
    run_python(PRELUDE + "configure('info', 'text'); logging.getLogger().info('x' * 100_000)", stderr=writer)
    os.close(reader)
    os.close(writer)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error", "panic", "fatal"])
def test_etcds_levels_are_known(level: str) -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    root.handlers = []
    try:
        configure(level, "text")
        assert root.level == {"debug": 10, "info": 20, "warn": 30, "error": 40, "panic": 50, "fatal": 50}[level]
    finally:
        root.handlers[0].close()
        root.handlers, root.level = handlers, before
