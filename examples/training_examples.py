"""Makes the training examples of `train_colbert.py`: queries, their candidates, and a teacher's scores."""

from __future__ import annotations

from ast import literal_eval
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import get_dataset_config_names, load_dataset

from colbert_qdrant import Bm25Config
from colbert_qdrant.encoders.bm25 import LocalBm25

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.evaluation import RetrievalDataset


@dataclass(frozen=True)
class Example:
    """A query with candidates and the teacher's scores; a higher score is better."""

    query: str
    documents: Sequence[str]
    scores: Sequence[float]


class HubExamples:
    """The examples of a data set in the layout of ``lightonai/ms-marco-en-bge-gemma``, read when they are needed.

    Such a data set has three configurations. ``queries`` and ``documents`` have ids and texts, and ``config`` has the
    ids and scores of each query's candidates.
    """

    def __init__(self, path: str, *, config: str, candidates: int) -> None:
        names = get_dataset_config_names(path)
        if missing := {config, "queries", "documents"}.difference(names):
            raise SystemExit(
                f"{path} has no configuration {min(missing)!r}: pass one of {', '.join(names)} as --config"
            )
        rows, queries, documents = (
            load_dataset(path, name, split="train") for name in (config, "queries", "documents")
        )
        self._queries, self._documents, self._candidates = queries, documents, candidates
        self._query_rows, self._document_rows = _rows_by(queries, "query_id"), _rows_by(documents, "document_id")
        complete = [number for number, row in enumerate(rows) if self._is_complete(row)]
        if not complete:
            raise SystemExit(f"no row of {path} has {candidates} candidates with texts: pass a smaller --candidates")
        if len(complete) < len(rows):
            left_out = f"{len(rows) - len(complete):,} of {len(rows):,} rows of {path} are left out"
            print(f"{left_out}, because a text is missing, or they have fewer than {candidates} candidates")
        self._rows = rows.select(complete)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Example:
        row = self._rows[number]
        ids, scores = self._candidates_of(row)
        documents = self._documents[[self._document_rows[id] for id in ids]]["text"]
        return Example(self._queries[self._query_rows[row["query_id"]]]["text"], documents, scores)

    def _candidates_of(self, row: dict[str, Any]) -> tuple[list[Any], list[float]]:
        return _as_list(row["document_ids"])[: self._candidates], _as_list(row["scores"])[: self._candidates]

    def _is_complete(self, row: dict[str, Any]) -> bool:
        ids, scores = self._candidates_of(row)
        has_texts = row["query_id"] in self._query_rows and all(id in self._document_rows for id in ids)
        return has_texts and len(ids) == len(scores) == self._candidates


def _rows_by(table: Any, column: str) -> dict[Any, int]:
    """Return the row of each id, read from the Arrow table, because iterating over 9 million rows takes minutes."""
    return {id: row for row, id in enumerate(table.data.column(column).to_pylist())}


def _as_list(value: Any) -> list[Any]:
    """Return a list that some data sets store as text."""
    return list(literal_eval(value) if isinstance(value, str) else value)


def mine(data: RetrievalDataset, *, candidates: int, rounds: int, seed: int) -> list[Example]:
    """Make examples of judged queries, with BM25 as the teacher.

    The candidates are the judged document, random ones of BM25's first 100, and random ones of all documents. Every
    query occurs ``rounds`` times, with other candidates.
    """
    documents = list(data.documents or ())
    position = {str(document.id): number for number, document in enumerate(documents)}
    texts = [document.text or "" for document in documents]
    bm25, random = Bm25(texts), np.random.default_rng(seed)
    examples = []
    for id in list(data.qrels) * rounds:
        judged = {document: relevance for document, relevance in data.qrels[id].items() if document in position}
        if not judged:  # its documents have no text
            continue
        scores = bm25.scores(data.queries[id])
        best = position[max(judged, key=judged.__getitem__)]
        hard = random.permutation(np.argsort(-scores, kind="stable")[:100])[: candidates * 3 // 4]
        anywhere = random.integers(len(texts), size=4 * candidates)
        chosen = list(dict.fromkeys([best, *hard.tolist(), *anywhere.tolist()]))[:candidates]
        examples.append(Example(data.queries[id], [texts[number] for number in chosen], scores[chosen].tolist()))
    return examples


class Bm25:
    """Scores every document for a query by BM25, with the word weights that a collection stores."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._model = LocalBm25(Bm25Config(avg_len=sum(len(text.split()) for text in texts) / len(texts)))
        self._size = len(texts)
        postings: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for number, vector in enumerate(self._model.documents(texts)):
            for word, weight in zip(vector.indices, vector.values, strict=True) if vector else ():
                postings[int(word)].append((number, float(weight)))
        self._postings = {word: self._weighted(found) for word, found in postings.items()}

    def _weighted(self, found: Sequence[tuple[int, float]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        numbers, weights = zip(*found, strict=True)
        rarity = np.log(1 + (self._size - len(found) + 0.5) / (len(found) + 0.5))
        return np.array(numbers), np.array(weights, np.float32) * np.float32(rarity)

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the score of every document."""
        scores = np.zeros(self._size, np.float32)
        (vector,) = self._model.queries([query])
        for word in vector.indices if vector else ():
            if word in self._postings:
                numbers, weights = self._postings[word]
                scores[numbers] += weights
        return scores
