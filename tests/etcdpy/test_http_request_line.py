from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpy.http.request_line import MAX_LINE_BYTES, RequestLine, RequestSize, Rewritten, rewrite

REST = b"Host: x\r\n\r\nbody"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n" + REST,
        b"DELETE /v2/keys/a%20b?c=d#e HTTP/1.0\r\n" + REST,
        b"GET /\r\n",
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


def test_two_spaces_are_made_what_the_parser_refuses_as_go_does() -> None:
    rewritten = rewrite(b"GET  / HTTP/1.1\r\n" + REST)
    assert rewritten is not None
    assert not rewritten.data.startswith(b"GET")


def test_what_begins_no_method_is_not_waited_for() -> None:
    assert rewrite(b"\x16\x03\x01") == Rewritten(b"\x16\x03\x01", None)


@given(st.sampled_from([b"GET /a HTTP/1.1\r\n", b"FOO /\xff HTTP/1.1\r\n"]), st.data())
def test_a_line_may_come_in_pieces(line, data):
    cut = data.draw(st.integers(0, len(line) - 1))
    assert rewrite(line[:cut]) is None
    assert rewrite(line) is not None


CHUNKED = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0),
    (b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab\r\n\r\ncde", 9),
    (CHUNKED + b"0\r\n\r\n", 0),
    (CHUNKED + b"3\r\nabc\r\nA;b=c\r\n0\r\n\r\n567890\r\n000\r\n\r\n", 0),
    (CHUNKED + b"1\r\n0\r\n0\r\nTrailer: x\r\nB: y\r\n\r\n", 0),
]


@given(st.sampled_from(REQUESTS), st.data())
def test_the_end_of_a_request_is_known_whatever_pieces_it_comes_in(request_and_length, data):
    request, content_length = request_and_length
    cuts = sorted(data.draw(st.sets(st.integers(1, len(request) - 1), max_size=6)))
    size = RequestSize()
    for start, end in zip([0, *cuts], [*cuts, len(request)], strict=True):
        assert not size.is_whole(content_length)
        size.feed(request[start:end])
    assert size.is_whole(content_length)
    size.feed(b"G")
    assert not size.is_whole(content_length)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_any_chunks_can_be_followed(pieces):
    size = RequestSize()
    for piece in [CHUNKED, *pieces]:
        size.feed(piece)


def test_a_body_of_tiny_chunks_is_excessive_and_one_of_small_ones_is_not():
    for chunk, is_excessive in ((b"1\r\na\r\n", True), (b"10\r\n" + b"a" * 16 + b"\r\n", False)):
        size = RequestSize()
        size.feed(CHUNKED)
        for _ in range(10_000):
            size.feed(chunk)
        assert size.is_excessive is is_excessive
    size = RequestSize()
    size.feed(CHUNKED + b"1;" + b"a" * 20_000)
    assert size.is_excessive
