"""python-etcd and etcdctl with users, roles and passwords."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import etcd
import etcd.auth
import pytest

from .servers import Server, etcdpy

ETCDCTL = shutil.which("etcdctl")


@pytest.fixture
def server() -> Iterator[Server]:
    with etcdpy("--bcrypt-cost=4") as started:
        yield started


def connect(server: Server, user: str | None = None, password: str | None = None) -> etcd.Client:
    return etcd.Client(host=server.address[0], port=server.address[1], username=user, password=password)


def test_python_etcd(server: Server) -> None:
    client = connect(server)
    root = etcd.auth.EtcdUser(client, "root")
    root.password = "rp"
    root.write()
    role = etcd.auth.EtcdRole(client, "app")
    role.grant("/app/*", "RW")
    role.write()
    alice = etcd.auth.EtcdUser(client, "alice")
    alice.password = "pa"
    alice.write()
    alice.roles = ["app"]
    alice.write()
    auth = etcd.auth.Auth(client)
    auth.active = True

    as_root, as_alice = connect(server, "root", "rp"), connect(server, "alice", "pa")
    guest = etcd.auth.EtcdRole(as_root, "guest")
    guest.read()
    guest.revoke("/*", "RW")
    guest.write()
    assert as_alice.write("/app/k", "v").value == "v"
    assert as_alice.read("/app/k").value == "v"
    for denied in (connect(server), connect(server, "alice", "wrong"), connect(server, "nobody", "x")):
        with pytest.raises(etcd.EtcdInsufficientPermissions):
            denied.read("/app/k")
    with pytest.raises(etcd.EtcdInsufficientPermissions):
        as_alice.write("/other", "v")
    auth = etcd.auth.Auth(as_root)
    assert auth.active
    auth.active = False
    for name in ("app", "guest"):
        etcd.auth.EtcdRole(as_root, name).delete()
    for name in ("alice", "root"):
        etcd.auth.EtcdUser(as_root, name).delete()
    for each in (client, as_root, as_alice):
        each.http.clear()


@pytest.mark.skipif(ETCDCTL is None, reason="no `etcdctl` on PATH (apt-get install etcd-client)")
def test_etcdctl(server: Server) -> None:
    def etcdctl(*arguments: str, user: str = "", stdin: str = "") -> tuple[int, str]:
        command = [str(ETCDCTL), "--endpoints", server.url, *(["--username", user] if user else []), *arguments]
        environment = {**os.environ, "ETCDCTL_API": "2"}
        done = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert etcdctl("user", "add", "root:rp") == (0, "User root created\n")
    assert etcdctl("auth", "enable") == (0, "Authentication Enabled\n")
    root = "root:rp"
    assert etcdctl("role", "add", "app", user=root) == (0, "Role app created\n")
    assert etcdctl("role", "grant", "app", "--path", "/app/*", "--readwrite", user=root)[0] == 0
    assert etcdctl("user", "add", "alice:pa", user=root)[0] == 0
    assert etcdctl("user", "grant", "alice", "--roles", "app", user=root)[0] == 0
    assert etcdctl("user", "list", user=root) == (0, "alice\nroot\n")
    assert "/app/*" in etcdctl("role", "get", "app", user=root)[1]
    assert etcdctl("role", "revoke", "guest", "--path", "/*", "--readwrite", user=root)[0] == 0
    assert etcdctl("set", "/app/k", "v", user="alice:pa") == (0, "v\n")
    assert etcdctl("set", "/k", "v", user="alice:pa")[0] == 4
    assert "110" in etcdctl("get", "/app/k")[1]
    assert etcdctl("user", "passwd", "alice", user=root, stdin="new\n")[0] == 0
    assert etcdctl("get", "/app/k", user="alice:pa")[0] == 4
    assert etcdctl("auth", "disable", user=root) == (0, "Authentication Disabled\n")
    for kind, name in (("user", "alice"), ("user", "root"), ("role", "app"), ("role", "guest")):
        assert etcdctl(kind, "remove", name)[0] == 0
