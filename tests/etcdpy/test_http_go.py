"""Go's ways: paths, forms, JSON, quoting, URLs. Expected texts come from etcd 3.4.23 built with Go 1.19."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpy.http import go_json
from etcdpy.http.go_json import JsonError
from etcdpy.http.go_path import BadEscape, BadTarget, Target, clean_path, escape_path, parse_target, unescape
from etcdpy.http.go_quote import quote as go_quote
from etcdpy.http.go_url import UrlError, parse_member_urls
from etcdpy.http.json_string import quote
from etcdpy.http.members import parse_peer_urls

TARGETS = [
    ("/v2/keys/a?b=c?d", Target("/v2/keys/a", "b=c?d")),
    ("/a?", Target("/a", "")),
    ("/a%2Fb%20c+d", Target("/a/b c+d", "")),
    ("/a%252Fb", Target("/a%2Fb", "")),
    ("/a#b?c", Target("/a#b", "c")),
    ("/%00%ff", Target("/\0\udcff", "")),
    ("/é\udcff", Target("/é\udcff", "")),
    ("/a?%zz", Target("/a", "%zz")),
    ("*", Target("*", "")),
    ("http://foo/v2/keys//x?y", Target("/v2/keys//x", "y")),
    ("http://foo", Target("", "")),
    ("http://foo?x=1", Target("", "x=1")),
    ("a:b", Target("", "")),
    ("a:/b", Target("/b", "")),
    ("//a/b", Target("//a/b", "")),
]


@pytest.mark.parametrize(("raw", "target"), TARGETS)
def test_targets(raw, target):
    assert parse_target(raw) == target


@pytest.mark.parametrize("raw", ["", "v2/keys", "/%", "/%zz", "/a%4", "/a\x01b", "/a\x7f", "1:b", "-", "?x"])
def test_bad_targets(raw):
    with pytest.raises(BadTarget):
        parse_target(raw)


CLEAN = [
    ("", "/"),
    ("/", "/"),
    ("//", "/"),
    ("/a//b", "/a/b"),
    ("/a/./b", "/a/b"),
    ("/a/../b", "/b"),
    ("/../../a", "/a"),
    ("/a/..", "/"),
    ("/a/../", "/"),
    ("/a/.", "/a"),
    ("/a/./", "/a/"),
    ("/a/", "/a/"),
    ("/a//", "/a/"),
    ("/a/.b/...", "/a/.b/..."),
    ("/.", "/"),
    ("/%2e%2e/a", "/%2e%2e/a"),
]


@pytest.mark.parametrize(("path", "clean"), CLEAN)
def test_clean_path(path, clean):
    assert clean_path(path) == clean


@given(st.lists(st.sampled_from(["", ".", "..", "a", ".b", "c.", "%41", "é", "\n"]), max_size=8))
def test_clean_paths_are_clean_and_stay_so(parts):
    clean = clean_path("/" + "/".join(parts))
    assert clean_path(clean) == clean
    components = clean[1:].split("/")
    assert not {".", ".."} & set(components)
    assert "" not in components[:-1]


def test_escape_path():
    assert escape_path("/!*()[]$&+,:;=@~|^`{}\\/a") == "/%21%2A%28%29%5B%5D$&+,:;=@~%7C%5E%60%7B%7D%5C/a"
    assert escape_path("/\"<&'>é?\udcff") == "/%22%3C&%27%3E%C3%A9%3F%FF"


@given(st.binary())
def test_escaping_is_undone_by_unescaping(raw):
    text = raw.decode("utf-8", "surrogateescape")
    assert unescape(escape_path(text)) == text


def test_a_bad_escape_names_three_bytes():
    with pytest.raises(BadEscape) as caught:
        unescape("a%41%zé")
    assert caught.value.text == "%z\udcc3"


def test_quote():
    assert go_quote('a"\\\a\b\f\n\r\t\v\x01\x7f') == r'"a\"\\\a\b\f\n\r\t\v\x01\x7f"'
    assert go_quote("é\xad\u200b\ue000\U000e0001\udcff😀 ") == '"é' + r"\u00ad\u200b\ue000\U000e0001\xff" + '😀 "'


# JSON out


def test_string_escapes():
    text = '<>&"\\\x08\x0c\x01\x7f\t\n\r\u2028\u2029\U0001f600é/'
    assert quote(text) == ('"' + r"\u003c\u003e\u0026\"\\\u0008\u000c\u0001" + "\x7f" + r"\t\n\r\u2028\u2029" + '😀é/"')


def test_each_byte_that_is_not_utf_8_becomes_a_replacement_character():
    text = b"\xed\xa0\x80x\xc0\x80y\xf5\x80\x80\x80z\xe2\x82\xef\xbf\xbd".decode("utf-8", "surrogateescape")
    assert quote(text) == '"' + r"\ufffd\ufffd\ufffdx\ufffd\ufffdy\ufffd\ufffd\ufffd\ufffdz\ufffd\ufffd" + '�"'


@given(st.binary())
def test_strings_are_json(raw):
    text = raw.decode("utf-8", "surrogateescape")
    expected = "".join("�" if "\ud800" <= char <= "\udfff" else char for char in text)
    assert json.loads(quote(text)) == expected


def test_every_character_that_go_escapes_is_escaped_and_no_other():
    escaped = {*map(chr, (*range(0x20), *b'"\\<>&', 0x2028, 0x2029, *range(0xD800, 0xE000)))}
    for code in range(0x110000):
        char = chr(code)
        assert (quote(f"a{char}") != f'"a{char}"') is (char in escaped), hex(code)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(VALUES)
def test_dumps_is_json(value):
    assert json.loads(go_json.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.5, "0.5"), (1e-6, "0.000001"), (1e-7, "1e-07"), (1e20, "100000000000000000000"), (0.0, "0")],
)
def test_floats(value, text):
    assert go_json.dumps(value) == text


# JSON in

SYNTAX = [
    ("", "unexpected end of JSON input"),
    ("{", "unexpected end of JSON input"),
    ('{"a"', "unexpected end of JSON input"),
    ('"abc', "unexpected end of JSON input"),
    ("not", "invalid character 'o' in literal null (expecting 'u')"),
    ("nulL", "invalid character 'L' in literal null (expecting 'l')"),
    ('{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
    ("tru", "invalid character ' ' in literal true (expecting 'e')"),
    ('{"a":01}', "invalid character '1' after object key:value pair"),
    ('{"a":.5}', "invalid character '.' looking for beginning of value"),
    ('{"a":"\x01"}', r"invalid character '\x01' in string literal"),
    ('{"a":\n"\n"}', r"invalid character '\n' in string literal"),
    (r'{"a":"\q"}', "invalid character 'q' in string escape code"),
    (r'{"a":"\u12G"}', r"invalid character 'G' in \u hexadecimal character escape"),
    ("[1,]", "invalid character ']' looking for beginning of value"),
    ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    ("{,}", "invalid character ',' looking for beginning of object key string"),
    ('{"a" 1}', "invalid character '1' after object key"),
    ("[1 2]", "invalid character '2' after array element"),
    ("-", "invalid character ' ' in numeric literal"),
    ("-x", "invalid character 'x' in numeric literal"),
    ("1.x", "invalid character 'x' after decimal point in numeric literal"),
    ("1ex", "invalid character 'x' in exponent of numeric literal"),
    ('{"a":1}}', "invalid character '}' after top-level value"),
    ("1 x", "invalid character 'x' after top-level value"),
    ("'", r"invalid character '\'' looking for beginning of value"),
    ("é", "invalid character 'Ã' looking for beginning of value"),
    ("[" * 10_001, "exceeded max depth"),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX)
def test_syntax_errors(text, message):
    with pytest.raises(JsonError) as caught:
        go_json.loads(text.encode())
    assert str(caught.value) == message


def plain(value):
    if isinstance(value, go_json.Number):
        return int(value)
    if isinstance(value, go_json.Object):
        return {name: plain(item) for name, item in value.pairs}
    return [plain(item) for item in value] if isinstance(value, list) else value


@given(VALUES, st.booleans())
def test_loads_reads_what_json_writes(value, ascii_only):
    assert plain(go_json.loads(json.dumps(value, ensure_ascii=ascii_only, indent=1).encode())) == value


@given(st.binary() | st.text(st.sampled_from('[]{}",:\\u0dn1e.- ')).map(str.encode))
def test_any_bytes_are_json_or_refused(data):
    with contextlib.suppress(JsonError):
        go_json.loads(data)


def test_depth_is_no_recursion():
    assert go_json.loads(b"[" * 10_000 + b"]" * 10_000)


@pytest.mark.parametrize(
    ("raw", "text"), [(b'"\\ud83d\\ude00"', "😀"), (b'"\\ud800x"', "�x"), (b'"\xff"', "�"), (b'"\\/\\b"', "/\b")]
)
def test_strings_in(raw, text):
    assert go_json.loads(raw) == text


def test_what_follows_is_ignored_if_asked():
    assert go_json.loads(b'"a" x', only=False) == "a"


def test_fields_match_in_any_case():
    value = go_json.loads(b'{"A":1,"b":2,"a":3}')
    assert isinstance(value, go_json.Object)
    assert value.field("a") == ["1", "3"]


# Members

GO_TYPE = r'struct { PeerURLs []string "json:\"peerURLs\"" }'
PEER_URLS = [
    ("[]", f"json: cannot unmarshal array into Go value of type {GO_TYPE}"),
    ('"x"', f"json: cannot unmarshal string into Go value of type {GO_TYPE}"),
    ("1", f"json: cannot unmarshal number into Go value of type {GO_TYPE}"),
    ("true", f"json: cannot unmarshal bool into Go value of type {GO_TYPE}"),
    ('{"peerURLs":"x"}', "json: cannot unmarshal string into Go struct field .peerURLs of type []string"),
    ('{"peerURLs":{"a":1}}', "json: cannot unmarshal object into Go struct field .peerURLs of type []string"),
    ('{"peerURLs":true}', "json: cannot unmarshal bool into Go struct field .peerURLs of type []string"),
    ('{"peerURLs":1.5}', "json: cannot unmarshal number into Go struct field .peerURLs of type []string"),
    ('{"peerURLs":[1]}', "json: cannot unmarshal number into Go struct field .peerURLs of type string"),
    ('{"peerURLs":[[]]}', "json: cannot unmarshal array into Go struct field .peerURLs of type string"),
]


@pytest.mark.parametrize(("text", "message"), PEER_URLS)
def test_peer_urls_of_the_wrong_type(text, message):
    with pytest.raises(JsonError) as caught:
        parse_peer_urls(text.encode())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "urls"),
    [("null", []), ("{}", []), ('{"PEERURLS":["x"]}', ["x"]), ('{"peerURLs":[null]}', [""]), ('{"peerURLs":null}', [])],
)
def test_peer_urls(text, urls):
    assert parse_peer_urls(text.encode()) == urls


NO_PORT = 'URL address does not have the form "host:port": '
BAD_SCHEME = "URL scheme must be http, https, unix, or unixs: "
URLS = [
    ("x", BAD_SCHEME + "x"),
    ("", BAD_SCHEME),
    ("ftp://1.2.3.4:1", BAD_SCHEME + "ftp://1.2.3.4:1"),
    ("http://1.2.3.4", NO_PORT + "http://1.2.3.4"),
    ("HTTP://1.2.3.4", NO_PORT + "HTTP://1.2.3.4"),
    ("unix://x", NO_PORT + "unix://x"),
    ("http://1:2:3", NO_PORT + "http://1:2:3"),
    ("http:1.2.3.4:1", NO_PORT + "http:1.2.3.4:1"),
    ("http://1.2.3.4:1/x", "URL must not contain a path: http://1.2.3.4:1/x"),
    ("http://%zz:1", r'parse "http://%zz:1": invalid URL escape "%zz"'),
    ("http://x:1/%zz", r'parse "http://x:1/%zz": invalid URL escape "%zz"'),
    (" http://1.2.3.4:x", r'parse "http://1.2.3.4:x": invalid port ":x" after host'),
    ("http://a b:1", r'parse "http://a b:1": invalid character " " in host name'),
    ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
    ("1.2.3.4:1", 'parse "1.2.3.4:1": first path segment in URL cannot contain colon'),
    ("://", 'parse "://": missing protocol scheme'),
    ("%", r'parse "%": invalid URL escape "%"'),
    ("a\tb", r'parse "a\tb": net/url: invalid control character in URL'),
]


@pytest.mark.parametrize(("url", "message"), URLS)
def test_bad_member_urls(url, message):
    with pytest.raises(UrlError) as caught:
        parse_member_urls([url])
    assert str(caught.value) == message


def test_no_member_urls():
    with pytest.raises(UrlError, match="no valid URLs given"):
        parse_member_urls([])


@pytest.mark.parametrize("url", ["http://1.2.3.4:1", "https://[::1]:2", "http://:1"])
def test_member_urls(url):
    assert parse_member_urls(["  " + url, "http://0:1"]) == ["http://0:1", url]


@pytest.mark.parametrize(
    "url", ["http://u:p@1.2.3.4:1", "http://a:1?q", "http://a:1#f", "http://a:0", "http://a:65536", "http://a:"]
)
def test_member_urls_that_etcd_takes_and_nobody_should_ask(url):
    with pytest.raises(UrlError, match="URL must"):
        parse_member_urls([url])


@given(st.text(st.sampled_from("htp:/[]@%4z.1 ?#é\t")))
def test_any_text_is_a_member_url_or_refused(text):
    with contextlib.suppress(UrlError):
        assert parse_member_urls(["http://" + text]) == [("http://" + text).strip()]
