"""Implements one collection: an engine shard and its manifest."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import qdrant_edge as edge
from pydantic import BaseModel
from qdrant_client import models
from qdrant_client.http.models import QueryResponse  # `models.QueryResponse` is another class

from colbert_qdrant.edge import payload_index
from colbert_qdrant.edge.attachments import attachment_path
from colbert_qdrant.edge.bounds import check_bounds, check_number
from colbert_qdrant.edge.build import APART, APART_BYTES, build_apart
from colbert_qdrant.edge.checkpoints import Checkpoints
from colbert_qdrant.edge.describe import collection_info, vector_params
from colbert_qdrant.edge.failures import engine_errors
from colbert_qdrant.edge.fields import read_fields, unsupported_error
from colbert_qdrant.edge.files import read_file, remove_file, write_file
from colbert_qdrant.edge.filters import to_filter
from colbert_qdrant.edge.groups import GroupSearch
from colbert_qdrant.edge.manifest import dump_models
from colbert_qdrant.edge.points import (
    from_id,
    from_record,
    from_scored_point,
    to_names,
    to_payload,
    to_selector,
    to_vectors,
)
from colbert_qdrant.edge.queries import to_order, to_request
from colbert_qdrant.edge.shapes import at_key, check_depth, check_vectors, json_bytes, layout_of, vector_bytes
from colbert_qdrant.edge.shards import SHARD_NAME, open_shard
from colbert_qdrant.edge.space import BYTES_ON_DISK, require_space, used_bytes
from colbert_qdrant.edge.vector_changes import creation_operation, with_changes, with_vector, without_vector
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from qdrant_client.conversions.common_types import PointId

    from colbert_qdrant.edge.checkpoints import Durability
    from colbert_qdrant.edge.lock import StoreLock
    from colbert_qdrant.edge.manifest import Manifest
    from colbert_qdrant.edge.types import Selector
    from colbert_qdrant.edge.vector_changes import VectorNameConfig

_HALTED = "Not recovered from previous error"
"""The message with which a shard refuses all writes after an incomplete write, until it is reopened."""


class Collection:
    """An open collection. All methods accept and return qdrant-client's models."""

    def __init__(
        self,
        name: str,
        folder: Path,
        manifest: Manifest,
        shard: edge.EdgeShard,
        durability: Durability,
        lock: StoreLock,
    ) -> None:
        self.name = name
        self.shard = shard
        self._folder = folder
        self._guard = threading.RLock()
        self._checkpoints = Checkpoints(self.checkpoint, durability)
        self._point_bytes: float | None = None
        self._lock = lock
        self._built = False
        self._set_manifest(manifest)

    def close(self) -> None:
        """Flush everything to disk and close the files."""
        with self._engine_call("close"):
            try:
                self._flush()
            finally:
                self.shard.close()

    @contextlib.contextmanager
    def closed(self) -> Iterator[Path]:
        """Return the folder, whose files do not change within the context; other calls wait."""
        with self._guard:
            self.close()
            try:
                yield self._folder
            finally:
                self.shard = open_shard(self._folder, self._manifest)

    def flush(self) -> None:
        """Flush everything to disk."""
        with self._engine_call("flush"):
            self._flush()

    def checkpoint(self) -> None:
        """Flush pending writes to disk, before an operation that relies on them."""
        if self._checkpoints.due:
            self.flush()

    def optimize(self) -> bool:
        """Build the indexes; returns True if anything was built."""
        with self._engine_call("optimize"):
            size = used_bytes(self._segments)
            require_space(self._folder, size, f"{self._where}: rebuilding its segments")
            if APART and size > APART_BYTES:
                with self.closed() as folder:
                    changed = build_apart(folder / SHARD_NAME, lock=self._lock.fileno())
            else:
                changed = self.shard.optimize()
            self._flush()  # deletes replaced segments
            self._built = True
            return changed

    def info(self) -> models.CollectionInfo:
        """Describe the collection."""
        with self._engine_call("get_collection"):
            return collection_info(self._manifest, self.shard.info(), built=self._built)

    def change(self, metadata: Mapping[str, Any], vectors: Mapping[str, models.VectorParamsDiff]) -> None:
        """Merge metadata by top-level keys (None deletes a key), and change parameters of vectors."""
        with self._engine_call("update_collection"):
            require_space(self._folder, 0, f"{self._where}: changing it")
            config = with_changes(self._manifest.config, self._where, vectors)
            changed = replace(self._manifest, config=config)
            changed.merge(metadata)
            if config is self._manifest.config:
                self._write_manifest(changed)
            else:
                self._reopen(changed)

    def create_vector(self, name: str, value: VectorNameConfig) -> None:
        """Add a vector, without values in any point."""
        with self._engine_call("create_vector_name"):
            config = with_vector(self._manifest.config, self._where, name, value)
            if config is not self._manifest.config:
                self._replace_vector(name, config, creation_operation(config, name))

    def delete_vector(self, name: str) -> None:
        """Remove a vector from the collection and all its points."""
        with self._engine_call("delete_vector_name"):
            config = without_vector(self._manifest.config, self._where, name)
            if config is not self._manifest.config:
                self._replace_vector(name, config)

    def upsert(self, points: Sequence[models.PointStruct]) -> None:
        """Insert points, or replaces whole points."""
        with self._engine_call("upsert"):
            made = [self._point(point) for point in points]
            operation = edge.UpdateOperation.upsert_points([point for point, _ in made])
            self._update(operation, sum(size for _, size in made))

    def update_vectors(self, points: Sequence[models.PointVectors], matching: models.Filter | None) -> None:
        """Replace the given vectors of points, or of the points that match the filter."""
        with self._engine_call("update_vectors"):
            made = [(point.id, self._vectors(point)) for point in points]
            changes = [edge.PointVectors(id, vectors) for id, vectors in made]
            condition = None if matching is None else to_filter(matching)
            size = sum(vector_bytes(self._layout, vectors) for _, vectors in made)
            self._update(edge.UpdateOperation.update_vectors(changes, condition), size + self._copied(len(made)))

    def delete_vectors(self, names: Sequence[str], points: Selector) -> None:
        """Remove vectors from points."""
        operations = edge.UpdateOperation
        with self._engine_call("delete_vectors"):
            self._select(points, operations.delete_vectors, operations.delete_vectors_by_filter, list(names))

    def attach(self, file_name: str, data: bytes | None) -> None:
        """Store a file with the collection; None removes the file."""
        path = attachment_path(self._folder, file_name)
        with self._guard:
            if data is not None:
                require_space(self._folder, len(data), f"{self._where}: attaching {file_name!r}")
            self.checkpoint()
            if data is None:
                remove_file(path)
            else:
                write_file(path, data)

    def attachment(self, file_name: str) -> bytes | None:
        """Read a file that is stored with the collection; returns None if it does not exist."""
        return read_file(attachment_path(self._folder, file_name))

    def set_payload(self, payload: models.Payload, points: Selector, key: str | None) -> None:
        """Merge a payload into the payload of points."""
        operations = edge.UpdateOperation
        check_depth(
            at_key(payload, key), f"{self._where}: the payload at key {key!r}" if key else f"{self._where}: payload"
        )
        with self._engine_call("set_payload"):
            self._select(points, operations.set_payload, operations.set_payload_by_filter, to_payload(payload), key)

    def overwrite_payload(self, payload: models.Payload, points: Selector) -> None:
        """Replace the payload of points."""
        operations = edge.UpdateOperation
        with self._engine_call("overwrite_payload"):
            self._select(
                points, operations.overwrite_payload, operations.overwrite_payload_by_filter, to_payload(payload)
            )

    def delete_payload(self, keys: Sequence[str], points: Selector) -> None:
        """Remove fields from the payload of points."""
        operations = edge.UpdateOperation
        with self._engine_call("delete_payload"):
            self._select(points, operations.delete_payload, operations.delete_payload_by_filter, list(keys))

    def delete(self, points: Selector) -> None:
        """Delete points."""
        with self._engine_call("delete"):
            self._select(points, edge.UpdateOperation.delete_points, edge.UpdateOperation.delete_points_by_filter)

    def query_batch(self, operation: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        """Run queries in one pass over the collection."""
        for request in requests:
            check_bounds(request, f"{self._where}: ")
        with self._engine_call(operation):
            batch = edge.QueryBatchRequest([to_request(request) for request in requests])
            answers = self.shard.query_batch(batch)
        return [QueryResponse(points=[from_scored_point(point) for point in points]) for points in answers]

    def query_groups(
        self, request: models.QueryRequest, *, group_by: str, limit: int, group_size: int
    ) -> models.GroupsResult:
        """Run a query for groups of points."""
        return GroupSearch(self, request, group_by=group_by, limit=limit, group_size=group_size).result()

    def scroll(
        self,
        scroll_filter: models.Filter | None,
        *,
        limit: int,
        order_by: str | models.OrderBy | None,
        offset: PointId | None,
        with_payload: models.WithPayloadInterface,
        with_vectors: bool | Sequence[str],
    ) -> tuple[list[models.Record], int | str | None]:
        """List points by id or by a payload field, and return the offset of the next page."""
        check_number(limit, 1, None, "limit")
        with self._engine_call("scroll"):
            request = edge.ScrollRequest(
                offset=offset,
                limit=limit,
                filter=None if scroll_filter is None else to_filter(scroll_filter),
                with_payload=to_selector(with_payload),
                with_vector=to_names(with_vectors),
                order_by=None if order_by is None else to_order(order_by),
            )
            records, next_offset = self.shard.scroll(request)
        return [from_record(record) for record in records], None if next_offset is None else from_id(next_offset)

    def retrieve(
        self, ids: Sequence[PointId], *, with_payload: models.WithPayloadInterface, with_vectors: bool | Sequence[str]
    ) -> list[models.Record]:
        """Read points by id; ids that do not exist are left out."""
        with self._engine_call("retrieve"):
            records = self.shard.retrieve(list(ids), to_selector(with_payload), to_names(with_vectors))
        return [from_record(record) for record in records]

    def count(self, count_filter: models.Filter | None, *, exact: bool) -> int:
        """Count points."""
        with self._engine_call("count"):
            condition = None if count_filter is None else to_filter(count_filter)
            return self.shard.count(edge.CountRequest(exact=exact, filter=condition))

    def create_payload_index(
        self, field_name: str, schema: models.PayloadSchemaType | models.PayloadSchemaParams | str | None
    ) -> None:
        """Index a payload field."""
        with self._engine_call("create_payload_index"):
            self._update(edge.UpdateOperation.create_field_index(field_name, payload_index.edge_schema(schema)))
            schema_values = (
                dump_models(schema) if isinstance(schema, BaseModel) else payload_index.schema_type(schema).value
            )
            self._write_manifest(replace(self._manifest, indexes=self._manifest.indexes | {field_name: schema_values}))

    def delete_payload_index(self, field_name: str) -> None:
        """Remove the index of a payload field."""
        with self._engine_call("delete_payload_index"):
            self._update(edge.UpdateOperation.delete_field_index(field_name))
            if field_name in self._manifest.indexes:
                kept = {name: value for name, value in self._manifest.indexes.items() if name != field_name}
                self._write_manifest(replace(self._manifest, indexes=kept))

    @contextlib.contextmanager
    def _engine_call(self, operation: str) -> Iterator[None]:
        # Serialized, as in the engine itself, so that every call uses the current shard after it is reopened.
        with self._guard, engine_errors(operation, self.name):
            yield

    @property
    def _where(self) -> str:
        return f"collection {self.name!r}"

    def _set_manifest(self, manifest: Manifest) -> None:
        params = vector_params(manifest)
        self._manifest = manifest
        self._layout = layout_of(params.vectors, params.sparse_vectors)

    @property
    def _segments(self) -> Path:
        return self._folder / SHARD_NAME / "segments"

    def _flush(self) -> None:
        self.shard.flush()
        self._checkpoints.done()
        self._point_bytes = None

    def _copied(self, points: int) -> int:
        """Estimate the bytes that a change of points copies, because built segments are immutable."""
        if self._point_bytes is None:
            self._point_bytes = used_bytes(self._segments) / max(1, self.shard.info().points_count)
        return int(points * self._point_bytes)

    def _write_manifest(self, manifest: Manifest) -> None:
        self.checkpoint()
        manifest.write(self._folder)
        self._set_manifest(manifest)

    def _replace_vector(self, name: str, config: dict[str, Any], *operations: edge.UpdateOperation) -> None:
        """Remove a vector, or the remains of a failed call, and then applies operations.

        The engine changes the segments one by one, and cannot open a shard whose segments differ. So the manifest marks
        the vector as unfinished during the change, and the files are complete before and after.
        """
        before = without_vector(config, self._where, name) if operations else config
        others = [each for each in self._manifest.unfinished if each != name]
        self._write_manifest(replace(self._manifest, config=before, unfinished=[*others, name]))
        for operation in (edge.UpdateOperation.delete_vector_name(name), *operations):
            self._update(operation)
        self._write_manifest(replace(self._manifest, config=config, unfinished=others))

    def _reopen(self, manifest: Manifest) -> None:
        """Reopen the shard with new parameters, or with the old ones if the engine rejects the new ones.

        The manifest is written last; after a crash, the shard opens as the manifest states.
        """
        self.close()
        try:
            self.shard = open_shard(self._folder, manifest)
            self._write_manifest(manifest)
        except BaseException:
            self.shard.close()
            self.shard = open_shard(self._folder, self._manifest)
            raise

    def _update(self, operation: edge.UpdateOperation, size: int = 0) -> None:
        """Apply an operation that stores about ``size`` bytes."""
        require_space(self._folder, BYTES_ON_DISK * size, f"{self._where}: writing")
        try:
            self.shard.update(operation)
        except Exception as error:
            if _HALTED not in str(error):
                raise
            self._reopen(self._manifest)
            self.shard.update(operation)
        self._built = False
        self._checkpoints.wrote(size)

    def _point(self, point: models.PointStruct) -> tuple[edge.Point, int]:
        """Convert a point for the engine, and return it with its approximate size in bytes."""
        vectors = self._vectors(point)
        payload = None if point.payload is None else to_payload(point.payload)
        check_depth(payload, f"collection {self.name!r}, point {point.id}: the payload")
        return edge.Point(point.id, vectors, payload), vector_bytes(self._layout, vectors) + json_bytes(payload)

    def _vectors(self, point: models.PointStruct | models.PointVectors) -> dict[str, edge.NamedVector]:
        if not isinstance(point, (models.PointStruct, models.PointVectors)):
            raise unsupported_error(f"`{type(point).__name__}` as a point")
        vectors = to_vectors(point.vector)
        check_vectors(self._layout, f"collection {self.name!r}, point {point.id}", vectors)
        return vectors

    def _select(
        self,
        points: Selector,
        by_ids: Callable[..., edge.UpdateOperation],
        by_filter: Callable[..., edge.UpdateOperation],
        *arguments: object,
    ) -> None:
        if isinstance(points, (models.FilterSelector, models.PointIdsList)):
            points = next(iter(read_fields(points, "filter", "points").values()))
        for argument in arguments:
            check_depth(argument, "the payload")
        if isinstance(points, models.Filter):
            check_depth(points.model_dump(exclude_none=True), "the filter")
            operation, count = by_filter(to_filter(points), *arguments), self.shard.info().points_count
        elif isinstance(points, (list, tuple)):
            operation, count = by_ids(list(points), *arguments), len(points)
        else:
            raise ConfigurationError(f"points must be a list of ids or a filter, got {points!r}")
        size = count * json_bytes(arguments) + self._copied(count) if arguments else 0  # a deletion needs no space
        self._update(operation, size)
