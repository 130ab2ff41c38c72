"""Makes BM25's sparse vectors of texts: on the server where it can, else here, by the same code of Qdrant's.

Servers do it since 1.15.3; here it is done by the embedded engine's package, which contains the server's tokenizers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.errors import MissingExtraError
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.config import Bm25Config

_MODEL: Final = "Qdrant/bm25"


class LocalBm25:
    """Computes BM25's vectors in this process; raises `MissingExtraError` if the embedded engine is not installed."""

    def __init__(self, config: Bm25Config) -> None:
        try:
            edge: Any = importlib.import_module("qdrant_edge")
        except ImportError as error:
            raise MissingExtraError(
                "BM25 is computed by the embedded engine's package where a server does not: pip install "
                "'colbert-qdrant[edge]', or use Qdrant 1.16 or newer"
            ) from error
        options = config.options
        if "tokenizer" in options:
            options["tokenizer"] = edge.TokenizerType.Multilingual
        self._model = edge.Bm25(edge.Bm25Config(**options))

    def documents(self, texts: Sequence[str]) -> list[SparseVector | None]:
        """Make a vector per document, of how much its words count in it; ``None`` if it has stop words only."""
        return [_to_sparse(self._model.embed_document(text)) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[models.SparseVector | None]:
        """Make a vector per query, with 1 for each of its words; ``None`` if it has stop words only."""
        return [_to_query(self._model.embed_query(text)) for text in texts]


class ServerBm25:
    """Leaves BM25's vectors to the server, which is sent the texts."""

    def __init__(self, config: Bm25Config) -> None:
        self._options = config.options

    def documents(self, texts: Sequence[str]) -> list[models.Document]:
        """Return a text per document."""
        return [models.Document(text=text, model=_MODEL, options=self._options) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[models.Document]:
        """Return a text per query."""
        return self.documents(texts)


def make_bm25(config: Bm25Config, capabilities: Capabilities) -> LocalBm25 | ServerBm25:
    """Make the object that makes BM25's vectors for an engine."""
    return ServerBm25(config) if capabilities.has("bm25_inference") else LocalBm25(config)


def _to_sparse(vector: Any) -> SparseVector | None:
    if not vector.indices:
        return None
    return SparseVector(indices=np.array(vector.indices, np.uint32), values=np.array(vector.values, np.float32))


def _to_query(vector: Any) -> models.SparseVector | None:
    return models.SparseVector(indices=vector.indices, values=vector.values) if vector.indices else None
