"""Defines a test collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, Self

from colbert_qdrant.config.checks import require_bool, require_instance, require_one_of
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.loading import from_files, load
from colbert_qdrant.shown import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalDataset:
    """A test collection: documents, queries, and the relevance of documents to queries.

    Attributes:
        name: The name in tables, such as ``"scifact"``.
        queries: Text by query id; queries without judgments are left out.
        qrels: For each query id, the relevance of its judged documents by their ids, as strings. A document with a
            relevance of 1 or more is relevant.
        documents: The documents, iterated over once per use, so not a generator. ``None`` if a collection has them
            already.
        excludes_query_id: Whether a document with the id of the query is no hit. In ArguAna and Quora of BEIR, queries
            are documents themselves.
        missing: ``"ignore"`` accepts judgments of documents that are not stored; they count as not found.

    Raises:
        DatasetError: If there is no query with a relevant document, a query is empty, or a judged query has no text.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    documents: Iterable[Document] | None = None
    excludes_query_id: bool = False
    missing: Literal["error", "ignore"] = "error"

    def __post_init__(self) -> None:
        require_instance("name", self.name, str, "the name of the data set")
        require_instance("queries", self.queries, Mapping, "a dict of texts by query id")
        require_instance("qrels", self.qrels, Mapping, "a dict of relevance by document id, for each query id")
        require_bool("excludes_query_id", self.excludes_query_id)
        require_one_of("missing", self.missing, ("error", "ignore"))
        if isinstance(self.documents, Iterator):
            raise DatasetError(
                f"documents of {shown(self.name)} can be read only once: pass a list, or an object that opens its "
                "source in __iter__"
            )
        object.__setattr__(self, "queries", {id: self.queries[id] for id in self.queries if id in self.qrels})
        if not any(relevance > 0 for judged in self.qrels.values() for relevance in judged.values()):
            raise DatasetError(
                f"data set {shown(self.name)} has no judgments of a relevant document, so it has nothing to measure: "
                "add qrels with a relevance of 1 or more"
            )

    @classmethod
    def load(
        cls,
        source: str | PathLike[str],
        *,
        split: str = "test",
        root: str | PathLike[str] | None = None,
        title_separator: str = " ",
        missing: Literal["error", "ignore"] = "error",
    ) -> Self:
        """Load a BEIR folder, a ZIP archive of one, or a data set by its name.

        The judgments and the judged queries are read into memory. The documents are read once, to check their ids, and
        again whenever they are used. Documents without title and text are left out, with a warning.

        Args:
            source: A folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``, or a ZIP archive of one.
                Otherwise the name of a data set of BEIR or NanoBEIR, such as ``"scifact"`` or ``"NanoSciFact"``.
            split: The judgments to use, such as ``"test"``, ``"dev"`` or ``"train"``.
            root: A folder with local copies of repositories of the Hugging Face Hub, for names.
            title_separator: The text between a document's title and its text.
            missing: ``"ignore"`` accepts judgments of unknown documents, which are never found. It leaves out
                judgments of unknown queries, with a warning.

        Raises:
            DatasetError: If the data set is missing or wrong; the message names the file and the line.
            ConfigurationError: If an argument is wrong.
            MissingExtraError: If a library that reads it is not installed.
        """
        return cls(**load(source, split=split, root=root, title_separator=title_separator, missing=missing))

    @classmethod
    def from_files(
        cls,
        *,
        queries: str | PathLike[str],
        qrels: str | PathLike[str],
        corpus: Any = None,
        name: str | None = None,
        title_separator: str = " ",
        missing: Literal["error", "ignore"] = "error",
        excludes_query_id: bool = False,
    ) -> Self:
        """Load queries and judgments from your own files.

        The suffix tells the format: ``.jsonl``, ``.tsv`` or ``.csv``, each also with ``.gz`` or ``.zst``. Files with
        another suffix have the columns of TREC, separated by white space. Lines of TSV files have no quotes.

        Args:
            queries: The file of queries, with columns ``_id`` and ``text``. The header may be missing in TSV and CSV.
            qrels: The file of judgments, with columns ``query-id``, ``corpus-id`` and ``score``, or with the four
                columns of TREC: query, iteration, document and relevance.
            corpus: The documents, in any form that `ColbertCollection.ingest` reads twice; ``None`` if a collection
                has them.
            name: The name in tables; by default that of the folder with the queries.
            title_separator: The text between a document's title and its text.
            missing: ``"ignore"`` accepts judgments of unknown documents, which are never found. It leaves out
                judgments of unknown queries, with a warning.
            excludes_query_id: Whether a document with the id of the query is no hit.

        Raises:
            DatasetError: If a file is missing or wrong; the message names the file and the line.
            ConfigurationError: If an argument is wrong.
            MissingExtraError: If a library that reads a file is not installed.
        """
        contents = from_files(
            queries=queries,
            qrels=qrels,
            corpus=corpus,
            name=name,
            title_separator=title_separator,
            missing=missing,
            excludes_query_id=excludes_query_id,
        )
        return cls(**contents)
