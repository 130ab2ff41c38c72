"""Encodings that must never change while `MuveraEncoder.VERSION` is 1: stored collections hold them.

    python -m tests.unit.fde.muvera_goldens

writes them anew from the definition; only a new version is a reason to.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from colbert_qdrant import MuveraConfig, TokenEmbeddings
from tests.unit.fde.muvera_reference import margin, reference

PATH = Path(__file__).parent / "goldens" / "muvera-1.npz"
CASES = {
    "plain": MuveraConfig(k_sim=3, dim_proj=5, r_reps=4, fill_empty=True),
    "one-cell": MuveraConfig(k_sim=0, dim_proj=6, r_reps=3, seed=1, fill_empty=True),
    "many-cells": MuveraConfig(k_sim=6, dim_proj=2, r_reps=2, seed=2**32 - 1, fill_empty=True),
    "unfilled": MuveraConfig(k_sim=4, dim_proj=3, r_reps=4),
    "final": MuveraConfig(k_sim=4, dim_proj=4, r_reps=6, final_projection=50, fill_empty=True),
    "final-unfilled": MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, seed=7, final_projection=300),
}


def tokens() -> TokenEmbeddings:
    """Three texts of 1, 4 and 11 tokens, the same on every machine."""
    values = np.sin(np.arange(1, 16 * 12 + 1) ** 1.5).reshape(16, 12)
    return TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), [1, 4, 11])


def main() -> None:
    arrays = {}
    for name, config in CASES.items():
        assert margin(config, tokens().values) > 1e-4, f"{name}: another machine might put a token into another cell"
        for side in ("query", "document"):
            encoded = [reference(config, text, document=side == "document") for text in tokens()]
            arrays[f"{name}.{side}"] = np.array(encoded, np.float32)
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
