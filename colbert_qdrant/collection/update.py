"""Adds vectors to stored points, and bisects a batch that the engine refuses to isolate the bad points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import EngineError, RequestError, RequestRefusedError, RequestTooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId

_HOPELESS: Final = 3
"""After this number of single points was refused and no point was written, the update stops."""


@dataclass(frozen=True, kw_only=True)
class RefusedVectors:
    """A point whose vectors the engine refused."""

    id: PointId
    error: EngineError


async def update_vectors(
    engine: Engine,
    collection: str,
    changes: Sequence[models.PointVectors],
    *,
    only: models.Filter | None,
    float16: frozenset[str] = frozenset(),
) -> list[RefusedVectors]:
    """Add vectors to points, except points that were deleted; return the points whose vectors were refused.

    Args:
        engine: The engine.
        collection: The collection's name.
        changes: The vectors.
        only: A filter for the points to update; ``None`` for all.
        float16: The names of the vectors that the engine stores as float16, so that fewer digits are sent.

    Raises:
        EngineError: If the request failed despite retries, or the engine refuses the vectors of every point.
    """
    refused: list[RefusedVectors] = []
    waiting, written = [changes], False
    while waiting:
        batch = waiting.pop()
        try:
            await engine.update_vectors(collection, batch, update_filter=only, float16=float16)
            written = True
            continue
        except EngineError as error:
            if isinstance(error, RequestError) and not isinstance(error, RequestRefusedError | RequestTooLargeError):
                raise
            # every engine raises for a point that was deleted in the meantime, but only after it wrote the others
            stored = await engine.retrieve(
                collection, ids=[each.id for each in batch], with_payload=False, with_vectors=False
            )
            there = {record.id for record in stored}
            left = [each for each in batch if each.id in there]
            if len(left) == 1 == len(batch):
                refused.append(RefusedVectors(id=left[0].id, error=error))
                if not written and len(refused) == _HOPELESS:
                    raise  # these points are not the cause
                continue
        half = len(left) if len(left) < len(batch) else len(left) // 2
        waiting += [part for part in (left[half:], left[:half]) if part]
    return refused
