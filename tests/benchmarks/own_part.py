"""The time that a search takes beside the model, the FDE and the client's own call, over REST and gRPC.

    python tests/benchmarks/own_part.py [--rounds 200]

A stub on this machine answers each search with the same 20 hits. Queries are 32 tokens of 128 dimensions, encoded as
5,120 by MUVERA. In each round, four calls follow each other. The first is a search with ready token vectors, so that no
model runs. The second is the FDE alone, and the third is the client's own method with the same request. The last one
sends the finished body or message. The own part of a round is the search minus the FDE and the client's method. It can
be negative, since this library serializes queries faster. The last number counts everything but the FDE and the
finished call, so it includes the serialization of the request. All numbers are medians of the rounds.
A pause before each call (20 ms) lets the processor become idle, as between the queries of a user.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socketserver
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import simdjson
from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http.api.points_api import jsonable_encoder

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    MuveraConfig,
    TokenEmbeddings,
    connect,
    connect_async,
)
from tests import grpc_server
from tests.benchmarks.common import machine, started
from tests.faults.server import Answer, FaultyServer
from tests.grpc_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection as Pipe

DIM, TOKENS, PAUSE = 128, 32, 0.02
CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=5, dim_proj=16, r_reps=10))
HITS = [
    models.ScoredPoint(
        id=number,
        version=1,
        score=30 - number / 10,
        payload={"_id": number, "text": "some words of it " * 20, "tags": ["a", "b"], "page": number},
    )
    for number in range(20)
]


class MadeUp:
    """Token embeddings of any texts."""

    dim = DIM

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        values = np.random.default_rng(0).standard_normal((len(texts) * TOKENS, DIM), np.float32)
        return TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), [TOKENS] * len(texts))

    encode_documents = encode_queries

    def fingerprint(self) -> dict[str, Any]:
        return {"type": "made up"}


class Timer:
    """Collects milliseconds by name."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {"search": [], "FDE": [], "client": [], "finished": []}

    def add(self, name: str, started: float) -> None:
        self.taken[name].append((time.perf_counter() - started) * 1e3)

    def report(self, name: str) -> None:
        search, fde, client, finished = (np.array(each[5:]) for each in self.taken.values())
        print(
            f"  {name:<14} search {median(search):6.2f} ms, FDE {median(fde):5.2f}, client {median(client):5.2f}, "
            f"own part {median(search - fde - client):5.2f} ms, "
            f"all but the FDE and a finished call {median(search - fde - finished):5.2f} ms"
        )


