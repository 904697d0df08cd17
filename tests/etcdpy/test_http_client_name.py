"""Whom a client certificate names, learnt from TLS."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import cast

import uvloop

from cluster.tls import Tls, TlsConfig
from etcdpy.http.client_name import common_name_of
from etcdpy.pki import Kind, Period, issue, make_authority
from etcdpy.pki_files import PairFiles, write_pair


class SaysName(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        transport.write(repr(common_name_of(transport)).encode())
        transport.close()


async def names(directory: Path, verify_clients: bool, contexts: list[ssl.SSLContext]) -> list[str]:
    files = (str(directory / "peer-m.pem"), str(directory / "peer-m-key.pem"))
    tls = Tls(TlsConfig(*files, str(directory / "ca.pem"), verify_clients=verify_clients))
    server = await asyncio.get_running_loop().create_server(tls.guard(SaysName), "127.0.0.1", ssl=tls.listening)
    said = []
    for context in contexts:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=context)
        said.append((await reader.read()).decode())
        writer.transport.abort()
    server.close()
    return said


def test_the_common_name_of_a_verified_certificate(tmp_path: Path) -> None:
    period = Period.from_now(datetime.datetime.now(datetime.UTC), 1)
    authority = make_authority("ca", period)
    write_pair(PairFiles.of(tmp_path / "ca.pem"), authority)
    for kind, name in ((Kind.PEER, "m"), (Kind.CLIENT, "root"), (Kind.CLIENT, "ünï, CN=root")):
        pair = issue(authority, kind, name, ("127.0.0.1",), period)
        write_pair(PairFiles.of(tmp_path / f"{kind}-{name}.pem"), pair)

    def shows(name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        if name:
            context.load_cert_chain(tmp_path / f"client-{name}.pem", tmp_path / f"client-{name}-key.pem")
        return context

    users = ["root", "ünï, CN=root"]
    assert uvloop.run(names(tmp_path, True, [shows(user) for user in users])) == [repr(user) for user in users]
    assert uvloop.run(names(tmp_path, False, [shows("root"), shows(None)])) == ["None", "None"]


def test_a_plain_connection_names_nobody() -> None:
    assert common_name_of(None) is None
    assert common_name_of(asyncio.Transport()) is None
