"""Warns in the log of certificates that are about to expire: at once, and then every day until they are replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

WARN_SECONDS = 30 * 86_400
REPEAT_SECONDS = 86_400
CHECK_SECONDS = 60.0

log = logging.getLogger(__name__)


class CertificateExpiry:
    """`expiries` gives, by file, when it expires; `wall` gives seconds since the Unix epoch, too."""

    def __init__(self, expiries: Callable[[], Mapping[str, float]], wall: Callable[[], float]) -> None:
        self._expiries = expiries
        self._wall = wall
        self._warned: dict[tuple[str, float], float] = {}

    def check(self) -> None:
        """To be called every `CHECK_SECONDS`."""
        now = self._wall()
        for path, expiry in self._expiries().items():
            due = self._warned.get((path, expiry), now - REPEAT_SECONDS) + REPEAT_SECONDS
            if expiry - now < WARN_SECONDS and now >= due:
                self._warned[path, expiry] = now
                _warn(path, expiry, now)


def _warn(path: str, expiry: float, now: float) -> None:
    fields = {"file": path, "expires": datetime.fromtimestamp(expiry, UTC).isoformat()}
    if expiry <= now:
        log.error("certificate has expired", extra={"fields": fields})
    else:
        days = int((expiry - now) // 86_400)
        log.warning("certificate expires soon", extra={"fields": {**fields, "days_left": days}})
