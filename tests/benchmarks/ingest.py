"""Ingest: its speed beside that of the model alone, its memory, and a collection that grows to 200,000 documents.

    python tests/benchmarks/ingest.py                      # overlap, with MiniLM
    python tests/benchmarks/ingest.py --memory 5000 50000  # peak of anonymous memory
    python tests/benchmarks/ingest.py --scale 200000       # documents/s, bytes, memory and latency as it grows

**Overlap.** The model encodes texts alone, and an ingest encodes and stores others of the same lengths, in turns. A
ratio is that of the two in one round, so that other work on the machine changes it little. The model is MiniLM with a
random projection to 128 dimensions, since checkpoints of ColBERT have at most as many. The stub is a process that
reads a write over REST, waits, and answers; it does not parse it, because a real server would do that elsewhere.

**Memory.** Each size runs in a process of its own. The embedded store maps its files into memory, so only anonymous
memory (``RssAnon`` of /proc/self/status, Linux) tells what the process holds.

**Scale.** Documents are made-up token matrices of 60 × 128, without a model; see ``search.py``. The collection is an
embedded store with ``storage="disk"``. It is optimized and searched at a tenth, a quarter, half and all of its size.
With ``--store``, a run that was interrupted goes on with the documents that are stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from qdrant_client import AsyncQdrantClient, QdrantClient
from safetensors.numpy import save_file

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    ColbertEncoder,
    ColbertQdrantWarning,
    CollectionConfig,
    Document,
    EdgeClient,
    MuveraConfig,
    TokenEmbeddings,
)
from tests.benchmarks.common import machine, minilm
from tests.benchmarks.search import FDES, MadeUp
from tests.faults.server import OK, FaultyServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

    Ingest = Callable[[list[Document]], object]

CHUNK = 256
TOKENS, DIM = 60, 128
WORDS = (10, 180)
WAYS = ("edge", "edge-asyncio", "stub", "stub-asyncio")
STAGES = (0.1, 0.25, 0.5, 1.0)
QUERIES = 100


def main() -> None:
    """Print the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2048, help="documents of a round (overlap)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--latency", type=float, default=30, help="milliseconds that the stub waits")
    parser.add_argument("--memory", type=int, nargs="*", metavar="DOCUMENTS")
    parser.add_argument("--scale", type=int, metavar="DOCUMENTS")
    parser.add_argument("--store", type=Path, help="a folder for --scale, which is kept")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure_memory(options.one)
        return
    print(machine(), flush=True)
    if options.memory is not None:
        print(f"{TOKENS} tokens × {DIM} dimensions and a 5,120-d FDE per document", flush=True)
        for count in options.memory or (5_000, 50_000):
            subprocess.run([sys.executable, __file__, "--one", str(count)], check=True)
    elif options.scale:
        with tempfile.TemporaryDirectory() as folder:
            measure_scale(options.scale, options.store or Path(folder))
    else:
        measure_overlap(options.documents, options.rounds, options.latency / 1000, options.ways)


def measure_overlap(count: int, rounds: int, latency: float, chosen: Sequence[str]) -> None:
    """Print documents/s of the model alone and of an ingest, and their ratio."""
    warnings.simplefilter("ignore", ColbertQdrantWarning)  # some texts are too long
    with tempfile.TemporaryDirectory() as folder:
        encoder = ColbertEncoder.from_pretrained(projected(Path(folder)))
    print(
        f"MiniLM, {encoder.dim} dimensions; {count} documents of {WORDS[0]} to {WORDS[1]} words; {rounds} rounds",
        flush=True,
    )
    encode_alone(encoder, made_up(CHUNK, number=0))
    with tempfile.TemporaryDirectory() as folder, stub(latency) as port, stub(latency) as other:
        edge, async_edge = Path(folder, "blocking"), Path(folder, "asyncio")
        server: dict[str, Any] = {"check_compatibility": False, "timeout": 60}
        ways: dict[str, AbstractContextManager[Ingest]] = {
            "edge": blocking(encoder, lambda: EdgeClient(edge)),
            "edge-asyncio": awaited(encoder, lambda: AsyncEdgeClient(async_edge)),
            "stub": blocking(encoder, lambda: QdrantClient(port=port, **server)),
            "stub-asyncio": awaited(encoder, lambda: AsyncQdrantClient(port=other, **server)),
        }
        for name in chosen:
            with ways[name] as ingest:
                ingest(made_up(64, number=-1))
                _race(name, encoder, ingest, count, rounds)


