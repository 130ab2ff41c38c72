"""Measures how much of the exact search's results the two-stage search finds in a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.search import search
from colbert_qdrant.collection.spans import query_spans, token_spans
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.migrate.source import read_points
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.search.options import CheckedOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.tokens import TokenEmbeddings

_DEPTH: Final = 10
_SEED: Final = 0

_SAME_SCORE: Final = 1e-5
"""The relative difference of two scores that are the same."""


async def check_quality(
    job: MigrationJob, converter: Converter, ids: Sequence[PointId], *, queries: int, min_recall: float
) -> tuple[Check, float | None]:
    """Search a target in both ways for pieces of some documents; the recall is ``None`` if it was not measured."""
    engine, target = job.target_engine, job.plan.target
    records = await read_points(engine, target, ids)
    pieces = await engine.runtime.compute(_take_pieces, converter, job.encoder, records, count=queries)
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
    advice = f", less than {min_recall:g}: give the search more candidates=…, or plan with a larger encoding (fde=…)"
    detail = (
        f"recall@{_DEPTH} of the two-stage search against exact MaxSim {recall:.3f} in {len(overlaps)} queries"
        f"{'' if passed else advice}"
    )
    return Check(name="quality", passed=passed, detail=detail), recall


def _skip(reason: str) -> Check:
    return Check(name="quality", passed=None, detail=reason)


def _overlap(exact: SearchHits, near: SearchHits) -> float:
    """Return how much of the best was found; of points with the same score, as duplicates have, any will do."""
    least = min(hit.score for hit in exact)
    return sum(hit.score >= least - _SAME_SCORE * abs(least) for hit in near) / len(exact)


def _take_pieces(
    converter: Converter, encoder: LateInteractionEncoder | None, records: Sequence[models.Record], *, count: int
) -> TokenEmbeddings:
    """Return token vectors of pieces as short as queries: of texts if those can be encoded, else of documents."""
    texts = [text for text in converter.find_texts(records) if text is not None]
    if encoder is not None and texts and (spans := query_spans(texts, seed=_SEED)[:count]):
        return encoder.encode_queries(spans)
    tokens, _ = converter.read_tokens(records)
    return token_spans(tokens, seed=_SEED)[:count] if len(tokens) else tokens
