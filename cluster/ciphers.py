"""Cipher suites by the names that Go, and so etcd's `--cipher-suites`, has for them.

Only suites with forward secrecy and authenticated encryption are to be had. Those of TLS 1.3 are always on, as in Go:
naming them is allowed and changes nothing. Source: Go's crypto/tls/cipher_suites.go, RFC 7905, RFC 5289.
"""

from __future__ import annotations

from collections.abc import Sequence

_TLS_1_2 = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
}
_TLS_1_3 = frozenset(("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"))
_WEAK_PARTS = ("_RC4_", "_3DES_", "_CBC_", "TLS_RSA_")


def openssl_ciphers(names: Sequence[str]) -> str:
    """What OpenSSL calls these suites, in this order; all that we offer for no names. Raises ValueError."""
    chosen = [_TLS_1_2[name] for name in names if not _is_tls_1_3(name)]
    return ":".join(dict.fromkeys(chosen or _TLS_1_2.values()))


def _is_tls_1_3(name: str) -> bool:
    if name not in _TLS_1_2 and name not in _TLS_1_3:
        is_weak = name.startswith("TLS_") and any(part in name for part in _WEAK_PARTS)
        raise ValueError(f"{'insecure' if is_weak else 'unexpected'} TLS cipher suite {name[:100]!r}")
    return name in _TLS_1_3
