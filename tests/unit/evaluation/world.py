"""A small test collection, and what its searches should find, by a few lines of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant import Bm25Config, CollectionConfig, Document, Evaluation, MuveraConfig, RetrievalDataset, evaluate
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from pathlib import Path

MUVERA: Final = MuveraConfig(fill_empty=True, k_sim=2, dim_proj=4, r_reps=3)
CONFIG: Final = CollectionConfig(fde=MUVERA, segments=1, bm25=Bm25Config())
TEXTS: Final = {f"d{number}": text for number, text in enumerate(random_texts(60, seed=1))}
QUERIES: Final = {f"q{number}": text for number, text in enumerate(random_texts(12, seed=2, words=(2, 5)))}


def relevant(query: str) -> dict[str, int]:
    """The documents with most of a query's words are relevant."""
    shared = {id: len({*query.split()} & {*text.split()}) for id, text in TEXTS.items()}
    best = sorted(shared, key=lambda each: (-shared[each], each))[:4]
    return dict(zip(best, (2, 1, 1, 0), strict=True))


QRELS: Final = {id: relevant(text) for id, text in QUERIES.items()}


def documents() -> list[Document]:
    return [Document(id, text) for id, text in TEXTS.items()]


def small_dataset(**changes: Any) -> RetrievalDataset:
    return RetrievalDataset(
        **{"name": "small", "queries": QUERIES, "qrels": QRELS, "documents": documents(), **changes}
    )


def measured(target: Any, dataset: Any = None, *, folder: Path | None = None, **options: Any) -> Evaluation:
    """Evaluate with small depths, and without progress."""
    if not hasattr(target, "name"):
        options.setdefault("config", CONFIG)
    options = {"metrics": ["nDCG@10", "R@20"], "candidates": 30, "depth": 20, "progress": False, **options}
    return evaluate(target, small_dataset() if dataset is None else dataset, folder=folder, **options)


def maxsim_scores(encoder: WordEncoder, query: str) -> dict[str, float]:
    """The score of every document, as numpy computes it."""
    tokens = encoder.encode_queries([query])[0]
    found = {id: encoder.encode_documents([text])[0] for id, text in TEXTS.items()}
    return {id: float(np.max(tokens @ matrix.T, axis=1).sum()) for id, matrix in found.items()}
