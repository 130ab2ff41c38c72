"""Defines a test collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, Self

from colbert_qdrant.config.checks import given_path, require_bool, require_instance, require_one_of
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.datasets.loading import from_files, load
from colbert_qdrant.evaluation.datasets.qrels import checked_judgments, has_relevant, write_judgments
from colbert_qdrant.evaluation.datasets.query_texts import checked_queries
from colbert_qdrant.shown import has, kind_of, shown
from colbert_qdrant.sources.read import DocumentSource


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalDataset:
    """A test collection: documents, queries, and the relevance of documents to queries.

    Attributes:
        name: The name in tables, such as ``"scifact"``.
        queries: Text by query id; queries without judgments are left out. A `Run` can be measured without
            any query.
        qrels: For each query id, the relevance of its judged documents by their ids, as strings. A document with a
            relevance of 1 or more is relevant.
        documents: The documents, which are iterated over several times. ``None`` if a collection has them already.
        excludes_query_id: Whether a document with the id of the query is no hit. In ArguAna and Quora of BEIR, queries
            are documents themselves.
        missing: ``"ignore"`` accepts judgments of documents that are not stored; they count as not found.

    Raises:
        DatasetError: If there is no relevant document, or a judged query has no text.
        ConfigurationError: If a value has a wrong type, or the documents are a generator.
    """

    name: str
    queries: Mapping[str, str] = field(default_factory=dict, repr=False)
    qrels: Mapping[str, Mapping[str, int]] = field(repr=False)
    documents: Iterable[Document] | None = field(default=None, repr=False)
    excludes_query_id: bool = False
    missing: Literal["error", "ignore"] = "error"

    def __post_init__(self) -> None:
        require_instance("name", self.name, str, "the name of the data set")
        require_bool("excludes_query_id", self.excludes_query_id)
        require_one_of("missing", self.missing, ("error", "ignore"))
        qrels = checked_judgments(self.qrels)
        object.__setattr__(self, "qrels", qrels)
        object.__setattr__(self, "queries", checked_queries(self.queries, qrels))
        object.__setattr__(self, "documents", self._checked_documents())
        if not has_relevant(qrels):
            raise DatasetError(
                f"data set {shown(self.name)} has no judgments of a relevant document, so it has nothing to measure: "
                "add qrels with a relevance of 1 or more"
            )

    def _checked_documents(self) -> Iterable[Document] | None:
        documents = self.documents
        if isinstance(documents, Iterator) or has(documents, "__next__"):
            raise ConfigurationError(
                f"documents of {shown(self.name)} can be read only once: pass a list, or an object that opens its "
                "source in __iter__"
            )
        if documents is not None and (isinstance(documents, str | bytes | Mapping) or not has(documents, "__iter__")):
            raise ConfigurationError(
                f"documents must be a list of Document, got {kind_of(documents)}: read files with "
                "RetrievalDataset.from_files"
            )
        return documents

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
        qrels: str | PathLike[str],
        queries: str | PathLike[str] | None = None,
        corpus: DocumentSource | None = None,
        name: str | None = None,
        title_separator: str = " ",
        missing: Literal["error", "ignore"] = "error",
        excludes_query_id: bool = False,
    ) -> Self:
        """Load queries and judgments from your own files.

        The suffix tells the format: ``.jsonl``, ``.tsv`` or ``.csv``, each also with ``.gz`` or ``.zst``. Files with
        another suffix have the columns of TREC, separated by white space. Lines of TSV files have no quotes.

        Args:
            qrels: The file of judgments, with columns ``query-id``, ``corpus-id`` and ``score``, or with the four
                columns of TREC: query, iteration, document and relevance.
            queries: The file of queries, with columns ``_id`` and ``text``. The header may be missing in TSV and CSV.
                Without it, only a `Run` can be measured.
            corpus: The documents, in any form that `ColbertCollection.ingest` reads twice; ``None`` if a collection
                has them.
            name: The name in tables; by default that of the folder with the judgments.
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

    def write_qrels(self, path: str | PathLike[str]) -> None:
        """Write the judgments to a file, in the format that its suffix tells.

        A ``.tsv`` file is BEIR's, with a header. ``.csv`` and ``.jsonl`` files have the same columns. Other files are
        TREC's: query, iteration, document and relevance, separated by spaces. A file that ends in ``.gz`` is
        compressed. A crash leaves no half-written file.

        Raises:
            ConfigurationError: If the path is wrong, or its suffix is ``.json``, ``.parquet`` or ``.zst``.
            DatasetError: If the format has no place for the white space in an id.
            DiskFullError: If the disk is full.
            EngineError: If the file cannot be written.
        """
        write_judgments(given_path("path", path), self.qrels)
