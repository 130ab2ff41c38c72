"""Writes the golden arrays of FastEmbed's ``Muvera``, which the variant ``"fastembed"`` has to agree with.

In an environment of its own, as it needs an older huggingface-hub::

    pip install fastembed==0.9.1
    python -m tests.parity.generate_fastembed

It writes `goldens/fastembed.npz`: an array `<case>.document` and `<case>.query` for each case, and who wrote it.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

PATH: Final = Path(__file__).parent / "goldens" / "fastembed.npz"
CASES: Final[dict[str, dict[str, int]]] = {
    "plain": {"dim": 16, "k_sim": 3, "dim_proj": 4, "r_reps": 3, "random_seed": 42},
    "not-projected": {"dim": 6, "k_sim": 2, "dim_proj": 6, "r_reps": 2, "random_seed": 7},
    "one-cell": {"dim": 8, "k_sim": 0, "dim_proj": 4, "r_reps": 2, "random_seed": 1},
    "many-cells": {"dim": 32, "k_sim": 6, "dim_proj": 2, "r_reps": 4, "random_seed": 3},
}
LENGTHS: Final = (1, 3, 20)


def tokens(dim: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Three texts, the same on every machine."""
    values = np.sin(np.arange(1, sum(LENGTHS) * dim + 1) ** 1.5).reshape(-1, dim)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return np.split(values.astype(np.float32), np.cumsum(LENGTHS)[:-1])


def encode(case: str, texts: list[np.ndarray[Any, np.dtype[np.float32]]]) -> dict[str, Any]:
    """What FastEmbed makes of texts, as documents and as queries, in double precision."""
    muvera = importlib.import_module("fastembed.postprocess").Muvera(**CASES[case])
    return {
        "document": np.array([muvera.process_document(text) for text in texts]),
        "query": np.array([muvera.process_query(text) for text in texts]),
    }


def main() -> None:
    """Write the arrays."""
    arrays = {
        f"{case}.{side}": array.astype(np.float32)
        for case in CASES
        for side, array in encode(case, tokens(CASES[case]["dim"])).items()
    }
    written_by = np.array([f"{package} {version(package)}" for package in ("fastembed", "numpy")])
    np.savez_compressed(PATH, written_by=written_by, **arrays)


if __name__ == "__main__":
    main()
