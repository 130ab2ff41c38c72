"""Writing points, measured up to the engine: bytes of a request, and milliseconds on this side and on the other.

    python tests/benchmarks/writes.py [--rounds 15]

Documents have token vectors of 128 dimensions, an encoding of 5,120 and 400 bytes of payload, both vectors stored as
float16. They go from NumPy arrays to the acknowledgement of a server on this machine. It parses them (REST: simdjson,
gRPC: protobuf) into float32 arrays, without an object for each number, counts the numbers, and does nothing else. All
ways send the same, alternately. "Serialise" is the time before the socket. Bytes are those of the request's body. Raw
are the numbers alone as float32, and 8 bytes for each term of a sparse vector. All clients are made by ``connect``;
"auto" finds the gRPC port on its own. The last line compares calls that followed each other. No number here tells how
fast Qdrant stores documents.
"""

from __future__ import annotations

import argparse
import json
import socketserver
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import simdjson
from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http.api.points_api import jsonable_encoder

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import CollectionConfig, MuveraConfig, connect
from colbert_qdrant.collection.upsert import upsert
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.json_points import points_to_json
from colbert_qdrant.engines.messages import upsert_request
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.points.convert import make_point
from colbert_qdrant.points.point import Point, to_struct
from colbert_qdrant.vectors import SparseVector
from tests.benchmarks.common import machine, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection as Pipe

    from numpy.typing import NDArray
    from qdrant_client import QdrantClient

DOCUMENTS, DIM, TERMS = 64, 128, 100
CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=5, dim_proj=16, r_reps=10))
FDE_DIM = CONFIG.encoding.dim
COLLECTION = "docs"
PEER = 8_267_502_459_367_465


def main() -> None:
    """Print a line for each way, without and with a sparse vector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    server, (http_port, grpc_port) = started(serve)
    url = f"http://127.0.0.1:{http_port}"
    rest, over_grpc = (connect(url, grpc_port=grpc_port, prefer_grpc=each) for each in (False, True))
    auto = connect(url, grpc_port=grpc_port)

    print(f"{machine()}; {DOCUMENTS} documents, encodings of {FDE_DIM:,}; best and median of {rounds} rounds")
    for tokens, terms in ((60, 0), (60, TERMS), (150, 0)):
        points = make_points(tokens=tokens, terms=terms)
        ways: dict[str, tuple[Callable[[], bytes], Callable[[], object]]] = {
            "gRPC": (partial(as_message_of_arrays, points), partial(upsert_once, over_grpc, points)),
            "REST": (partial(as_json, points), partial(upsert_once, rest, points)),
            "auto": (partial(as_message_of_arrays, points), partial(upsert_once, auto, points)),
            "REST by the client": (partial(as_client_json, points), partial(upsert_lists, rest, points)),
            "gRPC by the client": (partial(as_message, points), partial(upsert_lists, over_grpc, points)),
        }
        raw = 4 * (tokens * DIM + FDE_DIM) + 8 * terms
        print(f"\n{tokens} × {DIM}, {terms} terms of a sparse vector: {raw:,} raw bytes")
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, (serialise, send) in ways.items():
                times = timed(serialise), timed(send)
                if number:  # the first one warms up
                    taken[name].append(times)
        for name, (serialise, _) in ways.items():
            size = len(serialise()) / DOCUMENTS
            building, whole = ([1e3 * each for each in times] for times in zip(*taken[name], strict=True))
            print(
                f"  {name:<18} {size:9,.0f} bytes/document, {size / raw:5.3f} × raw   "
                f"serialise {min(building):6.1f} / {median(building):6.1f} ms   "
                f"round trip {min(whole):6.1f} / {median(whole):6.1f} ms, "
                f"{DOCUMENTS / min(whole) * 1e3:6,.0f} documents/s"
            )
        rest_ms, grpc_ms = ([whole for _, whole in taken[name]] for name in ("REST", "gRPC"))
        pairs = median(binary / text for text, binary in zip(rest_ms, grpc_ms, strict=True))
        print(
            f"  REST has {min(grpc_ms) / min(rest_ms):.2f} of gRPC's rate in the best rounds, "
            f"{median(grpc_ms) / median(rest_ms):.2f} in the medians, {pairs:.2f} in the median round"
        )
    for client in (rest, over_grpc, auto):
        client.close()
    server.terminate()


def make_points(*, tokens: int, terms: int) -> list[Point]:
    """Random points; ``terms`` is how many entries a sparse vector has, 0 for none."""
    random = np.random.default_rng(0)
    points = []
    for number in range(DOCUMENTS):
        further: dict[str, Any] = {}
        if terms:
            indices = np.sort(random.integers(0, 2**32, terms, np.uint32))
            further["bm25"] = SparseVector(indices=indices, values=random.random(terms, np.float32))
        payload = {
            "numbers": tokens * DIM + FDE_DIM + terms,
            "text": "some words of it " * 20,
            "tags": ["a", "b"],
            "nested": {"page": number},
        }
        points.append(
            make_point(
                number,
                payload,
                tokens=random.standard_normal((tokens, DIM), np.float32) / np.float32(DIM**0.5),
                fde=random.standard_normal(FDE_DIM, np.float32),
                further=further,
                config=CONFIG,
            )
        )
    return points


def as_client_json(points: list[Point]) -> bytes:
    """Serialize points as the client does over REST."""
    body: str = jsonable_encoder(models.PointsList(points=[to_struct(point) for point in points]))
    return body.encode()


def as_json(points: list[Point]) -> bytes:
    """Serialize points as this library does."""
    return points_to_json(points, models.PointsList(points=[]))


def as_message(points: list[Point]) -> bytes:
    """Serialize points as the client does over gRPC."""
    converted = [RestToGrpc.convert_point_struct(to_struct(point)) for point in points]
    request = messages.UpsertPoints(collection_name=COLLECTION, wait=True, points=converted)
    serialised: bytes = request.SerializeToString()
    return serialised


def as_message_of_arrays(points: list[Point]) -> bytes:
    """Serialize points as this library does."""
    serialised: bytes = upsert_request(COLLECTION, points).SerializeToString()
    return serialised


def upsert_once(client: QdrantClient, points: list[Point]) -> None:
    """Send points as this library does."""
    run_blocking(upsert(blocking_engine(client), COLLECTION, points))


def upsert_lists(client: QdrantClient, points: list[Point]) -> None:
    """Send points as the client's own ``upsert`` does."""
    client.upsert(COLLECTION, [to_struct(point) for point in points], wait=True)


