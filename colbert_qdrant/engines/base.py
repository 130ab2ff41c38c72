"""Defines the `Engine` Protocol: the methods of an engine that this library uses, as coroutines."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from colbert_qdrant._support.values import plain
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.points.ids import NATIVE_RANGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.engines.runtime import Runtime
    from colbert_qdrant.points.point import Point

Client: TypeAlias = QdrantClient | EdgeClient
"""The clients that block: the two have the same method names."""

AsyncClient: TypeAlias = AsyncQdrantClient | AsyncEdgeClient
"""The clients whose methods are awaited."""

ShardKey: TypeAlias = str | int
"""Names the shards of a collection with custom sharding that requests are for."""

PointId: TypeAlias = int | str | UUID
"""A point's id."""

Selector: TypeAlias = models.Filter | models.FilterSelector | models.PointIdsList
"""The points that a write is about."""


class Answers(NamedTuple):
    """The answers to several searches.

    Attributes:
        responses: One per search, in their order.
        seconds: How long the server worked; ``None`` if the engine does not say.
    """

    responses: list[QueryResponse]
    seconds: float | None


class Files(Protocol):
    """Files that an engine keeps beside a collection."""

    async def read(self, collection: str, file_name: str) -> bytes | None:
        """Read a file; ``None`` if there is none."""

    async def write(self, collection: str, file_name: str, data: bytes | None) -> None:
        """Write a file whole, or remove it if ``data`` is ``None``."""


class Engine(Protocol):
    """One engine, reached through a client of the user's.

    Every method is one request, where it does not say otherwise. It is bounded in time, sent again where that may help,
    and fails with this library's errors. Names and parameters are those of ``qdrant_client``.
    """

    @property
    def client(self) -> object:
        """The user's client; two engines are one if they have the same."""

    @property
    def runtime(self) -> Runtime:
        """Runs the coroutines that use the engine."""

    @property
    def shard_key(self) -> ShardKey | None:
        """The shards that requests are for; ``None`` for all."""

    @property
    def binary(self) -> bool:
        """Whether numbers travel as bytes, not as decimal digits."""

    @property
    def reserved(self) -> set[str]:
        """Collections whose metadata are known to be in a point: those that a server before 1.16 made."""

    @property
    def files(self) -> Files | None:
        """Files beside collections; ``None`` if the engine keeps none."""

    async def capabilities(self) -> Capabilities:
        """Return what the engine can do; a server is asked for its version once.

        Raises:
            CapabilityError: The server is older than 1.10.
        """

    async def collection_exists(self, collection: str) -> bool:
        """Tell whether there is such a collection, or an alias of that name."""

    async def get_collection(self, collection: str) -> models.CollectionInfo:
        """Describe a collection."""

    async def cluster_info(self, collection: str) -> models.CollectionClusterInfo | None:
        """Describe shards and their copies; ``None`` if the engine has none, or the client's key may not see them."""

    async def optimizations(self, collection: str) -> models.OptimizationsResponse | None:
        """Describe what is still to be built; ``None`` if the engine does not say, or not to the client's key."""

    async def create_collection(self, collection: str, **settings: Any) -> None:
        """Create an empty collection."""

    async def update_collection(self, collection: str, **settings: Any) -> None:
        """Change a collection's settings or metadata."""

    async def delete_collection(self, collection: str) -> None:
        """Delete a collection with all its points."""

    async def missing_copies(self, collection: str, *, like: str, copies: int) -> list[models.ReplicateShard]:
        """Return the copies of shards that a collection lacks, on nodes of the collection that it is to be like."""

    async def replicate_shard(self, collection: str, copy: models.ReplicateShard) -> None:
        """Begin to make a copy of a shard on another node."""

    async def create_payload_index(self, collection: str, *, field_name: str, field_schema: Any) -> None:
        """Index a payload key."""

    async def create_vector_name(
        self, collection: str, name: str, config: models.DenseVectorNameConfig | models.SparseVectorNameConfig
    ) -> None:
        """Add a vector to a collection."""

    async def delete_vector_name(self, collection: str, name: str) -> None:
        """Remove a vector from a collection and all its points."""

    async def collection_names(self) -> list[str]:
        """Return the names of all collections."""

    async def get_aliases(self) -> Mapping[str, str]:
        """Return the collection of every alias."""

    async def update_aliases(self, operations: Sequence[models.AliasOperations]) -> None:
        """Change aliases, all of them or none."""

    async def upsert(
        self, collection: str, points: Sequence[Point], *, insert_only: bool = False, ordered: bool = False
    ) -> None:
        """Store points and wait until they are applied.

        Args:
            collection: The collection's name.
            points: The points, each replaced whole if it is stored already.
            insert_only: Leave alone the points that are stored already.
            ordered: Have a later write of this engine to the same points win, also where the server applies this one
                last. It takes a condition on payload keys without an index, and a server that knows `update_filter`.
        """

    async def update_vectors(
        self, collection: str, points: Sequence[models.PointVectors], *, update_filter: models.Filter | None = None
    ) -> None:
        """Replace the given vectors of points, or of those that match a filter."""

    async def delete_vectors(self, collection: str, *, vectors: Sequence[str], points: models.Filter) -> None:
        """Remove vectors from points."""

    async def delete(self, collection: str, *, points_selector: Selector) -> None:
        """Delete points."""

    async def retrieve(
        self,
        collection: str,
        *,
        ids: Sequence[PointId],
        with_payload: bool | list[str] = True,
        with_vectors: bool | list[str] = False,
    ) -> list[models.Record]:
        """Read points by their ids; those that are not stored are left out."""

    async def scroll(
        self,
        collection: str,
        *,
        scroll_filter: models.Filter | None,
        limit: int,
        offset: PointId | None,
        with_payload: bool | list[str],
        with_vectors: bool | list[str],
    ) -> tuple[list[models.Record], PointId | None]:
        """Read a page of points, and where the next one begins; ``None`` after the last."""

    async def count(self, collection: str, count_filter: models.Filter | None = None) -> int:
        """Count points exactly; where a server forbids that, their ids are read, page by page."""

    async def search(self, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
        """Answer searches that this library built, in one request."""

    async def search_given(self, collection: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        """Answer a user's own searches, as the client sends them: it may turn texts in them into vectors."""

    async def search_groups(
        self, collection: str, request: models.QueryRequest, *, group_by: str, group_size: int
    ) -> list[models.PointGroup]:
        """Answer a search for groups of points."""

    async def optimize(self, collection: str) -> None:
        """Build the graphs of a collection now, where the engine does not do so by itself."""


def checked_shard_key(key: object) -> ShardKey | None:
    """Return a shard key as servers take it.

    Raises:
        ConfigurationError: It is neither a string nor a whole number of 64 bits that is not negative.
    """
    key = plain(key)
    if key is None or isinstance(key, str):
        return key
    if isinstance(key, bool) or not isinstance(key, int) or key not in NATIVE_RANGE:
        raise ConfigurationError(
            f"shard_key must be a string or a whole number from 0 to 2**64 - 1, got {short(key)}, of type "
            f"{type(key).__name__}: use str(…)"
        )
    return key
