"""Runs requests on Qdrant Edge, the embedded engine, in this process or in a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.engines.client import ClientEngine
from colbert_qdrant.points.point import to_numbers

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.engines.base import Files, Snapshots
    from colbert_qdrant.points.point import Point

EDGE: Final = Capabilities(
    engine="edge", lacks=frozenset({"bm25_inference", "sharding", "shard_keys", "strict_mode", "insert_only"})
)
"""The capabilities of Qdrant Edge."""

_COPY: Final = "collection"
"""The folder with the copy of a collection."""


class EdgeEngine(ClientEngine):
    """The engine of an `EdgeClient` or an `AsyncEdgeClient`."""

    NAME = "edge"
    BLOCKING: ClassVar = (EdgeClient,)
    AWAITED: ClassVar = (AsyncEdgeClient,)

    binary = True

    @property
    def files(self) -> Files:
        return self

    @property
    def snapshots(self) -> Snapshots:
        return self

    async def capabilities(self) -> Capabilities:
        return EDGE

    async def flush(self, collection: str) -> None:
        await self._call("flush", collection)

    async def optimize(self, collection: str) -> None:
        await self._call("optimize", collection)

    async def read(self, collection: str, file_name: str) -> bytes | None:
        """Read a file beside a collection; ``None`` if it does not exist."""
        data: bytes | None = await self._call("attachment", collection, file_name)
        return data

    async def write(self, collection: str, file_name: str, data: bytes | None) -> None:
        """Write a file beside a collection, or remove it."""
        await self._call("attach", collection, file_name, data)

    async def save(self, collection: str, folder: Path) -> None:
        """Copy a collection, with the files beside it."""
        await self._call("copy_collection", collection, str(folder / _COPY))

    async def load(self, collection: str, folder: Path) -> None:
        """Add a copy to the store."""
        await self._call("add_collection", collection, str(folder / _COPY))

    def to_struct(self, point: Point) -> models.PointStruct:
        """Keep vectors as arrays, which Edge's clients accept."""
        vectors = {
            name: vector if isinstance(vector, np.ndarray) else to_numbers(vector)
            for name, vector in point.vectors.items()
        }
        return models.PointStruct.model_construct(id=point.id, vector=vectors, payload=point.payload)
