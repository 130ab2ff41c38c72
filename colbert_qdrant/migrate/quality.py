"""How much of the exact search's results the two-stage search finds in a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.collection.search import search
from colbert_qdrant.collection.spans import query_spans, token_spans
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.search.options import CheckedOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.tokens import TokenEmbeddings

DEPTH: Final = 10

_SAME_SCORE: Final = 1e-5
"""Relative."""


async def check_quality(
    engine: Engine,
    target: str,
    *,
    encoder: LateInteractionEncoder,
    queries: TokenEmbeddings,
    min_recall: float,
) -> tuple[Check, float | None]:
    """Search a target in both ways.

    Args:
        engine: To the target's engine.
        target: The target.
        encoder: Its encoder.
        queries: Token vectors of queries.
        min_recall: The least recall@10 that passes.
    """
    opened = await OpenCollection.make("open", target, engine=engine, encoder=encoder)
    if not len(queries):
        return Check(name="quality", passed=None, detail="no point has token vectors"), None
    found = []
    for mode in ("exact", "two-stage"):
        try:
            options = CheckedOptions(limit=DEPTH, mode=mode, with_payload=False)
            found.append(await search(opened, queries, options))
        except ConfigurationError as error:  # strict mode
            return Check(name="quality", passed=None, detail=str(error)), None
    overlaps = [_overlap(exact, near) for exact, near in zip(*found, strict=True) if exact]
    if not overlaps:
        return Check(name="quality", passed=None, detail="no point has token vectors"), None
    recall = sum(overlaps) / len(overlaps)
    advice = (
        ""
        if recall >= min_recall
        else (f", less than {min_recall:g}: give the search more candidates=…, or plan with a larger encoding (fde=…)")
    )
    detail = (
        f"recall@{DEPTH} of the two-stage search against exact MaxSim {recall:.3f} in {len(overlaps)} queries{advice}"
    )
    return Check(name="quality", passed=recall >= min_recall, detail=detail), recall


def _overlap(exact: SearchHits, near: SearchHits) -> float:
    """How much of the best was found: which of the points with the same score, as duplicates have, does not matter."""
    least = min(hit.score for hit in exact)
    return sum(hit.score >= least - _SAME_SCORE * abs(least) for hit in near) / len(exact)


def sample_queries(
    converter: Converter,
    encoder: LateInteractionEncoder | None,
    records: Sequence[models.Record],
    *,
    count: int,
    seed: int,
) -> TokenEmbeddings:
    """Token vectors of pieces of documents, as short as queries: of their texts if those can be encoded."""
    texts = [text for text in converter.found_texts(records) if text is not None]
    if encoder is not None and texts and (spans := query_spans(texts, seed=seed)[:count]):
        return encoder.encode_queries(spans)
    tokens, _ = converter.stored_tokens(records)
    return token_spans(tokens, seed=seed)[:count] if len(tokens) else tokens
