"""No request waits for an acknowledgement, and none for a new connection."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import AsyncColbertCollection, Document, connect, connect_async
from colbert_qdrant.engines.transport import bound
from tests.encoders import WordEncoder
from tests.processes import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.server import FaultyServer

BODY = b'{"result": {"collections": []}, "status": "ok", "time": 0}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
DELAY = 0.04
"""Seconds that an acknowledgement is late by default: on a server that waits for it every request takes longer."""


class HesitantServer:
    """Keeps connections open, and sends head and body one by one, the second when the first is acknowledged.

    Attributes:
        port: Where it listens.
        connections: How many came.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.connections = 0
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, self._encrypted(connection) as own, own.makefile("rb") as received:
            while received.readline():
                while received.readline().strip():
                    pass
                own.sendall(HEAD)
                own.sendall(BODY)

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        return connection if self._context is None else self._context.wrap_socket(connection, server_side=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    made, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*make, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    return made, key


@contextmanager
def serving(certificate: tuple[Path, Path] | None) -> Iterator[tuple[HesitantServer, str, dict[str, Any]]]:
    """A server, its URL, and what a client needs to trust it."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with closing(HesitantServer(context)) as server:
        url = f"{'http' if context is None else 'https'}://127.0.0.1:{server.port}"
        yield server, url, {} if certificate is None else {"ca_file": certificate[0]}


linux = pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="acknowledgements cannot be hurried here")
encrypted = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@linux
@encrypted
def test_requests_wait_for_nothing(certificate: tuple[Path, Path], tls: bool) -> None:
    with serving(certificate if tls else None) as (server, url, trust), closing(connect(url, **trust)) as client:
        assert quickest(client) < DELAY / 2
        assert server.connections == 1


@linux
@encrypted
def test_requests_that_are_awaited_wait_for_nothing(certificate: tuple[Path, Path], tls: bool) -> None:
    async def run(url: str, trust: dict[str, Any]) -> float:
        client = connect_async(url, **trust)
        took = await quickest_awaited(client)
        await client.close()
        return took

    with serving(certificate if tls else None) as (server, url, trust):
        assert asyncio.run(run(url, trust)) < DELAY / 2
        assert server.connections == 1


@linux
def test_nor_do_those_of_a_client_that_opens_a_connection_each_time(certificate: tuple[Path, Path]) -> None:
    with serving(certificate) as (server, url, trust):
        client = bound(QdrantClient(url=url, verify=ssl_context(trust), check_compatibility=False))
        with closing(client):
            assert quickest(client) < DELAY / 2
            assert server.connections == REQUESTS


@encrypted
def test_sockets_send_at_once_and_notice_a_lost_server(certificate: tuple[Path, Path], tls: bool) -> None:
    with serving(certificate if tls else None) as (_, url, trust), closing(connect(url, **trust)) as client:
        client.get_collections()
        for option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            assert socket_of(client).getsockopt(*option) != 0


def test_a_forked_process_has_connections_of_its_own() -> None:
    with serving(None) as (server, url, _):
        done = run_script(FORK, url)
        assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr
        assert server.connections == 2


FORK = """
import os, sys
from colbert_qdrant import connect
client = connect(sys.argv[1])
client.get_collections()
if (child := os.fork()) == 0:
    client.get_collections()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.get_collections()
print("the same")
"""

REQUESTS = 8


@pytest.mark.parametrize("work", ["searches", "writes"])
def test_the_event_loop_goes_on_with_other_tasks(server: FaultyServer, work: str) -> None:
    """What the loop's own thread computes between two turns of another task, however busy this machine is."""
    turns: list[float] = []
    longest: list[float] = []

    async def take_turns() -> None:
        while True:
            started = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - started)

    async def run() -> None:
        client = connect_async(f"http://127.0.0.1:{server.port}")
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(dim=128))
        await docs.search("river")
        others = asyncio.create_task(take_turns())
        for _ in range(3):  # the garbage collector may come in between
            turns.clear()
            if work == "searches":
                await docs.search_batch(["river bridge " * 16] * 40)
                await asyncio.gather(*(docs.search("river bridge " * 16) for _ in range(20)))
            else:
                await docs.upsert([Document(number, "river bridge " * 60) for number in range(64)])
            longest.append(max(turns))
        others.cancel()
        await client.close()

    asyncio.run(run())
    assert min(longest) < 0.015


def quickest(client: QdrantClient) -> float:
    """Seconds of the quickest of some requests, but for the first."""
    took = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        client.get_collections()
        took.append(time.perf_counter() - started)
    return min(took[1:])


async def quickest_awaited(client: AsyncQdrantClient) -> float:
    took = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        await client.get_collections()
        took.append(time.perf_counter() - started)
    return min(took[1:])


def ssl_context(trust: dict[str, Any]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=trust["ca_file"])


def socket_of(client: Any) -> socket.socket:
    """The socket of the only connection of a client."""
    pool = client._client.openapi_client.client._client._transport._pool
    found: socket.socket = pool.connections[0]._connection._network_stream.get_extra_info("socket")
    return found
