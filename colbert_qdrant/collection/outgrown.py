"""Tells whether a collection has outgrown the documents that its encoding was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.fde import Fitted

if TYPE_CHECKING:
    from colbert_qdrant.fde import FixedDimensionalEncoder

_TIMES: Final = 10
"""A refit encodes everything anew, so it has to gain much. LEMUR found, of MaxSim's first ten among 1,000 synthetic
documents, .97 in its first 50 when it was fitted to all, .91 to a third, .84 to a tenth, and .65 to a thirtieth."""


def say_outgrown(name: str, fde: FixedDimensionalEncoder | None, points: int) -> str | None:
    """Return a sentence that says so, and the remedy; ``None`` if it has not, or nobody knows.

    A fit that saw all documents that its settings ask for is never outgrown: another would not see more.
    """
    seen = fde.fitted_documents if isinstance(fde, Fitted) else None
    if not isinstance(fde, Fitted) or seen is None or seen >= fde.config.fit_documents or points < _TIMES * seen:
        return None
    return (
        f"Collection {name!r} was fitted to {seen:,} documents only, and has {points:,} by now, so its encodings find "
        "less than they could. Call repair(), or fit(refit=True), to fit it again."
    )