def _race(name: str, encoder: ColbertEncoder, ingest: Ingest, count: int, rounds: int) -> None:
    taken: dict[str, list[float]] = {"model": [], "ingest": []}
    for number in range(rounds):
        documents = made_up(count, number=number)
        for which in list(taken)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            if which == "model":
                encode_alone(encoder, documents)
            else:
                ingest(documents)
            taken[which].append(time.perf_counter() - started)
    model, whole = taken["model"], taken["ingest"]
    ratios = [one / other for one, other in zip(model, whole, strict=True)]
    print(
        f"  {name:<12} model alone {count / statistics.median(model):6.1f}, ingest "
        f"{count / statistics.median(whole):6.1f} documents/s, ratio {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )


def projected(folder: Path) -> Path:
    """Write a checkpoint of PyLate: MiniLM, and a random projection."""
    for file in minilm().iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    projection = np.linalg.qr(np.random.default_rng(0).standard_normal((width, DIM)))[0].T
    dense = {"in_features": width, "out_features": DIM, "bias": False}
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    modules += [{"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"}]
    (folder / "1_Dense").mkdir()
    save_file({"linear.weight": np.ascontiguousarray(projection, np.float32)}, folder / "1_Dense" / "model.safetensors")
    for path, settings in {
        "1_Dense/config.json": {**dense, "activation_function": "torch.nn.modules.linear.Identity"},
        "modules.json": modules,
        "config_sentence_transformers.json": {"query_prefix": "", "document_prefix": "", "query_length": 32},
    }.items():
        (folder / path).write_text(json.dumps(settings))
    return folder


def made_up(count: int, *, number: int) -> list[Document]:
    """Documents of random words, other ones for each number."""
    words = Path(minilm(), "vocab.txt").read_text().split()[2000:12000]
    random = np.random.default_rng(number + 1)
    return [
        Document(f"{number}/{each}", " ".join(random.choice(words, length)))
        for each, length in enumerate(random.integers(WORDS[0], WORDS[1] + 1, count))
    ]


def encode_alone(encoder: ColbertEncoder, documents: list[Document]) -> None:
    """Encode documents as an ingest does, in the same chunks."""
    for start in range(0, len(documents), CHUNK):
        encoder.encode_documents([document.text for document in documents[start : start + CHUNK]])


@contextmanager
def blocking(encoder: ColbertEncoder, connect: Callable[[], Any]) -> Iterator[Ingest]:
    """Give a function that ingests from a generator."""
    with closing(connect()) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=encoder)
        yield lambda documents: docs.ingest(iter(documents))


@contextmanager
def awaited(encoder: ColbertEncoder, connect: Callable[[], Any]) -> Iterator[Ingest]:
    """The same in an event loop."""
    with asyncio.Runner() as runner:

        async def create() -> tuple[Any, AsyncColbertCollection]:
            client = connect()
            return client, await AsyncColbertCollection.create("docs", client=client, encoder=encoder)

        client, docs = runner.run(create())
        yield lambda documents: runner.run(docs.ingest(iter(documents)))
        runner.run(client.close())


