"""Ranks candidates by exact MaxSim, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.documents import SearchHit, SearchHits
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Matrices = list[NDArray[np.float32] | None]

_CHUNK_TEXTS: Final = 128
"""Texts encoded at a time; only their scores are kept."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point to be ranked by its text."""

    id: int | str
    text: str
    payload: dict[str, Any]


def rank(
    queries: TokenEmbeddings,
    candidates: Sequence[Sequence[Candidate]],
    *,
    encode: Callable[[Sequence[str]], Matrices],
    limit: int,
    score_threshold: float | None,
) -> list[SearchHits]:
    """Rank each query's own candidates; candidates are omitted if ``encode`` returns ``None`` for their text."""
    scores = _scores(queries, [[candidate.text for candidate in each] for each in candidates], encode)
    ranked = []
    for each, by_text in zip(candidates, scores, strict=True):
        scored = [found for found in each if found.text in by_text]
        hits = [SearchHit(found.id, by_text[found.text], found.text, found.payload) for found in scored]
        best = SearchHits.ranked(hits)[:limit]
        ranked.append(SearchHits(hit for hit in best if score_threshold is None or hit.score >= score_threshold))
    return ranked


def _scores(
    queries: TokenEmbeddings, texts: Sequence[Sequence[str]], encode: Callable[[Sequence[str]], Matrices]
) -> list[dict[str, float]]:
    """Return, for each query, the scores of its texts."""
    scores: list[dict[str, float]] = [{} for _ in texts]
    different = list(dict.fromkeys(chain.from_iterable(texts)))
    for start in range(0, len(different), _CHUNK_TEXTS):
        chunk = different[start : start + _CHUNK_TEXTS]
        encoded = zip(chunk, encode(chunk), strict=True)
        matrices = {text: matrix for text, matrix in encoded if matrix is not None}
        for number, own in enumerate(texts):
            here = [text for text in dict.fromkeys(own) if text in matrices]
            if here:
                documents = TokenEmbeddings.from_matrices([matrices[text] for text in here])
                row = maxsim(queries[number : number + 1], documents)[0]
                scores[number].update(zip(here, row.tolist(), strict=True))
    return scores
