"""What tests of migrations share: an encoder of the writers' token vectors, and all that a collection holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import models

from colbert_qdrant import MuveraConfig, TokenEmbeddings
from tests.encoders import WordEncoder
from tests.writers import common

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.engines import Client

FDE = MuveraConfig(k_sim=3, dim_proj=8, r_reps=4)
QUERIES = ["The librarian found a map", "bees in a green notebook", "night-shift nurse closed the windows"]

TEXTS = common.texts(common.COUNT)
UNTIED = [
    " ".join(4 * [TEXTS[first]] + 3 * [TEXTS[first + 9]] + 2 * [TEXTS[first + 20]] + [TEXTS[first + 15]])
    for first in (3, 8, 19)
]
"""Queries whose best four answers all have other scores, so that their order is certain."""


@dataclass
class SentenceEncoder(WordEncoder):
    """The encoder of the writers' token vectors: words in lower case, without punctuation.

    With ``unit``, vectors have length 1, as an engine that compares them by cosine gives them back.
    """

    dim: int = common.DIM
    unit: bool = False

    def _encode(self, texts: Sequence[str]) -> TokenEmbeddings:
        matrices = [common.tokens(text) for text in texts]
        if self.unit:
            matrices = [matrix / np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in matrices]
        return TokenEmbeddings.from_matrices(matrices)


@dataclass(frozen=True)
class Point:
    """One point, in a form that can be compared."""

    payload: str
    vectors: Mapping[str, Any]


def point(number: int, text: str | None = None) -> models.PointStruct:
    """A point as many write them by hand: a dense vector, and the text in the payload."""
    text = text or TEXTS[number % common.COUNT]
    payload = {"text": text, "number": number}
    return models.PointStruct(id=number, vector={"dense": common.dense(text)}, payload=payload)


def everything(client: Client, collection: str) -> dict[Any, Point]:
    """All points of a collection by their ids, as the client reads them."""
    records, _ = client.scroll(collection, limit=1_000, with_payload=True, with_vectors=True)
    return {
        record.id: Point(
            json.dumps(record.payload or {}, sort_keys=True, ensure_ascii=False),
            record.vector if isinstance(record.vector, dict) else {} if record.vector is None else {"": record.vector},
        )
        for record in records
    }


def require_kept(
    before: Mapping[Any, Point], after: Mapping[Any, Point], *, rewritten: Sequence[str] = (), halved: bool = False
) -> None:
    """Raise unless all points are there, with the same payloads, and with the vectors that they had.

    Args:
        before, after: The points.
        rewritten: Vectors that may be others.
        halved: Whether vectors are kept in 16 bits where they are now, and were not before, as local mode never does.
    """
    assert list(after) == list(before)
    for id, point in before.items():
        assert after[id].payload == point.payload, id
        for name, vector in point.vectors.items():
            if name not in rewritten:
                _require_same(vector, after[id].vectors[name], 1e-3 if halved else 1e-6)


def point_to(client: Client, alias: str, collection: str) -> None:
    """Make an alias."""
    new = models.CreateAlias(alias_name=alias, collection_name=collection)
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=new)])


def aliases(client: Client) -> dict[str, str]:
    """All aliases, and what they stand for."""
    return {each.alias_name: each.collection_name for each in client.get_aliases().aliases}


def _require_same(first: Any, second: Any, tolerance: float) -> None:
    if isinstance(first, models.SparseVector):
        assert isinstance(second, models.SparseVector)
        assert _in_32_bits(first) == _in_32_bits(second)
    else:
        np.testing.assert_allclose(np.asarray(second), np.asarray(first), rtol=0, atol=tolerance)


def _in_32_bits(vector: models.SparseVector) -> dict[int, float]:
    """What engines store of a sparse vector; local mode gives back more digits."""
    return dict(zip(vector.indices, np.asarray(vector.values, np.float32).tolist(), strict=True))
