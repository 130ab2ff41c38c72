"""The numbers that LEMUR's stored artifacts must keep, in ``goldens/lemur-1.npz``.

The file has an artifact that release 0.1.0 fitted, tokens, and what that release encoded them to. It was written once:

    python -m tests.unit.fde.lemur_goldens
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from colbert_qdrant import LemurConfig, LemurEncoder, TokenEmbeddings

PATH: Final = Path(__file__).parent / "goldens" / "lemur-1.npz"


def write() -> None:
    """Fit a small encoder, with fewer own tokens than long documents have, and write what it encodes."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, 40, 60)
    values = random.standard_normal((lengths.sum(), 8)).astype(np.float32)
    tokens = TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), lengths)
    config = LemurConfig(dim=12, hidden=24, epochs=0, learn_tokens=150, own_tokens=10, fit_documents=40)
    encoder = LemurEncoder.fit(tokens, config=config)
    np.savez_compressed(
        PATH,
        artifact=np.frombuffer(encoder.to_bytes(), np.uint8),
        values=tokens.values,
        lengths=tokens.lengths,
        documents=encoder.encode_documents(tokens),
        queries=encoder.encode_queries(tokens),
    )


if __name__ == "__main__":
    write()
