"""Reads and writes judgments: qrels in TREC's and BEIR's format, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import items_of, require_instance
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.datasets.table_files import (
    Table,
    identifier,
    is_trec_id,
    is_unicode,
    kind_of_table,
    write_text,
)
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from colbert_qdrant.sources.item import SourceRow

QRELS: Final = Table(
    names={
        "query": ("queryid", "qid", "query", "topic", "topicid"),
        "document": ("corpusid", "docid", "documentid", "docno", "pid", "passageid"),
        "relevance": ("score", "relevance", "rel", "label", "grade"),
    },
    required=("query", "document"),
    bare=("query", None, "document", "relevance"),
    header=("query-id", "corpus-id", "score"),
    spaced=True,
)
T = TypeVar("T")

LARGEST_GRADE: Final = 10_000
"""The largest relevance, because the time and the memory of trec_eval grow with it."""

_RELEVANCE: Final = re.compile(r"([+-]?\d{1,9})(\.0*)?")


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
                f"{row.where}: document {shown(document)} has relevance {relevance} for query {shown(query)}, and "
                f"{before} in an earlier line: remove one"
            )
    return qrels


def checked_judgments(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Return a caller's judgments as dicts of plain values.

    Raises:
        ConfigurationError: If they are not integers of at most 10,000, by document id by query id.
    """
    wanted = "a dict of relevance by document id, for each query id"
    require_instance("qrels", qrels, Mapping, wanted)
    made: dict[str, dict[str, int]] = {}
    for query, judged in items_of("qrels", qrels):
        _require_id("qrels", query)
        place = f"qrels[{shown(query)}]"
        require_instance(place, judged, Mapping, wanted)
        for id in judged:
            _require_id(place, id)
        made[query] = checked_grades(place, judged)
    return made


def checked_grades(place: str, judged: Mapping[T, int]) -> dict[T, int]:
    """Return a caller's relevance of documents as plain integers.

    Raises:
        ConfigurationError: If a relevance is not an integer of at most 10,000.
    """
    made = {id: value if type(value) is int else plain(value) for id, value in items_of(place, judged)}
    for id, value in made.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigurationError(f"{place}[{shown(id)}] must be an integer, got {shown(value)}")
        if value > LARGEST_GRADE:
            raise ConfigurationError(
                f"{place}[{shown(id)}] must be at most {LARGEST_GRADE:,}, got {shown(value)}: use smaller grades"
            )
    return made


def has_relevant(qrels: Mapping[str, Mapping[str, int]]) -> bool:
    """Tell whether a document is relevant to a query."""
    return any(relevance > 0 for judged in qrels.values() for relevance in judged.values())


def write_judgments(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments in the format that the suffix of a file tells; see `RetrievalDataset.write_qrels`."""
    kind = kind_of_table(path)
    line = _FORMATS.get(kind, _trec)
    lines = [line(query, id, relevance) for query, judged in qrels.items() for id, relevance in judged.items()]
    if kind in {"tsv", "csv"}:
        lines.insert(0, line(*QRELS.header))
    write_text(path, "".join(f"{each}\n" for each in lines))


def _trec(query: str, document: str, relevance: int | str) -> str:
    for id in (query, document):
        if not is_trec_id(id):
            raise DatasetError(
                f"TREC's format has no place for white space in id {shown(id)}: write a .tsv or .jsonl file"
            )
    return f"{query} 0 {document} {relevance}"


def _tsv(query: str, document: str, relevance: int | str) -> str:
    for id in (query, document):
        if {*id} & {*"\t\r\n"}:
            raise DatasetError(f"a .tsv file has no place for the white space in id {shown(id)}: write a .jsonl file")
    return f"{query}\t{document}\t{relevance}"


def _csv(query: str, document: str, relevance: int | str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow((query, document, relevance))
    return line.getvalue()


def _jsonl(query: str, document: str, relevance: int | str) -> str:
    return json.dumps({"query-id": query, "corpus-id": document, "score": relevance})


_FORMATS: Final = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl}


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
    found = _RELEVANCE.fullmatch(value.strip()) if isinstance(value, str) else None
    whole = isinstance(value, float) and value.is_integer()
    if found or whole or (isinstance(value, int) and not isinstance(value, bool)):
        relevance = int(found[1] if found else value)
        if relevance <= LARGEST_GRADE:
            return relevance
        raise DatasetError(f"{row.where}: the relevance is {shown(value, 60)}: use grades up to {LARGEST_GRADE:,}")
    header = f", or {QRELS.remedy}" if row.number == 1 and isinstance(value, str) else ""
    raise DatasetError(
        f"{row.where}: the relevance is {shown(value, 60)}, not an integer: use 0 for not relevant, and 1 or more for "
        f"relevant{header}"
    )


def _require_id(place: str, id: object) -> None:
    require_instance(f"an id in {place}", id, str, "a string")
    if not id or not is_unicode(str(id)):
        problem = f"is {shown(id)}, which is not valid Unicode" if id else "is empty"
        raise ConfigurationError(f"an id in {place} {problem}: use another id")
