"""`etcdpyctl pki`: what it makes is good for what it says, and nothing is lost by using it wrongly."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from etcdpy.cli.main import main
from etcdpy.pki import Kind, Period, PkiError, describe, issue, make_authority, renew, renew_authority, self_signed
from etcdpy.pki_files import PairFiles, read_certificate, read_pair, write_pair

NOW = datetime.datetime.now(datetime.UTC)
YEAR = Period.from_now(NOW, 365)


def pki(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["pki", *arguments, "--dir", str(directory)])


def done(directory: Path, *arguments: str) -> str:
    result = pki(directory, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.exists()}


# What certificates are good for, by OpenSSL's judgement.


def shake_hands(directory: Path, server: str, client: str | None, host: str = "127.0.0.1") -> str:
    """The common name that the server sees; raises ssl.SSLError if either refuses the other."""
    listen = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.pem"))
    listen.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    listen.load_cert_chain(directory / f"{server}.pem", directory / f"{server}-key.pem")
    dial = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    dial.verify_flags |= ssl.VERIFY_X509_STRICT
    if client:
        dial.load_cert_chain(directory / f"{client}.pem", directory / f"{client}-key.pem")
    ours, theirs = socket.socketpair()
    failures: list[ssl.SSLError] = []

    def serve() -> None:
        try:
            with listen.wrap_socket(theirs, server_side=True) as connection:
                subject = dict(pair for name in (connection.getpeercert() or {}).get("subject", ()) for pair in name)
                connection.sendall(subject.get("commonName", "").encode() or b"-")
        except ssl.SSLError as error:
            failures.append(error)
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with dial.wrap_socket(ours, server_hostname=host) as connection:
            said = connection.recv(100).decode()
    finally:
        ours.close()
        thread.join()
    for failure in failures:
        raise failure
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "pki"
    hosts = ("--host", "127.0.0.1", "--host", "::1", "--host", "infra1.example", "--host", "*.cluster.example")
    done(directory, "init")
    done(directory, "issue", "server", "infra1", *hosts)
    done(directory, "issue", "peer", "infra1", *hosts)
    done(directory, "issue", "client", "alice")
    return directory


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "infra1.example", "any.cluster.example"])
def test_a_server_certificate_serves_its_hosts(made: Path, host: str) -> None:
    assert shake_hands(made, "server-infra1", None, host) == "-"


@pytest.mark.parametrize("host", ["127.0.0.2", "infra2.example", "infra1", "a.b.cluster.example"])
def test_a_server_certificate_serves_no_other_host(made: Path, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(made, "server-infra1", None, host)


def test_a_client_certificate_tells_the_user(made: Path) -> None:
    assert shake_hands(made, "server-infra1", "client-alice") == "alice"


def test_a_peer_certificate_is_good_for_both_ends(made: Path) -> None:
    assert shake_hands(made, "peer-infra1", "peer-infra1") == "infra1"


@pytest.mark.parametrize(("server", "client"), [("client-alice", None), ("server-infra1", "server-infra1")])
def test_no_certificate_is_good_for_the_other_end(made: Path, server: str, client: str | None) -> None:
    with pytest.raises(ssl.SSLError):
        shake_hands(made, server, client)


def test_a_leaf_issues_nothing(made: Path) -> None:
    """Even to a verifier that would look at the leaf's key only."""
    leaf = read_certificate(made / "peer-infra1.pem")
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.value.ca, constraints.critical) == (False, True)
    assert (usage.value.key_cert_sign, usage.value.digital_signature, usage.critical) == (False, True, True)


# Files.


def test_everything_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        done(tmp_path / "pki", "init")
        done(tmp_path / "pki", "issue", "client", "alice")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "pki").iterdir()}
    assert modes == dict.fromkeys(("ca.pem", "ca-key.pem", "client-alice.pem", "client-alice-key.pem"), 0o600)
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


