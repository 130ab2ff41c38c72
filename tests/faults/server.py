"""A stub of Qdrant's HTTP interface that fails as it is told to, and keeps a ledger of what it stored."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INFO_CONFIG: dict[str, Any] = {
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "flush_interval_sec": 5,
    },
}


BUILT: dict[str, Any] = {"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0, "idle_segments": 1}


def cluster_of(*, key: str | None = None, peer: int = 7, **states: int) -> dict[str, Any]:
    """What a server says of a collection's shards: so many of each state, all on one peer."""
    named = {} if key is None else {"shard_key": key}
    shards = [
        {"shard_id": number, "points_count": 0, "state": state, **named}
        for number, state in enumerate(state for state, count in states.items() for _ in range(count))
    ]
    return {
        "peer_id": peer,
        "shard_count": len(shards),
        "local_shards": shards,
        "remote_shards": [],
        "shard_transfers": [],
    }


@dataclass(kw_only=True)
class Answer:
    """What one request is answered with.

    Attributes:
        stored: Whether it is done before it is answered.
        status, body, headers: The answer.
        cut: Bytes of the answer after which the connection is reset; ``None``: it is whole.
        trickles: Whether it comes byte after byte, for ever.
        twice: Whether it comes two times.
        late: Seconds that it is late.
    """

    stored: bool = False
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    trickles: bool = False
    twice: bool = False
    late: float = 0.0


OK = Answer(stored=True, body=b'{"result": {"operation_id": 1, "status": "completed"}, "status": "ok", "time": 0}')


def failing(status: int, error: str = "told to fail", **headers: str) -> Answer:
    """An answer that says that something is wrong."""
    body = json.dumps({"status": {"error": error}, "result": None, "time": 0}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, body=body, headers=named)


class FaultyServer:
    """One collection, whose writes and searches are answered as a script says, one answer a request, and then rightly.

    Attributes:
        port: Where it listens.
        ledger: Bodies of all points stored, by id, in the order of their coming.
        requests: How many writes and searches came.
        version: What the server calls itself.
        greeting, making: What requests for the version, and for a new collection, are answered with, before others.
        points: How many it says there are.
        strict_mode, indexed: Its limits, and payload keys with an index.
        bodies: Of all writes and searches.
        gate: What every write and search waits for before it is answered.
        stop, start: Stop listening, and begin again on the same port.
        restart: Both.
        read_only: Whether everything that changes something is forbidden, as to a read-only key.
        failure: What everything is answered with, if with anything.
        heads, texts: What came, headers with lower-case names, and path and body as they were.
        cluster: Its shards and their copies; ``None``: that is not for this client.
        waiting: How many points are still to be indexed.
    """

    def __init__(self) -> None:
        self.port = 0
        self.ledger: dict[str, list[Any]] = {}
        self.requests = 0
        self.script: list[Answer] = []
        self.judge: Callable[[dict[str, Any], int], Answer | None] = lambda body, size: None
        self.created: dict[str, Any] | None = None
        self.read_only = False
        self.version = "1.19.1"
        self.greeting: list[Answer] = []
        self.making: list[Answer] = []
        self.points = 0
        self.strict_mode: dict[str, Any] | None = None
        self.indexed: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.gate: Callable[[], Any] = lambda: None
        self.closing = Event()
        self.stop: Callable[[], None] = lambda: None
        self.start: Callable[[], None] = lambda: None
        self.restart: Callable[[], None] = lambda: None
        self.failure: Answer | None = None
        self.heads: list[dict[str, str]] = []
        self.texts: list[bytes] = []
        self.cluster: dict[str, Any] | None = cluster_of(Active=1)
        self.waiting = 0

    def answer(self, method: str, path: str, body: dict[str, Any], size: int) -> Answer:
        """What to say to a request."""
        if self.read_only and (method in ("PUT", "PATCH", "DELETE") or path.endswith(("/delete", "/vectors"))):
            return failing(403, "Forbidden: only read access")
        if path == "/":
            version = {"title": "qdrant", "version": self.version}
            return self.greeting.pop(0) if self.greeting else result_of(version, bare=True)
        if path.endswith("/exists"):
            return result_of({"exists": self.created is not None and "__fde" not in path})
        if path == "/collections/docs":
            return self._collection(method, body)
        if path == "/collections/docs/index":
            return self.judge(body, size) or OK
        return self._described(path) or self._points(method, path, body, size)

    def _described(self, path: str) -> Answer | None:
        if path == "/collections/docs/cluster":
            return failing(403, "Forbidden: no access") if self.cluster is None else result_of(self.cluster)
        if path == "/collections/docs/optimizations":
            return result_of({"summary": {**BUILT, "queued_points": self.waiting}, "running": []})
        return None

    def _points(self, method: str, path: str, body: dict[str, Any], size: int) -> Answer:
        self.requests += 1
        self.bodies.append(body)
        self.gate()
        answer = self.script.pop(0) if self.script else self.judge(body, size) or OK
        if method == "PUT" and answer.stored:
            for point in body["points"]:
                self.ledger.setdefault(point["id"], []).append(point)
        if answer is OK and path == "/collections/docs/points" and method == "POST":
            stored = [self.ledger[id][-1] for id in body["ids"] if id in self.ledger]
            return result_of([{"id": point["id"], "payload": point["payload"]} for point in stored])
        if answer is OK and path.endswith("/scroll"):
            return result_of({"points": [], "next_page_offset": None})
        if answer is OK and path.endswith(("/count", "/query/batch")):
            count = {"count": len(self.ledger)}
            return result_of(count if path.endswith("/count") else [{"points": []} for _ in body["searches"]])
        return answer

    def _collection(self, method: str, body: dict[str, Any]) -> Answer:
        if method == "DELETE":
            self.created = None
            return result_of(result=True)
        if method == "PUT":
            answer = self.making.pop(0) if self.making else result_of(result=True, stored=True)
            self.created = body if answer.stored else self.created
            return answer
        created = self.created or {}
        config = {
            **INFO_CONFIG,
            "params": {"vectors": created["vectors"], "sparse_vectors": created.get("sparse_vectors")},
            "metadata": created.get("metadata"),
            "strict_mode_config": self.strict_mode,
        }
        return result_of(
            {
                "status": "green",
                "optimizer_status": "ok",
                "segments_count": 1,
                "points_count": self.points,
                "config": config,
                "payload_schema": {key: {"data_type": "integer", "points": 0} for key in self.indexed},
            }
        )


