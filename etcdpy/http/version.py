"""The version whose behaviour this is; clients choose theirs by it."""

from __future__ import annotations

ETCD_VERSION = "3.4.23"
CLUSTER_VERSION = "3.4.0"
