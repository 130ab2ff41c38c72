"""Tells whether a collection has outgrown the documents that its encoding was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.fde import Fitted
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from colbert_qdrant.fde import FixedDimensionalEncoder

_TIMES: Final = 10
"""The growth from which a refit is worth recomputing all encodings.

Among 1,000 synthetic documents, LEMUR found .97 of MaxSim's top 10 in 50 candidates when it was fitted to all of
these documents.
Fitted to a third it found .91, to a tenth .84, and to a thirtieth .65.
"""


def say_outgrown(name: str, fde: FixedDimensionalEncoder | None, points: int) -> str | None:
    """Return a message with the remedy if a collection has outgrown its fit; ``None`` if it has not, or if unknown.

    A fit to ``fit_documents`` documents is never outgrown, because another fit would not use more.
    """
    seen = fde.fitted_documents if isinstance(fde, Fitted) else None
    if not isinstance(fde, Fitted) or seen is None or seen >= fde.config.fit_documents or points < _TIMES * seen:
        return None
    return (
        f"Collection {name!r} was fitted to only {counted(seen, 'document')}, and now has {points:,}, so its "
        "recall is lower than it could be. Call repair() or fit(refit=True) to fit it again."
    )
