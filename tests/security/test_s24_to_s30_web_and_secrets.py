"""S24-S30: web pages, logs, secrets, files, URLs, and what errors tell. (S23 is about TLS.)"""

from __future__ import annotations

import base64
import json
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from member_process import Member, answers_in, authorization, body_of, request, running, status_of

EVIL = "Origin: http://evil.example\r\n"
FORM_TYPES = ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"]


@pytest.mark.parametrize("content_type", FORM_TYPES)
@pytest.mark.parametrize("site", [EVIL, "Origin: null\r\n", f"{EVIL}Sec-Fetch-Site: cross-site\r\n"])
def test_s24_a_form_of_another_site_writes_nothing(member: Member, content_type: str, site: str) -> None:
    headers = f"{site}Content-Type: {content_type}\r\n"
    assert member.ask("POST", "/v2/keys/csrf", "value=x", headers)[0] == 403
    assert member.ask("POST", "/v2/members", '{"peerURLs":["http://127.0.0.1:1"]}', headers)[0] == 403
    assert member.ask("GET", "/v2/keys/csrf")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_s24_a_browser_that_says_the_page_is_another_sites_is_believed(member: Member, method: str) -> None:
    for headers in ("Sec-Fetch-Site: cross-site\r\n", f"{EVIL}Sec-Fetch-Site: same-site\r\n"):
        assert member.ask(method, "/v2/keys/csrf", "value=x", headers)[0] == 403
    assert member.ask("GET", "/v2/keys/csrf")[0] == 404


def test_s24_pages_of_this_very_origin_and_clients_may_write(member: Member) -> None:
    own = "Origin: http://127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n"
    for headers in (own, "", "Sec-Fetch-Site: none\r\n"):
        assert member.ask("POST", "/v2/keys/own", "value=x", headers)[0] == 201
    assert member.ask("DELETE", "/v2/keys/own?recursive=true", headers=own)[0] == 200


