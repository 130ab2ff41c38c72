"""Makes BM25's sparse vectors: on the server if it can, otherwise in this process, with the same code.

Servers have done this since 1.15.3. In this process, the embedded engine's package makes them, because it contains
the server's tokenizers.
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
    """Computes BM25's vectors in this process.

    Raises:
        MissingExtraError: If the embedded engine's package is not installed.
    """

    def __init__(self, config: Bm25Config) -> None:
        try:
            edge: Any = importlib.import_module("qdrant_edge")
        except ImportError as error:
            raise MissingExtraError(
                "this engine cannot compute BM25, and the package qdrant-edge-py is not installed: run pip install "
                "'colbert-qdrant[edge]', or use a server of Qdrant 1.16 or newer"
            ) from error
        options = config.options
        if "tokenizer" in options:
            options["tokenizer"] = edge.TokenizerType.Multilingual
        self._model = edge.Bm25(edge.Bm25Config(**options))

    def documents(self, texts: Sequence[str]) -> list[SparseVector | None]:
        """Make one vector of word weights per document; ``None`` for a document of stop words only."""
        return [_to_sparse(self._model.embed_document(text)) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[models.SparseVector | None]:
        """Make one vector per query, with 1 for each word; ``None`` for a query of stop words only."""
        return [_to_query(self._model.embed_query(text)) for text in texts]


class ServerBm25:
    """Sends texts to the server, which computes BM25's vectors."""

    def __init__(self, config: Bm25Config) -> None:
        self._options = config.options

    def documents(self, texts: Sequence[str]) -> list[models.Document]:
        """Return one text per document, for the server to encode."""
        return [models.Document(text=text, model=_MODEL, options=self._options) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[models.Document]:
        """Return one text per query, for the server to encode."""
        return self.documents(texts)


def make_bm25(config: Bm25Config, capabilities: Capabilities) -> LocalBm25 | ServerBm25:
    """Make the BM25 encoder for an engine."""
    return ServerBm25(config) if capabilities.has("bm25_inference") else LocalBm25(config)


def _to_sparse(vector: Any) -> SparseVector | None:
    if not vector.indices:
        return None
    return SparseVector(indices=np.array(vector.indices, np.uint32), values=np.array(vector.values, np.float32))


def _to_query(vector: Any) -> models.SparseVector | None:
    return models.SparseVector(indices=vector.indices, values=vector.values) if vector.indices else None
