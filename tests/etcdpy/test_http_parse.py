"""What a request means. The refusals were all asked of etcd 3.4.23."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpy.commands import CompareAndDelete, CompareAndSwap, Create, Delete, Get, Set, Update, Watch
from etcdpy.errors import EtcdError
from etcdpy.http.parse import KEYS_METHODS, MAX_TTL_SECONDS, KeysRequest, has_form_body, parse_keys

FORM = "application/x-www-form-urlencoded"
SECOND = 1_000_000_000


def parse(method: str, target: str, body: str = "", content_type: str | None = FORM, quirks: bool = False):
    path, _, query = f"/v2/keys{target}".partition("?")
    return parse_keys(method, path, query, content_type, body.encode("utf-8", "surrogateescape"), quirks=quirks)


def refusal(method: str, target: str, body: str = "", content_type: str | None = FORM) -> tuple[int, str, int]:
    with pytest.raises(EtcdError) as caught:
        parse(method, target, body, content_type)
    return caught.value.code, caught.value.cause, caught.value.index


OPERATIONS = [
    ("GET", "/a", "", Get("/a", False, False, False)),
    ("GET", "", "", Get("/", False, False, False)),
    ("GET", "/", "", Get("/", False, False, False)),
    ("GET", "/a/", "", Get("/a", False, False, False)),
    ("GET", "/a?recursive=true&sorted=1&quorum=T", "", Get("/a", True, True, True)),
    ("GET", "/a?recursive=f&sorted=0&quorum=False", "", Get("/a", False, False, False)),
    ("GET", "/a?wait=true", "", Watch("/a", False, False, 0)),
    ("GET", "/a?wait=true&recursive=t&stream=TRUE&waitIndex=7", "", Watch("/a", True, True, 7)),
    ("GET", "/a?wait=true&quorum=true", "", Get("/a", False, False, True)),
    ("GET", "/a?waitIndex=7", "", Get("/a", False, False, False)),
    ("GET", "/a?unknown=x&Recursive=yes", "", Get("/a", False, False, False)),
    ("HEAD", "/a?quorum=true&recursive=true", "", Get("/a", True, False, False)),
    ("PUT", "/a", "value=1", Set("/a", "1", False, None, False)),
    ("PUT", "/a", "", Set("/a", "", False, None, False)),
    ("PUT", "/a?value=q", "value=b", Set("/a", "b", False, None, False)),
    ("PUT", "/a", "value=a&value=b", Set("/a", "a", False, None, False)),
    ("PUT", "/a?value=q", "ttl=5", Set("/a", "q", False, 5 * SECOND, False)),
    ("PUT", "/a", "VALUE=x", Set("/a", "", False, None, False)),
    ("PUT", "/a", "value=a+b%20c%2B", Set("/a", "a b c+", False, None, False)),
    ("PUT", "/a", "value=%ff%C3%A9", Set("/a", "\udcffé", False, None, False)),
    ("PUT", "/a", "value=é\udcff", Set("/a", "é\udcff", False, None, False)),
    ("PUT", "/a", "a&b&value", Set("/a", "", False, None, False)),
    ("PUT", "/a", "=x&&value=y&", Set("/a", "y", False, None, False)),
    ("PUT", "/a", "val%75e=y", Set("/a", "y", False, None, False)),
    ("PUT", "/a", "value=1&ttl=", Set("/a", "1", False, None, False)),
    ("PUT", "/a", "value=1&ttl=0", Set("/a", "1", False, 0, False)),
    ("PUT", "/a", "value=1&ttl=007", Set("/a", "1", False, 7 * SECOND, False)),
    ("PUT", "/a", "dir=true&value=1", Set("/a", "1", True, None, False)),
    ("PUT", "/a", "refresh=true&ttl=5", Set("/a", "", False, 5 * SECOND, True)),
    ("PUT", "/a", "refresh=true&ttl=5&value=", Set("/a", "", False, 5 * SECOND, True)),
    ("PUT", "/a", "refresh=f&value=x", Set("/a", "x", False, None, False)),
    ("PUT", "/a", "prevExist=false&value=1&prevValue=2&prevIndex=3", Create("/a", "1", False, False, None)),
    ("PUT", "/a", "prevExist=true&value=1", Update("/a", "1", None, False)),
    ("PUT", "/a", "prevExist=true&value=1&prevIndex=0", Update("/a", "1", None, False)),
    ("PUT", "/a", "prevExist=true&value=1&prevIndex=3", CompareAndSwap("/a", "", 3, "1", None, False)),
    ("PUT", "/a", "value=1&prevValue=0&ttl=9", CompareAndSwap("/a", "0", 0, "1", 9 * SECOND, False)),
    ("PUT", "/a", "value=1&prevIndex=0", Set("/a", "1", False, None, False)),
    ("PUT", "/a", "value=1&prevIndex=000000000000000000000000018", CompareAndSwap("/a", "", 18, "1", None, False)),
    ("PUT", "/a", "prevIndex=18446744073709551615", CompareAndSwap("/a", "", (1 << 64) - 1, "", None, False)),
    ("POST", "/a", "value=1&prevExist=true&prevValue=x", Create("/a", "1", False, True, None)),
    ("POST", "/", "dir=true&ttl=1", Create("/", "", True, True, SECOND)),
    ("DELETE", "/a", "", Delete("/a", False, False)),
    ("DELETE", "/a?dir=true&recursive=true", "", Delete("/a", True, True)),
    ("DELETE", "/a", "prevValue=wrong&recursive=true", Delete("/a", False, False)),
    ("DELETE", "/a?prevIndex=3&prevValue=x", "", CompareAndDelete("/a", "x", 3)),
    ("DELETE", "/a?prevIndex=0", "", Delete("/a", False, False)),
]


@pytest.mark.parametrize(("method", "target", "body", "operation"), OPERATIONS)
def test_operation(method, target, body, operation):
    assert parse(method, target, body)[:2] == (operation, False)


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json", "multipart/form-data", "a"])
def test_a_body_that_is_no_form_is_ignored(content_type):
    assert parse("PUT", "/a?ttl=5", "value=1", content_type).operation == Set("/a", "", False, 5 * SECOND, False)


def test_no_value_on_success():
    assert parse("PUT", "/a", "noValueOnSuccess=true").no_value_on_success


BAD_POST = [
    ("%zz", r'invalid URL escape "%zz"'),
    ("value=%", r'invalid URL escape "%"'),
    ("value=%4", r'invalid URL escape "%4"'),
    ("value=%u1234", r'invalid URL escape "%u1"'),
    ("value=1&%zz&%yy", r'invalid URL escape "%zz"'),
    ("%yy=%zz", r'invalid URL escape "%yy"'),
    ("%4+x=1", r'invalid URL escape "%4+"'),
    ("%4éx=1", r'invalid URL escape "%4\xc3"'),
    ("%\xadx=1", r'invalid URL escape "%\u00ad"'),
    ('%"<=1', r'invalid URL escape "%\"<"'),
    ("%\udcff\udcfe=1", r'invalid URL escape "%\xff\xfe"'),
    ("a;b", "invalid semicolon separator in query"),
    (";", "invalid semicolon separator in query"),
    ("%zz=%yy;", "invalid semicolon separator in query"),
    ("value=1&x;y=%zz", "invalid semicolon separator in query"),
]


@pytest.mark.parametrize(("form", "cause"), BAD_POST)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_malformed_forms(method, form, cause):
    assert refusal(method, "/a", form) == (210, cause, 0)
    assert refusal(method, f"/a?{form}") == (210, cause, 0)


def test_a_bad_body_comes_before_a_bad_query():
    assert refusal("PUT", "/a?%zz", "%yy")[1] == 'invalid URL escape "%yy"'
    assert refusal("PUT", "/a?a;b", "%yy")[1] == 'invalid URL escape "%yy"'


def test_bodies_of_get_and_delete_are_not_looked_at():
    for method in ("GET", "DELETE", "HEAD"):
        parse(method, "/a", "%zz;", FORM + "; charset")


CONTENT_TYPES = [
    ("; charset", "mime: invalid media parameter"),
    ("; ;", "mime: invalid media parameter"),
    ("; charset=", "mime: invalid media parameter"),
    ('; charset="a', "mime: invalid media parameter"),
    ('; a="b\\', "mime: invalid media parameter"),
    ('; a="b\\"', "mime: invalid media parameter"),
    ("; charset=ü", "mime: invalid media parameter"),
    ("; a b", "mime: invalid media parameter"),
    ("; a=b c", "mime: invalid media parameter"),
    ("; a=b; a=c", "mime: duplicate parameter name"),
    ("; a=b; A=b", "mime: duplicate parameter name"),
    (" x", "mime: unexpected content after media subtype"),
    (", text/plain", "mime: unexpected content after media subtype"),
]
OTHER_CONTENT_TYPES = [
    ("/", "mime: no media type"),
    (";", "mime: no media type"),
    ("; a=b", "mime: no media type"),
    ("a b", "mime: expected slash after first token"),
    ("x@y/z", "mime: expected slash after first token"),
    ("a//b", "mime: expected token after slash"),
    ("application/", "mime: expected token after slash"),
    ("text/;", "mime: expected token after slash"),
    ("a/b/c", "mime: unexpected content after media subtype"),
    ("text/plain; charset", "mime: invalid media parameter"),
    ("a/b; c", "mime: invalid media parameter"),
    ("a/b;=x", "mime: invalid media parameter"),
]


@pytest.mark.parametrize(("content_type", "cause"), [(FORM + end, cause) for end, cause in CONTENT_TYPES])
def test_malformed_form_types(content_type, cause):
    assert refusal("PUT", "/a", "value=v", content_type) == (210, cause, 0)


@pytest.mark.parametrize(("content_type", "cause"), OTHER_CONTENT_TYPES)
def test_malformed_content_types(content_type, cause):
    assert refusal("POST", "/a", "value=v", content_type) == (210, cause, 0)
    with pytest.raises(EtcdError):
        has_form_body("POST", content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        *(FORM + end for end in ("; charset=utf-8", ";", "; a=b;", '; charset="a" ', '; a="b\\"c"', '; a="b\\c"')),
        *(FORM + end for end in ("; a*=utf-8''x", "; a*0=x; a*1=y", " ; a = b")),
        " APPLICATION/x-www-FORM-urlencoded ",
    ],
)
def test_form_types(content_type):
    assert has_form_body("PUT", content_type)
    assert parse("PUT", "/a", "value=v", content_type).operation == Set("/a", "v", False, None, False)


QUOTED = 'invalid value for "{}"'
BARE = "invalid value for {}"
BAD_FIELDS = [
    *((209, f"{name}={text}", QUOTED.format(name)) for name in ("recursive", "sorted", "dir", "quorum", "stream")
      for text in ("", "yes", "TRUe", "2", "true ", "on")),
    (209, "recursive", QUOTED.format("recursive")),
    (209, "wait=1x", QUOTED.format("wait")),
    (209, "noValueOnSuccess=x", QUOTED.format("noValueOnSuccess")),
    (209, "prevExist=x", BARE.format("prevExist")),
    (209, "prevExist", BARE.format("prevExist")),
    (209, "refresh=", BARE.format("refresh")),
    *((203, f"{name}={text}", QUOTED.format(name)) for name in ("prevIndex", "waitIndex")
      for text in ("", "-1", "%2B5", "1.0", "1e3", "0x10", "1_0", "%205", "٣", "18446744073709551616", "9" * 400)),
    *((202, f"ttl={text}", QUOTED.format("ttl")) for text in ("5.5", "-1", "%2B5", "+5", "1e3", "5_0", "x", "1" * 21)),
    (201, "prevValue=", '"prevValue" cannot be empty'),
    (201, "prevValue", '"prevValue" cannot be empty'),
    (212, "refresh=true", "No TTL value set"),
    (212, "refresh=true&ttl=", "No TTL value set"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "form", "cause"), BAD_FIELDS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "POST"])
def test_bad_fields(method, code, form, cause):
    assert refusal(method, f"/a?{form}") == (code, cause, 0)


def test_refresh_with_a_value():
    assert refusal("PUT", "/a", "refresh=true&value=x&ttl=1") == (211, "A value was provided on a refresh", 0)
    assert refusal("PUT", "/a", "refresh=true&value=x")[0] == 211


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "HEAD"])
def test_wait_is_for_get(method):
    cause = '"wait" can only be used with GET requests'
    assert refusal(method, "/a?wait=true&quorum=true") == (209, cause, 0)
    parse(method, "/a?wait=false")


CHECK_ORDER = [
    "prevIndex=x",
    "waitIndex=x",
    "recursive=x",
    "sorted=x",
    "wait=x",
    "dir=x",
    "quorum=x",
    "stream=x",
    "prevValue=",
    "noValueOnSuccess=x",
    "ttl=x",
    "prevExist=x",
    "refresh=x",
]


@pytest.mark.parametrize("at", range(len(CHECK_ORDER)))
def test_the_first_mistake_in_etcds_order_is_told(at):
    mistakes = "&".join(reversed(CHECK_ORDER[at:]))
    name = CHECK_ORDER[at].partition("=")[0]
    assert name in refusal("GET", f"/a?{mistakes}")[1]


def test_wait_for_the_wrong_method_stands_between_stream_and_prev_value():
    assert "stream" in refusal("PUT", "/a?wait=true&stream=x")[1]
    assert "GET" in refusal("PUT", "/a?wait=true&prevValue=")[1]


def test_ttl_limit():
    assert parse("PUT", "/a", f"ttl={MAX_TTL_SECONDS}").operation.ttl_ns == MAX_TTL_SECONDS * SECOND
    assert refusal("PUT", "/a", f"ttl={MAX_TTL_SECONDS + 1}")[0] == 202
    assert refusal("POST", "/a", "ttl=18446744073709551615")[0] == 202
    parse("GET", "/a?ttl=18446744073709551615")


def test_ttl_wraps_around_with_quirks():
    """Go: time.Duration(ttl) * time.Second in 64 bits."""
    assert parse("PUT", "/a", "ttl=10000000000", quirks=True).operation.ttl_ns == 10_000_000_000 * SECOND - (1 << 64)
    assert parse("PUT", "/a", "ttl=18446744173", quirks=True).operation.ttl_ns == 18_446_744_173 * SECOND - (1 << 64)
    assert parse("PUT", "/a", "ttl=5", quirks=True).operation.ttl_ns == 5 * SECOND


TEXT = st.text(st.characters(codec="latin-1"), max_size=40)
NAMES = st.sampled_from(["value", "ttl", "dir", "prevIndex", "prevExist", "refresh", "wait", "prevValue", "x"])
PAIRS = st.builds("{}={}".format, NAMES, st.sampled_from(["", "1", "true", "-1", "%zz", "%41", "x;y", "é"]) | TEXT)
FORMS = st.lists(PAIRS, max_size=5).map("&".join) | TEXT


@given(
    st.sampled_from(KEYS_METHODS),
    TEXT.map(lambda text: "/v2/keys/" + text),
    FORMS,
    st.none() | st.sampled_from([FORM, FORM + "; charset=x", "text/plain"]) | TEXT,
    st.binary(max_size=60) | FORMS.map(str.encode),
)
def test_anything_is_an_operation_or_an_etcd_error(method, path, query, content_type, body):
    outcome = parsed_or_refused(method, path, query, content_type, body)
    if isinstance(outcome, EtcdError):
        assert outcome.code in (201, 202, 203, 209, 210, 211, 212)
        assert outcome.index == 0
        assert outcome.cause
    else:
        assert outcome.operation.path.startswith("/")
        assert outcome.operation.path == "/" or not outcome.operation.path.endswith("/")


def parsed_or_refused(*request) -> KeysRequest | EtcdError:
    try:
        return parse_keys(*request)
    except EtcdError as error:
        return error
