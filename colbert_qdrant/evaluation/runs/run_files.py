"""Reads and writes run files: TREC's format, and JSON."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.table_files import (
    is_trec_id,
    opened,
    text_rows,
    trec_columns,
    uncompressed_name,
    unreadable,
    write_text,
)
from colbert_qdrant.shown import shown
from colbert_qdrant.sources.paths import DAMAGE

if TYPE_CHECKING:
    from colbert_qdrant.sources.item import SourceRow

Hits = Mapping[str, Mapping[str, float]]

_COLUMNS: Final = "query id, Q0, document id, rank, score, tag"
_LARGEST: Final = sys.float_info.max


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Return document ids by descending score, as trec_eval ranks them.

    trec_eval keeps scores as float32, so scores that differ less than that are tied. The larger id wins a tie.
    """
    with np.errstate(over="ignore"):  # beyond the range of float32, trec_eval has infinity, too
        rounded = np.fromiter(scores.values(), np.float64, len(scores)).astype(np.float32).tolist()
    return [document for _, document in sorted(zip(rounded, scores, strict=True), reverse=True)]


def read_run(path: Path) -> tuple[str | None, dict[str, dict[str, float]]]:
    """Return the tag of a run file, which JSON lacks, and the hits.

    Raises:
        DatasetError: If the file is missing, is no run file, or has no hits; the message names the line.
    """
    tag, hits = (None, _read_json(path)) if _is_json(path) else _read_trec(path)
    if not any(hits.values()):
        raise DatasetError(f"{path} has no hits: pass a run file with lines of {_COLUMNS}")
    return tag, hits


def write_run(path: Path, name: str, hits: Hits) -> None:
    """Write hits in TREC's format, or as JSON to a ``.json`` file; ``.gz`` compresses both.

    Raises:
        ConfigurationError: If its name ends in ``.zst``.
        DatasetError: If an id cannot be written.
        DiskFullError: If the disk is full.
        EngineError: If the file cannot be written.
    """
    write_text(path, json.dumps(hits, ensure_ascii=False) if _is_json(path) else "".join(_trec_lines(path, name, hits)))


def _is_json(path: Path) -> bool:
    return uncompressed_name(path).endswith(".json")


def _read_trec(path: Path) -> tuple[str | None, dict[str, dict[str, float]]]:
    tag: str | None = None
    hits: dict[str, dict[str, float]] = {}
    for row in text_rows(path):
        if not row.value.strip():
            continue
        columns = trec_columns(row.value)
        if len(columns) != 6:
            raise DatasetError(
                f"{row.where} has {len(columns)} columns instead of 6: write {_COLUMNS}, and use JSON if ids have "
                "spaces"
            )
        query, _, document, _, score, last = columns
        tag = tag or last
        of_query = hits.setdefault(query, {})
        if document in of_query:
            raise DatasetError(
                f"{row.where}: document {shown(document)} was found before for query {shown(query)}: remove one line"
            )
        of_query[document] = _score(score, row)
    return tag, hits


def _score(text: str, row: SourceRow) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score) or "_" in text:
        raise DatasetError(f"{row.where}: the score is {shown(text, 60)}, not a finite number: write {_COLUMNS}")
    return score


def _read_json(path: Path) -> dict[str, dict[str, float]]:
    try:
        with opened(path) as stream:
            text = stream.read().decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except DAMAGE as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8: convert the file to UTF-8") from error
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {error.lineno} is not JSON ({error.msg}): correct it") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(scores, dict) for scores in found.values()):
        raise DatasetError(f"{path} has other JSON than {{query id: {{document id: score}}}}: write it in this form")
    return {query: _json_scores(path, query, scores) for query, scores in found.items()}


def _json_scores(path: Path, query: str, scores: Mapping[str, Any]) -> dict[str, float]:
    for document, score in scores.items():
        if type(score) not in {int, float} or not abs(score) <= _LARGEST:
            raise DatasetError(
                f"{path}: the score of document {shown(document)} for query {shown(query)} is {shown(score, 60)}: "
                "write a finite number"
            )
    return {document: float(score) for document, score in scores.items()}


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {shown(key)} is there twice: remove one")
        made[key] = value
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"a score is {text}: write a finite number")


def _trec_lines(path: Path, name: str, hits: Hits) -> Iterator[str]:
    tag = re.sub(r"\s+", "-", name.strip()) or "run"
    for query, scores in hits.items():
        _check_id(path, "query", query)
        for rank, document in enumerate(ranked(scores), start=1):
            _check_id(path, "document", document)
            yield f"{query} Q0 {document} {rank} {scores[document]!r} {tag}\n"


def _check_id(path: Path, kind: str, value: str) -> None:
    if not is_trec_id(value):
        problem = "has white space, which separates the columns of a run file" if value else "is empty"
        raise DatasetError(f"{kind} id {shown(value)} {problem}: write JSON to {path.with_suffix('.json')} instead")
