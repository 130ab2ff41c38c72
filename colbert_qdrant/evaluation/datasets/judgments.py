"""Reads and writes judgments: qrels in TREC's and BEIR's format, and JSON lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.columns import Table, identifier
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from colbert_qdrant.sources.item import SourceRow

QRELS: Final = Table(
    names={
        "query": ("queryid", "qid", "query", "topic", "topicid"),
        "document": ("corpusid", "docid", "documentid", "docno", "pid", "passageid"),
        "relevance": ("score", "relevance", "rel", "label", "grade"),
    },
    required=("query", "document"),
    bare=("query", None, "document", "relevance"),
    header="query-id\tcorpus-id\tscore",
)
_RELEVANCE: Final = re.compile(r"[+-]?\d{1,9}")


def read_judgments(rows: Iterable[SourceRow]) -> dict[str, dict[str, int]]:
    """Return the relevance of documents by query.

    Raises:
        DatasetError: If a judgment has no ids, its relevance is not an integer, or two judgments disagree.
    """
    qrels: dict[str, dict[str, int]] = {}
    for query, document, relevance, row in _judgments(rows):
        before = qrels.setdefault(query, {}).setdefault(document, relevance)
        if before != relevance:
            raise DatasetError(
                f"{row.where}: document {document!r} has relevance {relevance} for query {query!r}, and {before} in an "
                "earlier line: remove one"
            )
    return qrels


def place_of(rows: Iterable[SourceRow], *, query: str | None = None, document: str | None = None) -> str:
    """Return the file and line of the first judgment of a query or a document, for messages."""
    return next(row.where for q, d, _, row in _judgments(rows) if query in {None, q} and document in {None, d})


def _judgments(rows: Iterable[SourceRow]) -> Iterator[tuple[str, str, int, SourceRow]]:
    for row in rows:
        query = identifier(row.value["query"], row)
        documents = row.value["document"]
        relevance = _relevance(row.value.get("relevance", 1), row)
        for document in documents if isinstance(documents, list) else (documents,):
            yield query, identifier(document, row), relevance, row


def _relevance(value: Any, row: SourceRow) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _RELEVANCE.fullmatch(value):
        return int(value)
    header = "" if row.number > 1 else f", or start the file with the header {QRELS.header!r}"
    raise DatasetError(
        f"{row.where}: the relevance is {shown(value, 60)}, not an integer: use 0 for not relevant, and 1 or more for "
        f"relevant{header}"
    )
