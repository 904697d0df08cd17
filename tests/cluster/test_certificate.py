"""Names in certificates, and Go's names of cipher suites."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.certificate import common_name, names_host, names_one_of
from cluster.ciphers import openssl_ciphers

CERTIFICATE = {
    "subject": ((("commonName", "first"),), (("organizationName", "o"), ("commonName", "10.1.1.1"))),
    "subjectAltName": (
        ("DNS", "Infra1.example"),
        ("DNS", "*.cluster.example"),
        ("DNS", "*"),
        ("DNS", "*.com"),
        ("DNS", "in*a.example"),
        ("DNS", "10.0.0.7"),
        ("IP Address", "10.0.0.1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
        ("URI", "spiffe://infra9.example"),
    ),
}


@pytest.mark.parametrize(
    "host",
    ["infra1.example", "INFRA1.EXAMPLE", "infra1.example.", "a.cluster.example", "10.0.0.1", "2001:db8::1"],
)
def test_hosts_that_a_certificate_names(host: str) -> None:
    assert names_host(CERTIFICATE, host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "example",
        "infra2.example",
        "x.infra1.example",
        "a.b.cluster.example",
        ".cluster.example",
        "cluster.example",
        "evil.com",
        "localhost",
        "infra.example",
        "10.0.0.7",  # an address as a DNS name is none
        "10.1.1.1",  # nor is one in the common name
        "first",
        "10.0.0.10",
        "2001:db8::2",
        "infra9.example",
    ],
)
def test_hosts_that_it_does_not_name(host: str) -> None:
    assert not names_host(CERTIFICATE, host)


def test_one_of_a_members_urls_is_enough() -> None:
    assert names_one_of(CERTIFICATE, ["https://10.9.9.9:2380", "https://[2001:db8::1]:2380"])
    assert not names_one_of(CERTIFICATE, ["https://10.9.9.9:2380", "https://[2001:db8::2]:2380"])
    assert not names_one_of(CERTIFICATE, [])
    assert not names_one_of({}, ["https://10.0.0.1:2380"])


@pytest.mark.parametrize(
    ("certificate", "name"), [(CERTIFICATE, "10.1.1.1"), ({}, ""), ({"subject": ((("organizationName", "o"),),)}, "")]
)
def test_the_last_common_name_counts_as_in_go(certificate: dict[str, Any], name: str) -> None:
    assert common_name(certificate) == name


def test_suites_are_chosen_by_gos_names() -> None:
    assert openssl_ciphers(
        ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
    ) == ("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")


def test_all_good_suites_are_on_when_none_of_tls_1_2_is_named() -> None:
    assert len(openssl_ciphers([]).split(":")) == 6
    assert openssl_ciphers(["TLS_AES_256_GCM_SHA384"]) == openssl_ciphers([])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("TLS_RSA_WITH_RC4_128_SHA", "insecure"),
        ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "insecure"),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", "insecure"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "insecure"),
        ("tls_ecdhe_rsa_with_aes_256_gcm_sha384", "unexpected"),
        ("ALL", "unexpected"),
        ("", "unexpected"),
    ],
)
def test_other_suites_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason} TLS cipher suite"):
        openssl_ciphers(["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", name])