@pytest.mark.parametrize("arguments", [("init",), ("issue", "client", "alice")])
@pytest.mark.parametrize("left", ["both", "certificate", "key", "dangling link"])
def test_nothing_is_overwritten_without_force(tmp_path: Path, arguments: tuple[str, ...], left: str) -> None:
    done(tmp_path, "init")
    done(tmp_path, "issue", "client", "alice")
    pair = PairFiles.of(tmp_path / ("ca.pem" if arguments == ("init",) else "client-alice.pem"))
    if left == "dangling link":
        pair.certificate.unlink()
        pair.key.unlink()
        pair.key.symlink_to(tmp_path / "elsewhere")
    elif left != "both":
        (pair.key if left == "certificate" else pair.certificate).unlink()
    before = files(tmp_path)
    result = pki(tmp_path, *arguments)
    assert result.exit_code == 1
    assert "exists (--force replaces it)" in result.output
    assert files(tmp_path) == before
    done(tmp_path, *arguments, "--force")
    assert read_pair(pair).certificate.not_valid_after_utc > NOW


def test_force_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    done(tmp_path / "pki", "init")
    (tmp_path / "pki" / "client-alice-key.pem").symlink_to(victim)
    done(tmp_path / "pki", "issue", "client", "alice", "--force")
    assert victim.read_text() == "precious"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir(0o700)
    (tmp_path / "pki" / "ca.pem").mkdir()
    pair = PairFiles(tmp_path / "pki" / "x.pem", tmp_path / "pki" / "ca.pem")
    with pytest.raises(OSError, match=r"ca\.pem"):
        write_pair(pair, make_authority("x", YEAR), replace=True)
    assert [path.name for path in (tmp_path / "pki").iterdir()] == ["ca.pem"]


# Renewing and showing.


def test_renewing_changes_the_end_and_the_serial_number_only(tmp_path: Path) -> None:
    done(tmp_path, "init")
    done(tmp_path, "issue", "peer", "infra1", "--host", "10.0.0.1", "--host", "infra1.example", "--days", "10")
    before, key = read_certificate(tmp_path / "peer-infra1.pem"), (tmp_path / "peer-infra1-key.pem").read_bytes()
    assert "400 days left" in done(tmp_path, "renew", str(tmp_path / "peer-infra1.pem"), "--days", "400")
    after = read_certificate(tmp_path / "peer-infra1.pem")
    assert (tmp_path / "peer-infra1-key.pem").read_bytes() == key
    assert describe(after)._replace(period=YEAR, serial_number=0) == describe(before)._replace(
        period=YEAR, serial_number=0
    )
    assert after.public_key() == before.public_key()
    assert after.serial_number != before.serial_number
    assert {e.oid for e in after.extensions} == {e.oid for e in before.extensions}
    assert shake_hands(tmp_path, "peer-infra1", "peer-infra1", "10.0.0.1") == "infra1"


def test_renewing_takes_as_long_as_before(tmp_path: Path) -> None:
    done(tmp_path, "init")
    done(tmp_path, "issue", "client", "alice", "--days", "77")
    assert "77 days left" in done(tmp_path, "renew", str(tmp_path / "client-alice.pem"))


def test_a_renewed_authority_still_vouches_for_what_it_issued(tmp_path: Path) -> None:
    done(tmp_path, "init", "--days", "20")
    done(tmp_path, "issue", "peer", "infra1", "--host", "127.0.0.1")
    assert "20 days left" in done(tmp_path, "show", str(tmp_path / "peer-infra1.pem")), "it outlives its authority"
    assert "4000 days left" in done(tmp_path, "renew", str(tmp_path / "ca.pem"), "--days", "4000")
    assert shake_hands(tmp_path, "peer-infra1", "peer-infra1") == "infra1"


def test_show_tells_kind_hosts_and_end(made: Path) -> None:
    lines = done(made, "show").splitlines()
    assert [line.split(", expires")[0] for line in lines] == [
        f"{made}/ca.pem: ca 'etcdpy CA'",
        f"{made}/client-alice.pem: client 'alice'",
        f"{made}/peer-infra1.pem: peer 'infra1' for infra1.example, *.cluster.example, 127.0.0.1, ::1",
        f"{made}/server-infra1.pem: server 'infra1' for infra1.example, *.cluster.example, 127.0.0.1, ::1",
    ]
    assert all("days left)" in line for line in lines)


@pytest.mark.parametrize(("days", "word"), [(-400, "EXPIRED"), (3, "(3 days left)")])
def test_show_tells_an_expired_certificate(tmp_path: Path, days: int, word: str) -> None:
    period = Period(NOW - datetime.timedelta(days=800), NOW + datetime.timedelta(days=days))
    write_pair(PairFiles.of(tmp_path / "ca.pem"), make_authority("old", period))
    assert word in done(tmp_path, "show")