def test_s24_a_list_of_origins_counts_for_all_that_writes_and_no_answer_allows_credentials() -> None:
    with running("--cors=http://good.example") as member:
        for method in ("PUT", "POST", "DELETE"):
            assert member.ask(method, "/v2/keys/a?recursive=true", "value=x", EVIL)[0] == 403
        assert member.ask("PUT", "/v2/keys/a", "value=x", "Origin: http://good.example\r\n")[0] == 201
        for headers in ("", EVIL, "Origin: http://good.example\r\n"):
            answer = member.raw(request("GET", "/v2/keys/a", headers=headers, connection="close"))
            assert (b"Access-Control-Allow-Origin" in answer) is ("good" in headers)
            assert b"Allow-Credentials" not in answer


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:2379",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "a.b",
    "evil.example.",
]
OWN_HOSTS = [
    "127.0.0.1",
    "127.0.0.1:2379",
    "localhost",
    "localhost:2379",
    "[::1]:2379",
    "etcd",
    "x.localhost",
    "10.0.0.1",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_s25_a_name_that_dns_may_have_been_rebound_to_is_refused_on_loopback(member: Member, host: str) -> None:
    for method in ("GET", "PUT"):
        data = f"{method} /v2/keys/rebound HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode()
        answer = member.raw(data)
        assert status_of(answer) == 403
        assert host.encode() not in body_of(answer)
    assert member.ask("GET", "/v2/keys/rebound")[0] == 404


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_s25_addresses_and_local_names_are_not(member: Member, host: str) -> None:
    data = f"GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert status_of(member.raw(data)) == 200


def test_s25_a_list_of_hosts_lets_in_what_it_names_and_nothing_else() -> None:
    with running("--host-whitelist=good.example,127.0.0.1") as member:
        for host, expected in (("good.example:99", 200), ("GOOD.example", 200), ("127.0.0.1", 200), ("localhost", 403)):
            data = f"GET /v2/keys/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            assert status_of(member.raw(data)) == expected, host


SECRETS = ["hunter2-hunter2", "correct-horse", "wrong-battery"]


@pytest.fixture(scope="module")
def used() -> Iterator[Member]:
    """A member that has seen passwords in all places where they belong, and in some where they don't."""
    with running("--log-level=debug") as member:
        member.json("PUT", "/v2/auth/users/root", {"user": "root", "password": SECRETS[0]})
        member.json("PUT", "/v2/auth/users/alice", {"user": "alice", "password": SECRETS[1]}, "")
        member.json("PUT", "/v2/auth/enable")
        for user in (
            f"root:{SECRETS[0]}",
            f"alice:{SECRETS[1]}",
            f"alice:{SECRETS[2]}",
            f"{SECRETS[2]}\r\nX: y\x1b[31m:x",
        ):
            member.ask("GET", "/v2/keys/", user=user)
            member.ask("PUT", "/v2/keys/a", "value=x", user=user)
        member.ask(
            "PUT", "/v2/auth/users/bob", f'{{"user":"eve","password":"{SECRETS[2]}"}}', user=f"root:{SECRETS[0]}"
        )
        member.ask("PUT", "/v2/auth/users/bob", f'{{"password":"{SECRETS[2]}', user=f"root:{SECRETS[0]}")
        yield member


def test_s26_nothing_that_a_client_sends_forges_a_line_of_the_log(used: Member) -> None:
    nasty = "\x1b[31mred\x07"
    for target in ("/v2/keys/%0d%0a2026-11-24T00:00:00Z%20error%20forged", "/nothing%0aforged"):
        used.ask("GET", target, headers=f"User-Agent: {nasty}\r\nX-Forwarded-For: a{nasty}\r\n")
    used.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[31m\0forged\r\n\r\n")
    assert "\x1b" not in used.log
    assert not any(line.startswith(("forged", "X:")) or " error forged" in line for line in used.log.splitlines())


def test_s27_no_password_and_no_header_is_in_logs_files_or_answers(used: Member) -> None:
    places = {str(path): path.read_bytes() for path in used.directory.rglob("*") if path.is_file()}
    for target in ("/debug/vars", "/metrics", "/v2/auth/users", "/v2/auth/users/root", "/v2/stats/self", "/v2/keys/"):
        places[target] = used.ask("GET", target + "?recursive=true", user=f"root:{SECRETS[0]}")[1]
    logins = [f"root:{SECRETS[0]}", f"alice:{SECRETS[1]}", f"alice:{SECRETS[2]}"]
    needles = [secret.encode() for secret in SECRETS] + [base64.b64encode(login.encode()) for login in logins]
    found = [(place, needle) for place, content in places.items() for needle in needles if needle in content]
    assert not found
    hashed = [place for place, content in places.items() if b"$2b$" in content]
    assert all("/member/" in place for place in hashed), hashed
    assert hashed, "the hash is in the replicated log, or this test looks in the wrong place"


def test_s27_a_crash_leaves_no_core_with_secrets_in_it() -> None:
    before = _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        with running() as member:
            assert resource.prlimit(member.process.pid, resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def test_s28_a_directory_that_was_open_to_others_and_a_link_to_it(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.mkdir()
    os.chmod(elsewhere, 0o777)
    link.symlink_to(elsewhere)
    with running(f"--data-dir={link}") as member:
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
        assert f"directory {link} is a link to {elsewhere}" in member.log
        assert f"directory {link} was open to others (mode 777)" in member.log


def test_s28_files_are_for_their_owner_only_whatever_the_umask_was(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with running() as member:
            member.json("PUT", "/v2/keys/a?value=x")
            for path in (member.directory / "data").rglob("*"):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            assert stat.S_IMODE((member.directory / "data").stat().st_mode) == 0o700
    finally:
        os.umask(old)


BAD_URLS = [
    "file:///etc/passwd", "gopher://127.0.0.1:70", "ftp://127.0.0.1:21", "http://127.0.0.1:80/admin?x=y", "http://",
    "http://127.0.0.1", "javascript:alert(1)", "http://user:pass@127.0.0.1:80", "//127.0.0.1:80",
    "http://127.0.0.1:80\r\nX: y",
    "http://127.0.0.1:0", "http://127.0.0.1:99999", "http://a b:80", "unix:///run/x:1",
    "http://127.0.0.1:80#f", "http://127.0.0.1:80?q",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_s29_only_a_plain_address_of_a_peer_can_be_a_members_url(member: Member, url: str) -> None:
    body = json.dumps({"peerURLs": [url]})
    status, answer = member.ask("POST", "/v2/members", body, "Content-Type: application/json\r\n")
    assert status == 400, answer
    (own,) = member.json("GET", "/v2/members")["members"]
    status, answer = member.ask("PUT", f"/v2/members/{own['id']}", body, "Content-Type: application/json\r\n")
    assert status == 400, answer
    assert member.json("GET", "/v2/members")["members"] == [own]


def test_s29_no_answer_sends_a_client_to_another_host(member: Member) -> None:
    for target in ("//evil.example/x", "/v2/keys//evil.example", "/\\evil.example/..", "/v2/keys/../../evil.example"):
        answer = member.raw(request("GET", target, connection="close"))
        location = next((line[10:] for line in answer.split(b"\r\n") if line.startswith(b"Location: ")), b"/")
        assert location.startswith(b"/")
        assert not location.startswith((b"//", b"/\\"))


def test_s30_errors_show_no_insides_and_little_of_what_was_sent(member: Member) -> None:
    long = "z" * 5000
    shown = [
        member.ask("PUT", f"/v2/keys/a?ttl={long}")[1],
        member.ask("GET", f"/v2/keys/a?recursive={long}")[1],
        member.ask("PUT", "/v2/keys/a", "x=%zz" + long)[1],
        member.ask("PUT", "/v2/auth/users/u", long)[1],
        member.ask("PUT", "/config/local/log", json.dumps({"Level": long}))[1],
        member.ask("POST", "/v2/members", json.dumps({"peerURLs": [long]}), "Content-Type: application/json\r\n")[1],
        member.ask("POST", "/v2/members", "{}", f"Content-Type: {long}\r\n")[1],
        member.ask("DELETE", f"/v2/members/{long}")[1],
        member.ask("GET", f"/nothing/{long}")[1],
    ]
    for body in shown:
        assert b"z" * 101 not in body, body[:200]
        assert not any(
            inside in body for inside in (b"Traceback", b'File "', b".py", b"/home", b"/usr", b"site-packages")
        )


def test_s30_a_second_request_never_hides_behind_an_error(member: Member) -> None:
    data = request("PUT", "/v2/keys/a?ttl=x") + request("GET", "/v2/keys/none", headers=authorization("a:b"))
    assert answers_in(member.raw(data)) == 2
