"""However many clients connect, the log still gets its files."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from etcdpy.descriptors import RESERVED, raise_limit, sparing


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_becomes_what_it_may_be():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    raise_limit()


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(b"hello")


def test_clients_beyond_what_can_be_spared_are_turned_away_and_the_rest_is_free():
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(sparing(Greeting), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        served, descriptors, clients = 0, [], []
        async with asyncio.timeout(20):
            while True:  # a client costs this process two descriptors: its own and the server's
                client = socket.socket()
                clients.append(client)
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", port))
                try:
                    answer = await loop.sock_recv(client, 5)
                except ConnectionResetError:
                    break
                if not answer:
                    break
                served += 1
        assert served > 50
        for _ in range(RESERVED - 8):
            descriptors.append(os.open(os.devnull, os.O_RDONLY))
        for descriptor in descriptors:
            os.close(descriptor)
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
    asyncio.run(scenario())