Stub = TypeVar("Stub", bound=FaultyServer)


def result_of(result: Any, *, bare: bool = False, stored: bool = False) -> Answer:
    """An answer with a result, as servers wrap it."""
    body = result if bare else {"result": result, "status": "ok", "time": 0}
    return Answer(body=json.dumps(body).encode(), stored=stored)


class _Handler(BaseHTTPRequestHandler):
    faulty: FaultyServer

    def handle_any(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        raw = self.rfile.read(size)
        body = json.loads(raw or b"{}")
        self.faulty.heads.append({name.lower(): value for name, value in self.headers.items()})
        self.faulty.texts.append(self.path.encode() + b" " + raw)
        answer = self.faulty.failure or self.faulty.answer(self.command, self.path.partition("?")[0], body, size)
        self.close_connection = True
        self.faulty.closing.wait(answer.late)
        head = f"HTTP/1.1 {answer.status} Said\r\nContent-Length: {len(answer.body)}\r\nConnection: close\r\n"
        fields = {"Content-Type": "application/json", **answer.headers}
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        whole = head.encode() + b"\r\n" + answer.body
        if answer.trickles:
            self.wfile.write(head.encode())
            while not self.faulty.closing.wait(0.02):
                self.wfile.write(b"X: y\r\n")
            return
        self.wfile.write(whole if answer.cut is None else whole[: answer.cut])
        if answer.twice:
            self.wfile.write(whole)
        if answer.cut is not None:  # closed with a reset rather than an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the base class

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class _Listener(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that was reset is closed by this server's own doing."""


@contextmanager
def serving(
    faulty: Stub, *, certificate: Path | None = None, key: Path | None = None, clients: Path | None = None
) -> Iterator[Stub]:
    """Listen on a free port of this machine, with TLS if there is a certificate.

    Clients need a certificate of their own if there is an authority for ``clients``.
    """

    running: list[tuple[_Listener, Thread]] = []

    def start() -> None:
        server = _Listener(("127.0.0.1", faulty.port), type("Handler", (_Handler,), {"faulty": faulty}))
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if clients is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        faulty.port = server.server_address[1]
        running.append((server, thread))

    def stop() -> None:
        while running:
            server, thread = running.pop()
            server.shutdown()
            server.server_close()
            thread.join()

    def restart() -> None:
        stop()
        start()

    start()
    faulty.start, faulty.stop, faulty.restart = start, stop, restart
    try:
        yield faulty
    finally:
        faulty.closing.set()
        stop()
