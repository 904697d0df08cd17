"""When an expiring certificate is warned of, and what else an operator is told of TLS."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from etcdpy.certificate_expiry import CertificateExpiry
from etcdpy.config import Config, parse
from etcdpy.flags import ConfigError
from etcdpy.tls import make_tls, warnings
from etcdpy.url import Url

DAY = 86_400.0


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def test_each_file_is_warned_of_once_a_day_from_thirty_days_before(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    expiries = {"near.pem": clock.now + 31 * DAY, "far.pem": clock.now + 300 * DAY}
    expiry = CertificateExpiry(lambda: expiries, clock)
    for _ in range(4 * 24):  # four days, each hour
        expiry.check()
        clock.now += 3600
    said = [(record.message, record.fields["file"], record.fields["days_left"]) for record in caplog.records]
    assert said == [("certificate expires soon", "near.pem", days) for days in (29, 28, 27)]


def test_an_expired_certificate_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    CertificateExpiry(lambda: {"old.pem": Clock.now - 1}, Clock()).check()
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "certificate has expired")
    ]


def test_a_renewed_certificate_is_no_longer_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    expiries = {"a.pem": clock.now + DAY}
    expiry = CertificateExpiry(lambda: expiries, clock)
    expiry.check()
    expiries["a.pem"] = clock.now + 300 * DAY
    clock.now += 2 * DAY
    expiry.check()
    assert len(caplog.records) == 1
    expiries["a.pem"] = clock.now + 2 * DAY
    expiry.check()
    assert len(caplog.records) == 2, "another certificate is warned of at once"


PLAIN = Config(listen_client_urls=(Url("http", "127.0.0.1", 2379),), listen_peer_urls=(Url("http", "::1", 2380),))


def test_loopback_needs_no_warning() -> None:
    assert warnings(PLAIN) == []
    assert warnings(dataclasses.replace(PLAIN, listen_client_urls=(Url("http", "localhost", 2379),))) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "2001:db8::1", ""])
@pytest.mark.parametrize(("kind", "field"), [("client", "listen_client_urls"), ("peer", "listen_peer_urls")])
def test_a_plain_listener_that_others_can_reach_is_warned_of(host: str, kind: str, field: str) -> None:
    open_to_all, closed = Url("http", host, 2381), Url("https", host, 2382)
    config = dataclasses.replace(PLAIN, **{field: (open_to_all, closed)})
    assert [warning.split(" and can")[0] for warning in warnings(config)] == [
        f"{kind} url {open_to_all} is NOT ENCRYPTED"
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"peer_auto_tls": True}, "does not check who the other members are"),
        ({"peer_cert_file": "c", "peer_key_file": "k"}, "without --peer-trusted-ca-file"),
        ({"auto_tls": True, "cert_file": "c", "key_file": "k"}, "--auto-tls is ignored"),
    ],
)
def test_settings_that_promise_less_than_they_seem_to(settings: dict[str, object], reason: str) -> None:
    found = warnings(dataclasses.replace(PLAIN, **settings))
    assert len(found) == 1
    assert reason in found[0]


HTTPS = ("--listen-client-urls", "https://127.0.0.1:2379", "--advertise-client-urls", "https://127.0.0.1:2379")


def test_a_file_that_can_not_be_used_ends_the_start(tmp_path: Path) -> None:
    config = parse([*HTTPS, "--cert-file", str(tmp_path / "none.pem"), "--key-file", "key.pem"], {})
    with pytest.raises(ConfigError, match=r"TLS for clients: .*none\.pem.*No such file"):
        make_tls(config, str(tmp_path))


def test_a_weak_cipher_suite_ends_the_start(tmp_path: Path) -> None:
    config = parse([*HTTPS, "--auto-tls", "--cipher-suites", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"], {})
    with pytest.raises(ConfigError, match="insecure TLS cipher suite"):
        make_tls(config, str(tmp_path))


def test_without_certificates_there_is_no_tls(tmp_path: Path) -> None:
    tls = make_tls(PLAIN, str(tmp_path))
    assert (tls.clients, tls.peers, tls.expiries()) == (None, None, {})
    assert list(tmp_path.iterdir()) == []