# Errors are one line that names what is wrong.


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("issue", "server", "infra1"), 2, "a server certificate needs --host"),
        (("issue", "peer", "infra1"), 2, "a peer certificate needs --host"),
        (("issue", "king", "arthur"), 2, "'king' is not one of"),
        (("issue", "client"), 2, "Missing argument 'NAME...'"),
        (("issue", "client", "a/b"), 1, "a/b"),
        (("issue", "client", ".."), 1, ".."),
        (("issue", "client", "x" * 65), 1, "1 to 64 printable characters"),
        (("issue", "client", ""), 1, "1 to 64 printable characters"),
        (("issue", "client", "a\nb"), 1, "1 to 64 printable characters"),
        (("issue", "client", "ca-key"), 1, "ca-key"),
        (("issue", "server", "x", "--host", "300.1.1.1"), 1, "not an address or host name: '300.1.1.1'"),
        (("issue", "server", "x", "--host", "https://infra1"), 1, "not an address or host name"),
        (("issue", "server", "x", "--host", "infra1:2379"), 1, "not an address or host name"),
        (("issue", "server", "x", "--host", "bücher.example"), 1, "not an address or host name"),
        (("issue", "client", "x", "--days", "0"), 2, "'--days'"),
        (("renew", "none.pem"), 1, "cannot read none.pem: No such file or directory"),
        (("show", "none.pem"), 1, "cannot read none.pem: No such file or directory"),
    ],
)
def test_what_can_not_be_meant(made: Path, arguments: tuple[str, ...], code: int, reason: str) -> None:
    before = files(made)
    result = pki(made, *arguments)
    assert result.exit_code == code
    assert reason in result.output.splitlines()[-1]
    assert "Traceback" not in result.output
    assert files(made) == before


def test_without_an_authority_nothing_is_issued(tmp_path: Path) -> None:
    for arguments in (("issue", "client", "alice"), ("renew", "x.pem")):
        result = pki(tmp_path, *arguments)
        assert result.exit_code == 1
        assert "ca.pem" in result.output
    assert pki(tmp_path, "show").exit_code == 1


def test_another_authoritys_certificate_is_not_renewed(made: Path, tmp_path: Path) -> None:
    done(tmp_path, "init")
    done(tmp_path, "issue", "client", "alice")
    before = files(tmp_path)
    result = pki(made, "renew", str(tmp_path / "client-alice.pem"))
    assert result.exit_code == 1
    assert "not issued by this authority" in result.output
    assert files(tmp_path) == before


def test_an_expired_authority_says_so() -> None:
    past = Period(NOW - datetime.timedelta(days=20), NOW - datetime.timedelta(days=10))
    authority = make_authority("old", past)
    with pytest.raises(PkiError, match="expired"):
        issue(authority, Kind.CLIENT, "alice", (), YEAR)
    renewed = authority._replace(certificate=renew_authority(authority, YEAR))
    assert describe(issue(renewed, Kind.CLIENT, "alice", (), YEAR).certificate).period.end == YEAR.end.replace(
        microsecond=0
    )


def test_keys_that_do_not_belong_are_noticed(tmp_path: Path) -> None:
    one, two = (PairFiles.of(tmp_path / f"{name}.pem") for name in ("one", "two"))
    for pair in (one, two):
        write_pair(pair, make_authority("x", YEAR))
    two.key.write_bytes(one.key.read_bytes())
    with pytest.raises(PkiError, match="does not belong"):
        read_pair(two)
    two.key.write_bytes(b"garbage")
    with pytest.raises(PkiError, match="no private key"):
        read_pair(two)


def test_a_self_signed_certificate_describes_itself() -> None:
    pair = self_signed("etcdpy", ("127.0.0.1", "localhost"), YEAR)
    assert describe(pair.certificate)[:4] == (Kind.PEER, "etcdpy", ("localhost", "127.0.0.1"), "etcdpy")
    pair.certificate.verify_directly_issued_by(pair.certificate)


def test_renew_refuses_a_forged_issuer_name() -> None:
    ours, theirs = make_authority("same name", YEAR), make_authority("same name", YEAR)
    forged = issue(theirs, Kind.CLIENT, "root", (), YEAR)
    with pytest.raises(PkiError, match="not issued"):
        renew(ours, forged.certificate, YEAR)
