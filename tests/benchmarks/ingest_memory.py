"""Peak anonymous memory of an ingest from a generator: it must not depend on the number of documents.

    python tests/benchmarks/ingest_memory.py

Each size runs in a process of its own. The embedded store maps its files into memory, so only anonymous memory
(``RssAnon`` of /proc/self/status, Linux) tells what the process holds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, EdgeClient, MuveraConfig, TokenEmbeddings
from tests.benchmarks.common import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOKENS, DIM = 60, 128


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


def measure(count: int) -> None:
    """Ingest, and print the peak and the rate."""
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, _anonymous_kib())

    with tempfile.TemporaryDirectory() as folder, EdgeClient(folder) as client:
        config = CollectionConfig(fde=MuveraConfig(r_reps=10))
        docs = ColbertCollection.create("synthetic", client=client, encoder=RandomEncoder(), config=config)
        watcher = threading.Thread(target=watch)
        watcher.start()
        report = docs.ingest(_documents(count))
        done.set()
        watcher.join()
    print(f"{count:>8,} documents: peak RssAnon {peak / 1024:6.1f} MiB, {report.documents_per_second:6.0f} documents/s")


def _documents(count: int) -> Iterator[Document]:
    return (Document(number, f"document {number}", {"number": number}) for number in range(count))


def _anonymous_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one)
        return
    print(f"{machine()}; {TOKENS} tokens × {DIM} dimensions and a 5,120-d FDE per document", flush=True)
    for count in options.documents:
        subprocess.run([sys.executable, __file__, "--one", str(count)], check=True)


if __name__ == "__main__":
    main()
