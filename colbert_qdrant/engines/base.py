"""Defines the `Engine` Protocol: the coroutines that this library calls on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from colbert_qdrant._support.values import plain
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.points.ids import NATIVE_RANGE
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.engines.runtime import Runtime
    from colbert_qdrant.points.point import Point

Client: TypeAlias = QdrantClient | EdgeClient
"""The blocking clients, which share their method names."""

AsyncClient: TypeAlias = AsyncQdrantClient | AsyncEdgeClient
"""The async clients."""

ShardKey: TypeAlias = str | int
"""The name of a group of shards in a collection with custom sharding."""

PointId: TypeAlias = int | str | UUID
"""A point's id."""

Selector: TypeAlias = models.Filter | models.FilterSelector | models.PointIdsList
"""The points that a write applies to."""


class Answers(NamedTuple):
    """The responses to several searches.

    Attributes:
        responses: One response per search, in order.
        seconds: The server's processing time; ``None`` if the engine does not report it.
    """

    responses: list[QueryResponse]
    seconds: float | None


class Files(Protocol):
    """Files that an engine keeps beside a collection."""

    async def read(self, collection: str, file_name: str) -> bytes | None:
        """Read a file; ``None`` if it does not exist."""

    async def write(self, collection: str, file_name: str, data: bytes | None) -> None:
        """Replace a file, or remove it if ``data`` is ``None``."""


class Snapshots(Protocol):
    """Consistent copies of whole collections."""

    async def save(self, collection: str, folder: Path) -> None:
        """Write a copy of a collection into a folder that exists.

        Raises:
            CapabilityError: If the engine cannot copy all of the collection.
        """

    async def load(self, collection: str, folder: Path) -> None:
        """Make a collection, which must not exist yet, of a copy that `save` wrote."""


class Engine(Protocol):
    """An engine that a user's client connects to.

    Every method is one request unless it states otherwise. Each request has a deadline, is retried after transient
    failures, and raises this library's errors. Names and parameters are those of ``qdrant_client``.
    """

    @property
    def client(self) -> object:
        """The user's client; two engines with the same client are the same engine."""

    @property
    def runtime(self) -> Runtime:
        """The runtime for coroutines that use the engine."""

    @property
    def shard_key(self) -> ShardKey | None:
        """The shard key of all requests; ``None`` for all shards."""

    @property
    def binary(self) -> bool:
        """Whether numbers are sent as bytes instead of decimal digits."""

    @property
    def reserved(self) -> set[str]:
        """Collections that are known to keep their metadata in a point, because a server before 1.16 created them."""

    @property
    def files(self) -> Files | None:
        """Files beside collections; ``None`` if the engine cannot store files."""

    @property
    def snapshots(self) -> Snapshots | None:
        """Copies of collections; ``None`` if the engine cannot make any."""

    async def capabilities(self) -> Capabilities:
        """Return the features of the engine; a server's version is requested once.

        Raises:
            CapabilityError: If the server is older than 1.10.
        """

    async def collection_exists(self, collection: str) -> bool:
        """Tell whether a collection or alias of that name exists."""

    async def get_collection(self, collection: str) -> models.CollectionInfo:
        """Describe a collection."""

    async def cluster_info(self, collection: str) -> models.CollectionClusterInfo | None:
        """Describe shards and replicas; ``None`` if the engine has no shards, or the client's key may not see them."""

    async def optimizations(self, collection: str) -> models.OptimizationsResponse | None:
        """Describe pending optimizations; ``None`` if the engine does not report them, or not to the client's key."""

    async def create_collection(self, collection: str, **settings: Any) -> None:
        """Create an empty collection."""

    async def update_collection(self, collection: str, **settings: Any) -> None:
        """Change a collection's settings or metadata."""

    async def delete_collection(self, collection: str) -> None:
        """Delete a collection with all its points."""

    async def missing_copies(self, collection: str, *, like: str, copies: int) -> list[models.ReplicateShard]:
        """Return the replicas that a collection lacks, on the nodes of the collection ``like``."""

    async def replicate_shard(self, collection: str, copy: models.ReplicateShard) -> None:
        """Start to replicate a shard to another node."""

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
        """Return the collection's name of every alias."""

    async def update_aliases(self, operations: Sequence[models.AliasOperations]) -> None:
        """Apply all changes of aliases, or none."""

    async def upsert(
        self, collection: str, points: Sequence[Point], *, insert_only: bool = False, ordered: bool = False
    ) -> None:
        """Store points and wait until they are applied.

        Args:
            collection: The collection's name.
            points: The points; each replaces the whole stored point.
            insert_only: Do not replace points that are stored already.
            ordered: Let a later write of this engine to the same points win, even if the server applies this one last.
                It needs a condition on payload keys without an index, and a server with the feature `update_filter`.
        """

    async def update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        update_filter: models.Filter | None = None,
        float16: frozenset[str] = frozenset(),
    ) -> None:
        """Replace the given vectors of points, or of those that match a filter.

        ``float16`` names the vectors that the engine stores as float16, so that fewer digits are sent.
        """

    async def delete_vectors(self, collection: str, *, vectors: Sequence[str], points: models.Filter) -> None:
        """Remove vectors from points."""

    async def set_payload(
        self, collection: str, payload: Mapping[str, Any], *, points: models.Filter, key: str | None = None
    ) -> None:
        """Merge a payload into the payload of points, or into the object at its path ``key``."""

    async def delete_payload(self, collection: str, keys: Sequence[str], *, points: models.Filter) -> None:
        """Remove the values at paths from the payload of points."""

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
        """Read points by id; ids that are not stored are left out."""

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
        """Read a page of points and the offset of the next page, which is ``None`` after the last page."""

    async def count(self, collection: str, count_filter: models.Filter | None = None) -> int:
        """Count points exactly; if the server forbids exact counts, read all ids page by page."""

    async def search(self, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
        """Run searches that this library built, in one request."""

    async def search_given(self, collection: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        """Run a user's searches through the client, which may convert texts in them to vectors."""

    async def search_groups(
        self, collection: str, request: models.QueryRequest, *, group_by: str, group_size: int
    ) -> list[models.PointGroup]:
        """Run a search for groups of points."""

    async def flush(self, collection: str) -> None:
        """Make all acknowledged writes durable, unless the engine always does that on its own."""

    async def optimize(self, collection: str) -> None:
        """Build the graphs of a collection now, if the engine does not build them automatically."""


def checked_shard_key(key: object) -> ShardKey | None:
    """Return a shard key in the form that servers accept.

    Raises:
        ConfigurationError: If it is neither a string nor an unsigned 64-bit integer.
    """
    key = plain(key)
    if key is None or isinstance(key, str):
        return key
    if isinstance(key, bool) or not isinstance(key, int) or key not in NATIVE_RANGE:
        raise ConfigurationError(
            f"shard_key must be a string or an integer from 0 to 2**64 - 1, got {shown(key)} of type "
            f"{type(key).__name__}: convert it with str(…)"
        )
    return key
