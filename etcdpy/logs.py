"""The log: standard logging on stderr, one record a line of text or JSON, written by a thread of its own.

A reader of stderr that stops reading must not stop this process: whoever logs puts a line into a bounded queue and goes
on. A full queue drops lines, counts them, and the log says how many once it moves again.

Convention: the message is a constant, what varies stands in `extra={"fields": {...}}`. Whatever a client can send may
stand there: control characters are escaped, so nothing can forge a line or speak to a terminal.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import queue
import re
import select
import threading
from collections.abc import Mapping
from typing import Any

STDERR = 2
CAPACITY_LINES = 10_000
FLUSH_SECONDS = 1.0
"""At most so long does the end of the process wait for a reader of its last lines."""

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
"""etcd's names of levels."""

_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, line ends, what turns the direction of text, and halves of surrogate pairs."""

_PLAIN = re.compile(r"[^\s\"=]+")


def configure(level: str, log_format: str) -> None:
    """Sends the whole process's log to stderr. `level` is one of LEVELS, `log_format` `text` or `json`."""
    handler = ThreadHandler(STDERR)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(LEVELS[level])


def escape(text: str) -> str:
    """`text` as a part of one line."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    """`2026-11-24T10:00:00.123Z info  cluster.node  message key=value`; a traceback follows on indented lines."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_quote(str(value))}" for key, value in _fields(record).items())
        message = escape(record.getMessage()) + fields
        lines = [f"{_time(record)} {_level(record):5} {record.name}  {message}"]
        lines += ["    " + escape(line) for line in _traceback(record).splitlines()]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One object a line: `level`, `ts`, `logger`, `msg`, the fields, and `stacktrace` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        head = {"level": _level(record), "ts": _time(record), "logger": record.name, "msg": record.getMessage()}
        stacktrace = _traceback(record)
        tail = {"stacktrace": stacktrace} if stacktrace else {}
        return json.dumps({**head, **{k: v for k, v in _fields(record).items() if k not in head}, **tail}, default=str)


class ThreadHandler(logging.Handler):
    """Writes to a descriptor from a thread, so that no caller ever waits for whoever reads it."""

    def __init__(self, descriptor: int, capacity_lines: int = CAPACITY_LINES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._capacity_lines = capacity_lines
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0  # in all: only `emit` writes it
        self._told = 0  # how many of those the log has told: only the thread writes it
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._capacity_lines:
            self._dropped += 1
        else:
            self._lines.put(self._format(record))

    def _format(self, record: logging.LogRecord) -> str:
        """A record that can't be formatted is a mistake of whoever logged it, and no reason for that one to stop."""
        try:
            return self.format(record)
        except Exception as error:
            fields = {"template": record.msg, "line": f"{record.pathname}:{record.lineno}", "error": repr(error)}
            return self.format(_make_record(logging.ERROR, "log line not formatted", fields))

    def close(self) -> None:
        """Waits for what was logged to be written, but no longer than FLUSH_SECONDS."""
        super().close()
        self._lines.put(None)
        self._thread.join(FLUSH_SECONDS)

    def _write_all(self) -> None:
        for line in iter(self._lines.get, None):
            self._write(line)
            if self._dropped > self._told:
                self._tell_dropped(self._dropped)

    def _tell_dropped(self, dropped: int) -> None:
        fields = {"count": dropped - self._told}
        self._told = dropped
        self._write(self.format(_make_record(logging.WARNING, "log lines dropped", fields)))

    def _write(self, line: str) -> None:
        data = memoryview(line.encode(errors="backslashreplace") + b"\n")
        with contextlib.suppress(OSError):  # nobody is there to tell
            while data:
                data = data[self._write_some(data) :]

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # somebody who shares it has made it so
            select.select([], [self._descriptor], [])
            return 0


def _make_record(level: int, message: str, fields: Mapping[str, Any]) -> logging.LogRecord:
    return logging.makeLogRecord({"name": __name__, "levelno": level, "msg": message, "fields": fields})


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, "fatal")


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _traceback(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""


def _quote(value: str) -> str:
    """A value that is one word stays as it is; another is quoted."""
    escaped = escape(value)
    return escaped if _PLAIN.fullmatch(value) and escaped == value else json.dumps(value, ensure_ascii=True)
