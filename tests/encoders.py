"""A late-interaction encoder without a model, for tests of everything behind it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from colbert_qdrant import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass
class WordEncoder:
    """One vector per word, drawn from the word itself: equal words match with their squared length, others hardly.

    The vectors' values have few digits, so that float16 storage changes none of them and scores can be compared
    with numpy's to the last digits.
    """

    dim: int = 32
    salt: str = ""
    longest: int | None = None
    calls: int = 0
    encoded: int = 0

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        self.calls += 1
        return self._encode(texts)

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        self.calls += 1
        self.encoded += len(texts)
        return self._encode(texts)

    def fingerprint(self) -> dict[str, Any]:
        return {"type": "words", "name": f"words {self.salt}".strip(), "dim": self.dim, "salt": self.salt}

    def _encode(self, texts: Sequence[str]) -> TokenEmbeddings:
        matrices = [_matrix(text, self.salt, self.dim, self.longest) for text in texts]
        tokens = TokenEmbeddings.from_matrices(matrices, dim=self.dim)
        truncated = [self.longest is not None and len(text.split()) > self.longest for text in texts]
        return TokenEmbeddings(tokens.values, tokens.lengths, truncated=truncated)

    def _word(self, word: str) -> NDArray[np.float32]:
        return _vector(self.salt + word, self.dim)


@lru_cache(maxsize=20_000)
def _matrix(text: str, salt: str, dim: int, longest: int | None) -> NDArray[np.float32]:
    return np.stack([_vector(salt + word, dim) for word in text.split()[:longest]])


@lru_cache(maxsize=10_000)
def _vector(word: str, dim: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (np.round(vector / np.linalg.norm(vector) * 64) / 64).astype(np.float32)


@dataclass
class MatrixEncoder:
    """Gives ready token matrices in turn, whatever the text: for token embeddings that no model should make."""

    matrices: list[Any]
    dim: int = 32

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        return TokenEmbeddings.from_matrices(self.matrices[: len(texts)])

    def fingerprint(self) -> dict[str, Any]:
        return WordEncoder(dim=self.dim).fingerprint()


WORDS = [
    "anchor",
    "bridge",
    "candle",
    "desert",
    "engine",
    "forest",
    "garden",
    "harbor",
    "island",
    "jungle",
    "kitchen",
    "ladder",
    "market",
    "needle",
    "orange",
    "palace",
    "quarry",
    "river",
    "saddle",
    "temple",
    "umbrella",
    "valley",
    "window",
    "yellow",
    "zebra",
]


def random_texts(count: int, *, seed: int = 0, words: tuple[int, int] = (3, 12)) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(*words))) for _ in range(count)]
