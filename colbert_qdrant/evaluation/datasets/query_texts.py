"""Reads the queries of a test collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from colbert_qdrant.config.checks import items_of, require_instance
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.table_files import Table, identifier, is_unicode
from colbert_qdrant.shown import has, shown

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from colbert_qdrant.sources.item import SourceRow

QUERIES: Final = Table(
    names={"id": ("id", "queryid", "qid", "topic", "topicid"), "text": ("text", "query", "question", "title")},
    required=("id", "text"),
    bare=("id", "text"),
    header=("id", "text"),
)


def read_queries(rows: Iterable[SourceRow], judged: Container[str]) -> dict[str, str]:
    """Return the texts of judged queries, in the order of the file.

    Raises:
        DatasetError: If a judged query is empty or no valid Unicode, or an id has two texts.
    """
    queries: dict[str, str] = {}
    for row in rows:
        id, text = identifier(row.value["id"], row), row.value["text"]
        if id not in judged:
            continue
        if problem := _problem(text):
            raise DatasetError(
                f"{row.where}: the text of query {shown(id)} {problem}: write it, or remove the query and its judgments"
            )
        if queries.setdefault(id, text) != text:
            raise DatasetError(
                f"{row.where}: query {shown(id)} has another text in an earlier line: rename or remove one"
            )
    return queries


def checked_queries(queries: Mapping[str, str], judged: Iterable[str]) -> dict[str, str]:
    """Return the texts of judged queries, in the order of the queries; none at all are allowed.

    Raises:
        ConfigurationError: If the queries are not texts by id.
        DatasetError: If a judged query has no text, or one that is no valid Unicode.
    """
    require_instance("queries", queries, Mapping, "a dict of texts by query id")
    if has(queries, "__len__") and not queries:
        return {}
    wanted = {*judged}
    made = {id: text for id, text in items_of("queries", queries) if isinstance(id, str) and id in wanted}
    for id in judged:
        text = made.get(id, "")
        require_instance(f"queries[{shown(id)}]", text, str, "a text")
        if not text.strip():
            raise DatasetError(f"query {shown(id)} has judgments and no text: add its text, or remove its judgments")
        if problem := _problem(text):
            raise DatasetError(f"the text of query {shown(id)} {problem}: correct it, or remove its judgments")
    return made


def _problem(text: object) -> str | None:
    if text is None or text == "":
        return "is empty"
    if not isinstance(text, str) or not text.strip():
        return f"is {shown(text, 60)}"
    return None if is_unicode(text) else f"is {shown(text, 60)}, which is not valid Unicode"
