"""The rows that are written, and the settings of collections."""

from __future__ import annotations

from typing import Any, Final

from colbert_qdrant import LemurConfig, MuveraConfig
from tests.encoders import random_texts

MUVERA: Final = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
LEMUR: Final = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=100)
_TEXTS: Final = random_texts(600)


def rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": str(n), "text": _TEXTS[n], "n": n} for n in range(start, start + count)]
