"""Collections with the encodings of FastEmbed's ``Muvera`` beside the multivectors they are made of.

Where FastEmbed is missing, as it needs an older huggingface-hub, this library's variant of the same numbers stands in
for it; `tests/parity` compares the two.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import models

from colbert_qdrant import MuveraConfig, MuveraEncoder, TokenEmbeddings
from tests.writers import common
from tests.writers.common import COUNT, DIM, Written

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client import QdrantClient

K_SIM, DIM_PROJ, R_REPS, SEED = 3, 8, 4, 42


def cosine(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """Compared by cosine, as in FastEmbed's documentation."""
    return _write(client, collection, count, models.Distance.COSINE)


def dot(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """Compared by dot products, which is what MUVERA stands for."""
    return _write(client, collection, count, models.Distance.DOT)


class _StandIn:
    """This library's encoder behind the names of FastEmbed's."""

    def __init__(self) -> None:
        config = MuveraConfig(k_sim=K_SIM, dim_proj=DIM_PROJ, r_reps=R_REPS, seed=SEED, variant="fastembed")
        self._encoder = MuveraEncoder(config, token_dim=DIM)
        self.embedding_size = self._encoder.dim

    def process_document(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        encoding: NDArray[np.float32] = self._encoder.encode_documents(TokenEmbeddings.from_matrices([tokens]))[0]
        return encoding

    def process_query(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        encoding: NDArray[np.float32] = self._encoder.encode_queries(TokenEmbeddings.from_matrices([tokens]))[0]
        return encoding


def _muvera() -> Any:
    try:
        module = importlib.import_module("fastembed.postprocess")
    except ImportError:
        return _StandIn()
    return module.Muvera(dim=DIM, k_sim=K_SIM, dim_proj=DIM_PROJ, r_reps=R_REPS, random_seed=SEED)


def _tokens(text: str) -> NDArray[np.float32]:
    """Of length 1, as the models that FastEmbed runs make them."""
    tokens = common.tokens(text)
    unit: NDArray[np.float32] = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    return unit


def _write(client: QdrantClient, collection: str, count: int, distance: models.Distance) -> Written:
    muvera = _muvera()
    client.create_collection(
        collection,
        vectors_config={
            "muvera": models.VectorParams(size=muvera.embedding_size, distance=distance),
            "colbert": models.VectorParams(
                size=DIM,
                distance=models.Distance.COSINE,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            ),
        },
    )
    texts = common.texts(count)
    client.upsert(
        collection,
        [
            models.PointStruct(
                id=number,
                vector={
                    "muvera": np.asarray(muvera.process_document(_tokens(text))).tolist(),
                    "colbert": _tokens(text).tolist(),
                },
                payload={"document": text, **common.metadata(number)},
            )
            for number, text in enumerate(texts)
        ],
    )

    def search(name: str, query: str) -> list[str]:
        tokens = _tokens(query)
        candidates = models.Prefetch(query=np.asarray(muvera.process_query(tokens)).tolist(), using="muvera", limit=20)
        found = client.query_points(name, prefetch=candidates, query=tokens.tolist(), using="colbert", limit=4)
        return [str(point.payload["document"]) for point in found.points if point.payload]

    return Written(client, collection, text_path="document", texts=dict(enumerate(texts)), search=search)
