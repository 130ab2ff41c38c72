"""Reads and writes judgments: qrels in TREC's and BEIR's format, and JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import items_of, require_instance
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.datasets.columns import Table, identifier
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
    header="query-id\tcorpus-id\tscore",
    spaced=True,
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


def checked_judgments(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Return a caller's judgments as dicts of plain values.

    Raises:
        ConfigurationError: If they are not integers by document id by query id.
    """
    wanted = "a dict of relevance by document id, for each query id"
    require_instance("qrels", qrels, Mapping, wanted)
    made: dict[str, dict[str, int]] = {}
    for query, judged in items_of("qrels", qrels):
        require_instance("an id in qrels", query, str, "a string")
        require_instance(f"qrels[{query!r}]", judged, Mapping, wanted)
        relevances = {id: value if type(value) is int else plain(value) for id, value in items_of("qrels", judged)}
        for id, value in relevances.items():
            require_instance(f"an id in qrels[{query!r}]", id, str, "a string")
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigurationError(f"qrels[{query!r}][{id!r}] must be an integer, got {shown(value)}")
        made[query] = relevances
    return made


def has_relevant(qrels: Mapping[str, Mapping[str, int]]) -> bool:
    """Tell whether a document is relevant to a query."""
    return any(relevance > 0 for judged in qrels.values() for relevance in judged.values())


def write_judgments(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments in the format that the suffix of a file tells; see `RetrievalDataset.write_qrels`."""
    line = _FORMATS.get(path.suffix.lower(), _trec)
    lines = [line(query, id, relevance) for query, judged in qrels.items() for id, relevance in judged.items()]
    if line is _tsv:
        lines.insert(0, QRELS.header)
    try:
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be written ({error}): pass the path of a file in a folder that exists"
        ) from error


def _trec(query: str, document: str, relevance: int) -> str:
    for id in (query, document):
        if id.split() != [id]:
            raise DatasetError(f"TREC's format has no place for white space in id {id!r}: write a .tsv or .jsonl file")
    return f"{query} 0 {document} {relevance}"


def _tsv(query: str, document: str, relevance: int) -> str:
    for id in (query, document):
        if id != id.strip() or not id or {*id} & {*"\t\r\n"}:
            raise DatasetError(f"a .tsv file has no place for the white space in id {id!r}: write a .jsonl file")
    return f"{query}\t{document}\t{relevance}"


def _jsonl(query: str, document: str, relevance: int) -> str:
    return json.dumps({"query-id": query, "corpus-id": document, "score": relevance})


_FORMATS: Final = {".tsv": _tsv, ".jsonl": _jsonl}


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