def timed(function: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def parse(parser: simdjson.Parser, body: bytes) -> None:
    """Make arrays of all numbers in a body; afterwards, nothing refers to the parser, so it can be used again."""
    request: Any = parser.parse(body)
    for point in request["points"]:
        vectors = point["vector"]
        read = [parsed(vectors[name]) for name in vectors.keys()]  # noqa: SIM118 - it has no iterator
        assert sum(each.size for each in read) == point["payload"]["numbers"]


def parsed(vector: Any) -> NDArray[np.float32]:
    """Return the numbers of a vector, a multivector or a sparse vector that simdjson has parsed."""
    numbers: Any = vector["values"] if isinstance(vector, simdjson.Object) else vector
    return np.frombuffer(numbers.as_buffer(of_type="d")).astype(np.float32)


def unpacked(vector: Any) -> NDArray[np.float32]:
    """Return the numbers of a message, from their bytes."""
    rows = vector.multi_dense.vectors or [vector.dense if vector.HasField("dense") else vector.sparse]
    return np.concatenate([np.frombuffer(packed(row.SerializeToString()), "<f4") for row in rows])


def packed(message: bytes) -> memoryview:
    """Return the bytes of field 1, which holds the numbers, behind its tag and its length of 7 bits in each byte."""
    start, length, shift = 1, 0, 0
    while True:
        length |= (message[start] & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if message[start - 1] < 0x80:  # the last byte of the length
            return memoryview(message)[start : start + length]


class HttpStub(socketserver.StreamRequestHandler):
    """Reads requests, makes arrays of their numbers, and answers that they are done."""

    def handle(self) -> None:
        parser = simdjson.Parser()
        while request := self.rfile.readline():
            assert request.startswith((b"PUT", b"GET")), request
            length = 0
            while (line := self.rfile.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if body := self.rfile.read(length):
                parse(parser, body)
            result: dict[str, Any] = {"operation_id": 1, "status": "completed"}
            if request.startswith(b"GET"):  # its shards, for a client that looks for the gRPC port
                result = {"peer_id": PEER, "shard_count": 1, "local_shards": [], "remote_shards": []}
                result["shard_transfers"] = []
            answer = {"result": result, "status": "ok", "time": 0.0}
            body = json.dumps(answer).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)


class GrpcStub(messages.PointsServicer, messages.CollectionsServicer):
    """Does the same over gRPC."""

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        for point in request.points:
            read = [unpacked(vector) for vector in point.vectors.vectors.vectors.values()]
            assert sum(each.size for each in read) == point.payload["numbers"].integer_value
        result = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
        return messages.PointsOperationResponse(result=result)

    def CollectionClusterInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.CollectionClusterInfoResponse(peer_id=PEER, shard_count=1)


def serve(ports: Pipe) -> None:
    """Run both servers, and tell their ports."""
    http = socketserver.ThreadingTCPServer(("127.0.0.1", 0), HttpStub)
    http.daemon_threads = True
    binary = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    messages.add_PointsServicer_to_server(GrpcStub(), binary)
    messages.add_CollectionsServicer_to_server(GrpcStub(), binary)
    grpc_port = binary.add_insecure_port("127.0.0.1:0")
    binary.start()
    ports.send((http.server_address[1], grpc_port))
    http.serve_forever()


if __name__ == "__main__":
    main()
