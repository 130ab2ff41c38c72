"""Searches encodings through an HNSW graph, as a collection does."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.engines.edge import EDGE
from colbert_qdrant.points.schema import creation_arguments
from colbert_qdrant.search.options import CheckedOptions
from colbert_qdrant.search.request import RequestBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.evaluation.encodings.ranking import Ranking

_NAME: Final = "encodings"
_BATCH: Final = 128
_NO_TOKENS: Final = np.empty((0, 0), np.float32)


@dataclass(frozen=True, kw_only=True)
class GraphResult:
    """The result of searches through the graph.

    Attributes:
        ranking: Numbers of encodings, best first, shape ``(queries, limit)``, padded with -1.
        milliseconds: Mean time per query, one query at a time.
    """

    ranking: Ranking
    milliseconds: float


class EncodingGraph:
    """Encodings in a temporary embedded store with a collection's layout; made by `encoding_graph`."""

    def __init__(self, client: EdgeClient, config: CollectionConfig) -> None:
        self._client = client
        self._config = config

    def build(self, encoded: NDArray[np.float32]) -> None:
        """Store encodings ``(n, dim)`` under their numbers, and build the graph."""
        for start in range(0, len(encoded), _BATCH):
            points = [
                models.PointStruct(id=number, vector={self._config.fde_vector: vector.tolist()})
                for number, vector in enumerate(encoded[start : start + _BATCH], start)
            ]
            self._client.upsert(_NAME, points)
        self._client.optimize(_NAME)

    def search(self, queries: NDArray[np.float32], *, limit: int) -> GraphResult:
        """Find the nearest encodings of queries ``(queries, dim)`` with the parameters that a collection sends."""
        options = CheckedOptions(limit=limit, mode="fde", with_payload=False)
        builder = RequestBuilder(options=options, config=self._config, capabilities=EDGE)
        ranking = np.full((len(queries), limit), -1, np.int64)
        seconds = 0.0
        for query, row in zip(queries, ranking, strict=True):
            request = builder.request(_NO_TOKENS, {self._config.fde_vector: query.tolist()})
            started = time.perf_counter()
            points = self._client.query_batch_points(_NAME, [request])[0].points[:limit]
            seconds += time.perf_counter() - started
            row[: len(points)] = [point.id for point in points]
        return GraphResult(ranking=ranking, milliseconds=seconds * 1e3 / len(queries))


@contextmanager
def encoding_graph(config: CollectionConfig, *, dim: int) -> Iterator[EncodingGraph]:
    """Make a temporary, empty graph of encodings with the layout of ``config``, but without tokens.

    Raises:
        MissingExtraError: If the embedded engine is not installed.
    """
    vectors = creation_arguments(config, fde_dim=dim, token_dim=1, capabilities=EDGE)["vectors_config"]
    # even a few encodings get a graph, because they stand for a collection that has one
    optimizers = models.OptimizersConfigDiff(default_segment_number=config.segments, indexing_threshold=1)
    with TemporaryDirectory() as folder, EdgeClient(folder) as client:
        encodings = {config.fde_vector: vectors[config.fde_vector]}
        client.create_collection(_NAME, encodings, optimizers_config=optimizers)
        yield EncodingGraph(client, config)
