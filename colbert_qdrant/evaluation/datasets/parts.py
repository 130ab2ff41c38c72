"""Makes a test collection of its three parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

from colbert_qdrant._support.warned import warn
from colbert_qdrant.config.checks import require_instance, require_one_of
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.corpus import Corpus
from colbert_qdrant.evaluation.datasets.qrels import has_relevant, place_of, read_judgments
from colbert_qdrant.evaluation.datasets.query_texts import read_queries
from colbert_qdrant.shown import counted, shown
from colbert_qdrant.sources.item import SourceRow
from colbert_qdrant.sources.jsonl import jsonl_rows
from colbert_qdrant.sources.mapping import RowMapping
from colbert_qdrant.sources.shard import Shard

if TYPE_CHECKING:
    from colbert_qdrant.sources.paths import File

Missing: TypeAlias = Literal["error", "ignore"]
_MISSING: Final = ("error", "ignore")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a test collection, each of which can be opened several times.

    Attributes:
        name: The name in tables.
        corpus: Opens the documents, and bad rows; ``None`` if a collection has the documents.
        queries: Opens the queries, as rows with ``id`` and ``text``; ``None`` if there are only judgments.
        qrels: Opens the judgments, as rows with ``query``, ``document`` and ``relevance``.
        places: The places of queries and judgments, for messages.
        excludes_query_id: Whether a document with the id of the query is no hit.
    """

    name: str
    corpus: Callable[[], Iterable[Any]] | None
    queries: Callable[[], Iterable[SourceRow]] | None
    qrels: Callable[[], Iterable[SourceRow]]
    places: tuple[str, str]
    excludes_query_id: bool = False


class Contents(TypedDict):
    """The fields of a test collection."""

    name: str
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    documents: Corpus | None
    excludes_query_id: bool
    missing: Missing


def corpus_rows(file: File) -> Iterator[Any]:
    """Yield the documents of a file, and a bad row for each row without one."""
    return map(RowMapping().item, jsonl_rows(file, Shard()))


def check_options(title_separator: object, missing: object = "error") -> None:
    """Raise `ConfigurationError` if an option of a loader is wrong."""
    require_instance("title_separator", title_separator, str, "the text between title and text, such as '. '")
    require_one_of("missing", missing, _MISSING)


def assemble(parts: Parts, *, title_separator: str, missing: Missing = "error") -> Contents:
    """Read judgments and queries, look for the judged documents in the corpus, and return all.

    Raises:
        DatasetError: If a part is wrong; the message names the file and the line.
    """
    qrels_place = parts.places[1]
    qrels = read_judgments(parts.qrels())
    if not has_relevant(qrels):
        problem = "no judgment has a relevance of 1 or more" if qrels else "there are no judgments"
        raise DatasetError(f"{qrels_place}: {problem}, so there is nothing to measure: add judgments")
    queries = {} if parts.queries is None else _read_queries(parts.queries, parts, qrels, missing)
    corpus = None if parts.corpus is None else Corpus(parts.corpus, title_separator)
    if corpus is not None:
        _look_for_documents(corpus, parts, qrels, missing)
    return Contents(
        name=parts.name,
        queries=queries,
        qrels=qrels,
        documents=corpus,
        excludes_query_id=parts.excludes_query_id,
        missing=missing,
    )


def _read_queries(
    rows: Callable[[], Iterable[SourceRow]], parts: Parts, qrels: dict[str, dict[str, int]], missing: Missing
) -> dict[str, str]:
    """Return the texts of judged queries; judgments of unknown queries are an error, or are removed."""
    queries_place, qrels_place = parts.places
    queries = read_queries(rows(), qrels)
    if not queries:
        raise DatasetError(
            f"{queries_place} has no query that {qrels_place} judges, such as {shown(next(iter(qrels)))}: use the same "
            "ids in both files, and check the order of the columns"
        )
    unknown = [query for query in qrels if query not in queries]
    if unknown:
        if missing == "error":
            place = place_of(parts.qrels(), query=unknown[0])
            raise DatasetError(
                f"{place}: query {shown(unknown[0])} is not in {queries_place}{_more(unknown)}: add its text, or pass "
                'missing="ignore" to leave out the judgments of unknown queries'
            )
        warn(f"{qrels_place}: {counted(len(unknown), 'judged query')} left out, because {queries_place} lacks them")
        for query in unknown:
            del qrels[query]
    return queries


def _look_for_documents(corpus: Corpus, parts: Parts, qrels: dict[str, dict[str, int]], missing: Missing) -> None:
    """Read the whole corpus once."""
    found = corpus.scan(document for judged in qrels.values() for document in judged)
    if not found.count:
        raise DatasetError(f"data set {shown(parts.name)} has no documents with a text: correct its corpus")
    unknown = [document for judged in qrels.values() for document in judged if document in found.missing]
    if unknown and missing == "error":
        place = place_of(parts.qrels(), document=unknown[0])
        raise DatasetError(
            f"{place}: document {shown(unknown[0])} is not in the corpus{_more([*found.missing])}: correct the "
            'judgments, or pass missing="ignore" to count unknown documents as not found'
        )
    if found.empty:
        warn(f"data set {shown(parts.name)}: {counted(found.empty, 'document', 'have')} no text, and cannot be found")


def _more(unknown: list[str]) -> str:
    return f" ({len(unknown):,} are unknown)" if len(unknown) > 1 else ""
