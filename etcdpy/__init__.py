"""etcdpy: a Raft-backed, directory-style key-value store that speaks etcd's v2 API."""

__version__ = "0.1.0"