def main() -> None:
    """Print a line for each protocol, blocking and async, without and with pauses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    server, (http_port, grpc_port) = started(serve)
    print(f"{machine()}; medians of {rounds} rounds")
    for pause in (0.0, PAUSE):
        print(f"pauses of {pause * 1e3:.0f} ms")
        for prefer_grpc in (False, True):
            options: dict[str, Any] = {"url": f"http://127.0.0.1:{http_port}", "grpc_port": grpc_port}
            options["prefer_grpc"] = prefer_grpc
            protocol = "gRPC" if prefer_grpc else "REST"
            blocking(options, rounds, pause).report(f"{protocol} blocking")
            asyncio.run(awaited(options, rounds, pause)).report(f"{protocol} async")
    server.terminate()


def blocking(options: dict[str, Any], rounds: int, pause: float) -> Timer:
    """Measure a blocking client."""
    client, timer = connect(**options), Timer()
    docs = ColbertCollection.open_or_create("docs", client=client, encoder=MadeUp(), config=CONFIG)
    query, fde = MadeUp().encode_queries([""]), docs._opened.fde
    assert fde is not None
    sent = recorded(docs._opened.engine)
    assert len(docs.search(query)) == 10
    finished = finished_call(client, sent[0])
    for _ in range(rounds):
        time.sleep(pause)
        started = time.perf_counter()
        docs.search(query)
        timer.add("search", started)
        time.sleep(pause)
        started = time.perf_counter()
        fde.encode_queries(query)
        timer.add("FDE", started)
        time.sleep(pause)
        started = time.perf_counter()
        client.query_batch_points("docs", requests=sent[0])
        timer.add("client", started)
        time.sleep(pause)
        started = time.perf_counter()
        finished()
        timer.add("finished", started)
    client.close()
    return timer


async def awaited(options: dict[str, Any], rounds: int, pause: float) -> Timer:
    """Measure an async client."""
    client, timer = connect_async(**options), Timer()
    docs = await AsyncColbertCollection.open_or_create("docs", client=client, encoder=MadeUp(), config=CONFIG)
    query, fde = MadeUp().encode_queries([""]), docs._opened.fde
    assert fde is not None
    sent = recorded(docs._opened.engine)
    assert len(await docs.search(query)) == 10
    finished = finished_call(client, sent[0])
    for _ in range(rounds):
        await asyncio.sleep(pause)
        started = time.perf_counter()
        await docs.search(query)
        timer.add("search", started)
        await asyncio.sleep(pause)
        started = time.perf_counter()
        fde.encode_queries(query)
        timer.add("FDE", started)
        await asyncio.sleep(pause)
        started = time.perf_counter()
        await client.query_batch_points("docs", requests=sent[0])
        timer.add("client", started)
        await asyncio.sleep(pause)
        started = time.perf_counter()
        await finished()
        timer.add("finished", started)
    await client.close()
    return timer


def recorded(engine: Any) -> list[Any]:
    """Return a list to which the first search appends its requests, as the client takes them."""
    sent: list[Any] = []
    search = engine.search

    async def record(collection: str, requests: Any) -> Any:
        sent.append([models.QueryRequest.model_validate_json(each.model_dump_json()) for each in requests])
        engine.search = search
        return await search(collection, requests)

    engine.search = record
    return sent


def finished_call(client: Any, requests: Any) -> Callable[[], Any]:
    """Return the call of the client's transport, with the request in the form in which it is sent."""
    if client.init_options["prefer_grpc"]:
        queries = [RestToGrpc.convert_query_request(each, "docs") for each in requests]
        message = messages.QueryBatchPoints(collection_name="docs", query_points=queries)
        return partial(client.grpc_points.QueryBatch, message, timeout=60)
    body = jsonable_encoder(models.QueryRequestBatch(searches=requests)).encode()
    return partial(client.http.search_api.query_batch_points, collection_name="docs", query_request_batch=body)


class Stub(FaultyServer):
    """Finds the same hits for every search."""

    found = json.dumps({"result": [{"points": [hit.model_dump() for hit in HITS]}], "status": "ok", "time": 0}).encode()

    def _points(self, method: str, path: str, body: dict[str, Any], size: int) -> Answer:
        return Answer(body=self.found) if path.endswith("/query/batch") else super()._points(method, path, body, size)


class Handler(socketserver.StreamRequestHandler):
    """Reads requests on connections that stay open."""

    stub: Stub

    def handle(self) -> None:
        while request := self.rfile.readline():
            method, target, _ = request.decode().split()
            length = 0
            while (line := self.rfile.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            body = simdjson.loads(self.rfile.read(length) or b"{}")
            answer = self.stub.answer(method, target.partition("?")[0], body, length)
            head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: application/json\r\n"
            self.wfile.write(f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body)


class GrpcStub(Server):
    """Does the same over gRPC."""

    found = messages.QueryBatchResponse(
        result=[messages.BatchResult(result=[RestToGrpc.convert_scored_point(hit) for hit in HITS])]
    )

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.found


def serve(ports: Pipe) -> None:
    """Run both servers, and tell their ports."""
    http = socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Own", (Handler,), {"stub": Stub()}))
    http.daemon_threads = True
    with grpc_server.serving(GrpcStub()) as running:
        ports.send((http.server_address[1], running.port))
        http.serve_forever()


if __name__ == "__main__":
    main()
