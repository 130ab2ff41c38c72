"""Reads the queries of a test collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.columns import Table, identifier
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from colbert_qdrant.sources.item import SourceRow

QUERIES: Final = Table(
    names={"id": ("id", "queryid", "qid", "topic", "topicid"), "text": ("text", "query", "question", "title")},
    required=("id", "text"),
    bare=("id", "text"),
    header="id\ttext",
)


def read_queries(rows: Iterable[SourceRow], judged: Container[str]) -> dict[str, str]:
    """Return the texts of judged queries, in the order of the file.

    Raises:
        DatasetError: If a judged query is empty, or an id has two texts.
    """
    queries: dict[str, str] = {}
    for row in rows:
        id, text = identifier(row.value["id"], row), row.value["text"]
        if id not in judged:
            continue
        if not isinstance(text, str) or not text.strip():
            problem = f"is {shown(text, 60)}" if text else "is empty"
            raise DatasetError(
                f"{row.where}: the text of query {id!r} {problem}: write it, or remove the query and its judgments"
            )
        if queries.setdefault(id, text) != text:
            raise DatasetError(f"{row.where}: query {id!r} has another text in an earlier line: rename or remove one")
    return queries
