"""Measures the recall of two-stage search in a target against exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.search import search
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.fde.spans import query_spans, token_spans
from colbert_qdrant.migrate.source import retrieve_pages
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.search.options import CheckedOptions
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob

_DEPTH: Final = 10
_SEED: Final = 0

_SAME_SCORE: Final = 1e-5
"""The relative difference below which two scores count as equal."""


async def check_quality(
    job: MigrationJob, converter: Converter, ids: Sequence[PointId], *, queries: int, min_recall: float
) -> tuple[Check, float | None]:
    """Search a target in both modes for pieces of documents; the recall is ``None`` if it was not measured."""
    engine, target = job.target_engine, job.plan.target
    documents = _Documents(converter, job.encoder)
    async for records in retrieve_pages(engine, target, ids):
        await engine.runtime.compute(documents.add, records)
    pieces = await engine.runtime.compute(documents.pieces, queries)
    opened = await job.open_target()
    if not len(pieces):
        return _skip("no point has token vectors"), None
    found = []
    for mode in ("exact", "two-stage"):
        try:
            options = CheckedOptions(limit=_DEPTH, mode=mode, with_payload=False)
            found.append(await search(opened, pieces, options))
        except ConfigurationError as error:  # strict mode
            return _skip(str(error)), None
    overlaps = [_overlap(exact, near) for exact, near in zip(*found, strict=True) if exact]
    if not overlaps:
        return _skip("no point has token vectors"), None
    recall = sum(overlaps) / len(overlaps)
    passed = recall >= min_recall
    advice = f", less than {min_recall:g}: search with more candidates=…, or plan with a larger encoding (fde=…)"
    detail = (
        f"recall@{_DEPTH} of two-stage search against exact MaxSim is {recall:.3f} over {len(overlaps)} queries"
        f"{'' if passed else advice}"
    )
    return Check(name="quality", passed=passed, detail=detail), recall


def _skip(reason: str) -> Check:
    return Check(name="quality", passed=None, detail=reason)


def _overlap(exact: SearchHits, near: SearchHits) -> float:
    """Return the share of the best hits that was found; points with equal scores, such as duplicates, are equal."""
    least = min(hit.score for hit in exact)
    return sum(hit.score >= least - _SAME_SCORE * abs(least) for hit in near) / len(exact)


class _Documents:
    """Documents whose pieces become queries."""

    def __init__(self, converter: Converter, encoder: LateInteractionEncoder | None) -> None:
        self._converter = converter
        self._encoder = encoder
        self._texts: list[str] = []
        self._tokens: list[TokenEmbeddings] = []

    def add(self, records: Sequence[models.Record]) -> None:
        """Keep the texts of points, if they can be encoded, and their token vectors."""
        if self._encoder is not None:
            self._texts += [text for text in self._converter.find_texts(records) if text is not None]
        tokens, _ = self._converter.read_tokens(records)
        self._tokens += [tokens] if len(tokens) else []

    def pieces(self, count: int) -> TokenEmbeddings:
        """Return token vectors of pieces as short as queries, encoded from texts or cut from stored token vectors."""
        if self._encoder is not None and (spans := query_spans(self._texts, seed=_SEED)[:count]):
            return self._encoder.encode_queries(spans)
        if not self._tokens:
            return TokenEmbeddings.from_matrices([], dim=1)
        return token_spans(TokenEmbeddings.concatenate(self._tokens), seed=_SEED)[:count]