@contextmanager
def stub(latency: float) -> Iterator[int]:
    """Run a server in a process of its own, and give its port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, latency), daemon=True)
    process.start()
    yield here.recv()
    process.kill()


def serve(pipe: Connection, latency: float) -> None:
    """Answer writes after a wait, and everything else as the stub of the tests does, until the process is killed."""
    faulty = FaultyServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            if self.command == "PUT" and path.endswith("/points"):
                time.sleep(latency)
                answer = OK
            else:
                answer = faulty.answer(self.command, path, json.loads(body or b"{}"), len(body))
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the base class

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_address[1])
    server.serve_forever()


class RandomEncoder:
    """60 random unit vectors of 128 dimensions, whatever the text."""

    dim = DIM

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        values = np.random.default_rng(len(texts)).standard_normal((len(texts) * TOKENS, DIM), np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        return TokenEmbeddings(values, [TOKENS] * len(texts))

    encode_queries = encode_documents

    def fingerprint(self) -> dict[str, Any]:
        return {"type": "random"}


def measure_memory(count: int) -> None:
    """Ingest from a generator, and print the peak and the rate."""
    with tempfile.TemporaryDirectory() as folder, EdgeClient(folder) as client, Peak() as peak:
        config = CollectionConfig(fde=MuveraConfig(r_reps=10))
        docs = ColbertCollection.create("synthetic", client=client, encoder=RandomEncoder(), config=config)
        report = docs.ingest(Document(number, f"document {number}", {"number": number}) for number in range(count))
    print(
        f"{count:>8,} documents: peak RssAnon {peak.mebibytes:6.1f} MiB, {report.documents_per_second:6.0f} documents/s"
    )


class Peak:
    """Watches the anonymous memory of this process."""

    def __init__(self) -> None:
        self.mebibytes = 0.0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.mebibytes = max(self.mebibytes, anonymous_mebibytes())


def anonymous_mebibytes() -> float:
    """The anonymous memory of this process now."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) / 1024


class Lines:
    """Prints progress every ten seconds."""

    def __init__(self, stored: int) -> None:
        self._done = self._stored = stored
        self._started = self._told = time.perf_counter()

    def start(self, total: int | None) -> None:
        """Say nothing."""

    def advance(self, documents: int) -> None:
        self._done += documents
        now = time.perf_counter()
        if now - self._told > 10:
            self._told = now
            rate = (self._done - self._stored) / (now - self._started)
            print(f"    {self._done:,} documents stored, {rate:.0f} documents/s", flush=True)

    def stop(self) -> None:
        """Say nothing."""


def measure_scale(count: int, folder: Path) -> None:
    """Ingest in stages, and print what each costs and how long its searches take."""
    encoder = MadeUp(count)
    config = CollectionConfig(fde=FDES["muvera"], fde_quantization="turbo4", storage="disk")
    print(f"{count:,} documents in {folder}", flush=True)
    with EdgeClient(folder) as client:
        docs = ColbertCollection.open_or_create("scale", client=client, encoder=encoder, config=config)
        for share in STAGES:
            stored, size = docs.count(), int(count * share)
            if stored < size:
                print(f"  {size:,} documents: ingest of {size - stored:,}", flush=True)
                with Peak() as peak:
                    source = (Document(number, str(number)) for number in range(stored, size))
                    report = docs.ingest(source, progress=Lines(stored))
                print(
                    f"    {report.documents_per_second:.0f} documents/s, peak RssAnon {peak.mebibytes:.0f} MiB",
                    flush=True,
                )
            try:
                _search(docs, encoder, size, folder)
            except KeyboardInterrupt:
                print("    interrupted; the next stage follows", flush=True)


def _search(docs: ColbertCollection, encoder: MadeUp, size: int, folder: Path) -> None:
    """Optimize, and search for documents that are stored."""
    started = time.perf_counter()
    with Peak() as peak:
        docs.optimize()
    seconds = time.perf_counter() - started
    used = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    print(
        f"    optimize {seconds:.0f} s, peak RssAnon {peak.mebibytes:.0f} MiB; {used / 2**20:,.0f} MiB on disk, "
        f"{used / size:,.0f} bytes a document",
        flush=True,
    )
    random = np.random.default_rng(size)
    queries = encoder.encode_queries([str(number) for number in random.integers(0, size, QUERIES)])
    taken = []
    for number in range(QUERIES):
        query = TokenEmbeddings.from_matrices([queries[number]], dim=DIM)
        started = time.perf_counter()
        docs.search(query, limit=10, candidates=100)
        taken.append(1000 * (time.perf_counter() - started))
    p50, p95 = np.percentile(taken, [50, 95])
    print(
        f"    two-stage, 100 candidates: p50 {p50:.1f} ms, p95 {p95:.1f} ms; RssAnon {anonymous_mebibytes():.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
