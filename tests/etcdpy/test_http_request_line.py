from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpy.http.request_line import MAX_LINE_BYTES, RequestLine, Rewritten, rewrite

REST = b"Host: x\r\n\r\nbody"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n" + REST,
        b"DELETE /v2/keys/a%20b?c=d#e HTTP/1.0\r\n" + REST,
        b"GET /\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /\xff\x01 HTTP/1.1\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"GET /" + b"\xff" * MAX_LINE_BYTES + b" HTTP/1.1\r\n",
        b"x" * (MAX_LINE_BYTES + 1),
    ],
)
def test_plain_and_unacceptable_lines_are_left_alone(data):
    assert rewrite(data) == Rewritten(data, None)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"GET /\xc3\xa9 HTTP/1.1\r\n", RequestLine("GET", "/é")),
        (b"GET /\xff HTTP/1.1\r\n", RequestLine("GET", "/\udcff")),
        (b"FOO /a HTTP/1.1\r\n", RequestLine("FOO", "/a")),
        (b"get /a HTTP/1.1\r\n", RequestLine("get", "/a")),
        (b"GET * HTTP/1.1\r\n", RequestLine("GET", "*")),
        (b"CONNECT foo:80 HTTP/1.1\r\n", RequestLine("CONNECT", "foo:80")),
    ],
)
def test_odd_lines_are_replaced(data, line):
    assert rewrite(data + REST) == Rewritten(b"POST / HTTP/1.1\r\n" + REST, line)


@given(st.sampled_from([b"GET /a HTTP/1.1\r\n", b"FOO /\xff HTTP/1.1\r\n"]), st.data())
def test_a_line_may_come_in_pieces(line, data):
    cut = data.draw(st.integers(0, len(line) - 1))
    assert rewrite(line[:cut]) is None
    assert rewrite(line) is not None
