"""Local copies of a model and of data sets, in the layout of the Hugging Face Hub: small and random."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from tests.parity.checkpoints import build
from tests.unit.evaluation.datasets.files import HEADER, hub_repository, write

MODEL: Final = "NeuML/colbert-muvera-pico"
WORDS: Final = (
    *("query", "document", "token", "vector", "search", "index", "point", "score", "rank", "text", "model", "word"),
    *("language", "library", "python", "fast", "slow", "good", "bad", "cat", "dog", "tree", "river"),
)


class SmallCollection:
    """A test collection of random words.

    Query ``q0`` has a document with its id and its text, and many relevant ones.

    Args:
        seed: Decides the words.
        titles: Whether documents have titles.
    """

    def __init__(self, seed: int, *, titles: bool) -> None:
        draw = random.Random(seed)
        self.queries = {f"q{number}": " ".join(draw.choices(WORDS, k=4)) for number in range(12)}
        self.corpus: dict[str, tuple[str, str]] = {
            f"d{number}": (draw.choice(WORDS) if titles and number % 2 else "", " ".join(draw.choices(WORDS, k=8)))
            for number in range(130)
        }
        self.corpus["q0"] = ("", self.queries["q0"])
        self.qrels = {
            query: {f"d{number}": 1 for number in draw.sample(range(130), 40 if query == "q0" else 5)}
            for query in self.queries
        }
        self.titles = titles

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of its tables."""
        return {
            "corpus": [
                {"_id": id, **({"title": title} if self.titles else {}), "text": text}
                for id, (title, text) in self.corpus.items()
            ],
            "queries": [{"_id": id, "text": text} for id, text in self.queries.items()],
            "qrels": [{"query-id": query, "corpus-id": id} for query, judged in self.qrels.items() for id in judged],
        }


BEIR: Final = {"nfcorpus": SmallCollection(1, titles=True), "scifact": SmallCollection(2, titles=True)}
NANO: Final = {"NanoSciFact": SmallCollection(3, titles=False), "NanoNQ": SmallCollection(4, titles=False)}


def fill_hub(root: str | Path) -> Path:
    """Write the model and all data sets."""
    root = Path(root)
    build("pylate-bert", root / MODEL)
    for name, collection in BEIR.items():
        rows = collection.rows()
        files = {part: f"{part}/{part}-00000-of-00001.parquet" for part in ("corpus", "queries")}
        tables = [(part, part, file) for part, file in files.items()]
        hub_repository(root / "BeIR" / name, tables, {file: rows[part] for part, file in files.items()})
        lines = "".join(f"{each['query-id']}\t{each['corpus-id']}\t1\n" for each in rows["qrels"])
        qrels = root / "BeIR" / f"{name}-qrels"
        qrels.mkdir()
        write(qrels / "test.tsv", HEADER + lines)
    for name, collection in NANO.items():
        rows = collection.rows()
        files = {part: f"{part}/train-00000-of-00001.parquet" for part in rows}
        tables = [(part, "train", file) for part, file in files.items()]
        hub_repository(root / "zeta-alpha-ai" / name, tables, {file: rows[part] for part, file in files.items()})
    return root
