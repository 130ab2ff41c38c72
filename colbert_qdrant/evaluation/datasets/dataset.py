"""Defines a test collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from colbert_qdrant.config.checks import require_bool, require_instance
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.shown import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalDataset:
    """A test collection: documents, queries, and the relevance of documents to queries.

    Attributes:
        name: The name in tables, such as ``"scifact"``.
        queries: Text by query id.
        qrels: For each query id, the relevance of its judged documents by their ids, as strings. A document with a
            relevance of 1 or more is relevant.
        documents: The documents, iterated over once per use, so not a generator. ``None`` if a collection has them
            already.
        excludes_query_id: Whether a document with the id of the query is no hit. In ArguAna and Quora of BEIR, queries
            are documents themselves.

    Raises:
        DatasetError: If there is no query with a relevant document, a query is empty, or a judged query has no text.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    documents: Iterable[Document] | None = None
    excludes_query_id: bool = False

    def __post_init__(self) -> None:
        require_instance("name", self.name, str, "the name of the data set")
        require_instance("queries", self.queries, Mapping, "a dict of texts by query id")
        require_instance("qrels", self.qrels, Mapping, "a dict of relevance by document id, for each query id")
        require_bool("excludes_query_id", self.excludes_query_id)
        if isinstance(self.documents, Iterator):
            raise DatasetError(
                f"documents of {shown(self.name)} can be read only once: pass a list, or an object that opens its "
                "source in __iter__"
            )
        if not any(relevance > 0 for judged in self.qrels.values() for relevance in judged.values()):
            raise DatasetError(
                f"data set {shown(self.name)} has no judgments of a relevant document, so it has nothing to measure: "
                "add qrels with a relevance of 1 or more"
            )
