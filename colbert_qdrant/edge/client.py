"""Provides `EdgeClient`, which has QdrantClient's methods over the embedded engine."""
# ruff: noqa: ARG002 - `wait` is QdrantClient's parameter; this engine always applies a write before it returns

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qdrant_client import models

from colbert_qdrant.edge.arguments import checked, wrong_arguments
from colbert_qdrant.edge.checkpoints import Durability, check_durability
from colbert_qdrant.edge.names import store_folder
from colbert_qdrant.edge.reading import ReadMethods
from colbert_qdrant.edge.types import Selector
from colbert_qdrant.errors import MissingExtraError

if TYPE_CHECKING:
    from colbert_qdrant.edge.store import Store


class EdgeClient(ReadMethods):
    """A client for Qdrant in this process, without a server, with QdrantClient's methods and models.

    The client stores its data in a folder, which only one client can have open. Methods accept an alias instead of a
    collection's name, except those that create or delete a collection. Every method raises `ClosedError` after
    `close()`, and `CollectionNotFoundError` for a collection that does not exist. After a fork, every method raises
    `ForkedProcessError` in the child process. Methods that write raise `DiskFullError` before the write, if it would
    leave less than 64 MiB of free disk space.

    Args:
        path: The folder of the store; it is created if it does not exist.
        durability: Which writes survive a power cut; all writes survive the end of this process. With `"checkpoint"`,
            writes are flushed to disk after 5 seconds or 32 MiB, and by `flush` and `close`. They are also flushed
            before metadata, an alias or an attached file changes, and before a collection is deleted. With `"always"`,
            each write is flushed before the call returns, which makes small writes many times slower.

    Raises:
        MissingExtraError: If qdrant-edge-py is not installed.
        StoreLockedError: If another client, in this or another process, has the folder open.
        EngineError: If the folder cannot be created or opened.
        ConfigurationError: If the path is empty, contains control characters, or is not valid Unicode. If it is
            ``":memory:"``, a URL or the address of a server. If it starts with ``~`` or a variable, which only shells
            expand. If ``durability`` is unknown.
    """

    def __init__(self, path: str | PathLike[str], *, durability: Durability = "checkpoint") -> None:
        with wrong_arguments("EdgeClient"):
            folder, durability = store_folder(path), check_durability(durability)
        self._store = _open_store(folder, durability)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # noqa: BLE001 - no caller could catch it, and modules may be gone while Python exits
            return

    def close(self) -> None:
        """Flush everything to disk and release the folder; does nothing in a forked child."""
        self._store.close()

    def create_collection(
        self,
        collection_name: str,
        vectors_config: models.VectorParams | Mapping[str, models.VectorParams] | None = None,
        *,
        sparse_vectors_config: Mapping[str, models.SparseVectorParams] | None = None,
        hnsw_config: models.HnswConfigDiff | None = None,
        optimizers_config: models.OptimizersConfigDiff | None = None,
        quantization_config: models.QuantizationConfig | None = None,
        metadata: models.Payload | None = None,
    ) -> bool:
        """Create an empty collection, and return True.

        Args:
            collection_name: The name of the new collection.
            vectors_config: The dense vectors and multivectors, by name.
            sparse_vectors_config: The sparse vectors, by name.
            hnsw_config: The default HNSW parameters of all vectors.
            optimizers_config: How segments are built; the default is one segment per CPU core, at most 8.
            quantization_config: The default quantization of all vectors.
            metadata: JSON that is stored with the collection.

        Raises:
            CollectionExistsError: If a collection or an alias has this name, or a name that differs only in case.
            CapabilityError: If the embedded engine does not support one of the parameters.
            ConfigurationError: If the name is not a valid name of a collection.
        """
        self._store.create(
            collection_name,
            {
                "vectors": vectors_config,
                "sparse_vectors": sparse_vectors_config,
                "hnsw_config": hnsw_config,
                "optimizers_config": optimizers_config,
                "quantization_config": quantization_config,
            },
            metadata,
        )
        return True

    def collection_exists(self, collection_name: str) -> bool:
        """Tell whether a collection or alias of that name exists."""
        return self._store.exists(collection_name)

    def get_collections(self) -> models.CollectionsResponse:
        """List the collections."""
        return models.CollectionsResponse(
            collections=[models.CollectionDescription(name=name) for name in self._store.names()]
        )

    def get_collection(self, collection_name: str) -> models.CollectionInfo:
        """Describe a collection: its parameters, metadata and size."""
        return self._store.collection(collection_name).info()

    def update_collection(
        self,
        collection_name: str,
        *,
        metadata: models.Payload | None = None,
        vectors_config: Mapping[str, models.VectorParamsDiff] | None = None,
    ) -> bool:
        """Change a collection's metadata, and how its vectors are indexed and stored; return True.

        If vectors change, the collection is reopened while calls of other threads wait. `optimize` then builds the new
        indexes; until then, searches use the existing ones.

        Args:
            collection_name: The collection.
            metadata: Metadata that is merged by top-level keys; the value None deletes a key.
            vectors_config: The changes by name of the dense vector; "" is the unnamed vector. Fields that are not set
                keep their values. An empty `HnswConfigDiff`, or `Disabled`, restores the collection's parameters.

        Raises:
            SchemaMismatchError: If a vector is not in the collection; nothing was changed.
            CapabilityError: If the embedded engine does not support one of the parameters; nothing was changed.
        """
        self._store.collection(collection_name).change(metadata or {}, vectors_config or {})
        return True

    def create_vector_name(
        self,
        collection_name: str,
        vector_name: str,
        vector_name_config: models.DenseVectorNameConfig | models.SparseVectorNameConfig,
        *,
        wait: bool = True,
    ) -> models.UpdateResult:
        """Add a vector to a collection, with no values in its points; an equal vector that exists already is kept.

        A crash leaves the collection either with or without the vector.

        Raises:
            SchemaMismatchError: If a different vector of that name exists.
            ConfigurationError: If the name or the size of the vector is invalid.
        """
        self._store.collection(collection_name).create_vector(vector_name, vector_name_config)
        return _update_result()

    def delete_vector_name(self, collection_name: str, vector_name: str, *, wait: bool = True) -> models.UpdateResult:
        """Remove a vector from a collection and all its points; a missing vector is not an error.

        A crash during the call leaves the collection unchanged, or without the vector.

        Raises:
            ConfigurationError: If the collection has no other vector.
        """
        self._store.collection(collection_name).delete_vector(vector_name)
        return _update_result()

    def delete_collection(self, collection_name: str) -> bool:
        """Delete a collection, its data and its aliases; returns False for an alias or a missing collection."""
        return self._store.delete(collection_name)

    def update_collection_aliases(self, change_aliases_operations: Sequence[models.AliasOperations]) -> bool:
        """Apply all alias operations in order, or none; returns True.

        Creating an alias that exists switches it to the given collection. The switch is atomic: concurrent calls, and
        clients that open the store after a crash, see the old or the new collection. Deleting a missing alias does
        nothing.

        Raises:
            CollectionNotFoundError: If the collection of a new alias, or an alias to rename, does not exist.
            CollectionExistsError: If a collection has the name of a new alias.
            ConfigurationError: If a name is not a valid alias, or an operation has an unknown type.
        """
        self._store.change_aliases(change_aliases_operations)
        return True

    def get_aliases(self) -> models.CollectionsAliasesResponse:
        """List all aliases."""
        return _aliases_response(self._store.aliases())

    def get_collection_aliases(self, collection_name: str) -> models.CollectionsAliasesResponse:
        """List the aliases of a collection; the list is empty if the collection does not exist."""
        aliases = self._store.aliases()
        return _aliases_response({alias: target for alias, target in aliases.items() if target == collection_name})

    def upsert(
        self, collection_name: str, points: Sequence[models.PointStruct], *, wait: bool = True
    ) -> models.UpdateResult:
        """Insert points, or replaces whole points. An invalid batch is rejected before anything is written.

        Raises:
            SchemaMismatchError: If a vector is not in the collection or has a different size.
        """
        self._store.collection(collection_name).upsert(points)
        return _update_result()

    def update_vectors(
        self,
        collection_name: str,
        points: Sequence[models.PointVectors],
        *,
        wait: bool = True,
        update_filter: models.Filter | None = None,
    ) -> models.UpdateResult:
        """Replace the given vectors of points, or of the points that match a filter, and keep everything else.

        Raises:
            SchemaMismatchError: If a vector is not in the collection or has a different size.
            EngineError: If a point does not exist; the other points were written.
        """
        self._store.collection(collection_name).update_vectors(points, update_filter)
        return _update_result()

    def delete_vectors(
        self, collection_name: str, vectors: Sequence[str], points: Selector, *, wait: bool = True
    ) -> models.UpdateResult:
        """Remove the named vectors from points, by id or by filter, and keep everything else.

        Raises:
            SchemaMismatchError: If a vector is not in the collection.
            EngineError: If a point does not exist; the other points were changed.
        """
        self._store.collection(collection_name).delete_vectors(vectors, points)
        return _update_result()

    def set_payload(
        self,
        collection_name: str,
        payload: models.Payload,
        points: Selector,
        key: str | None = None,
        *,
        wait: bool = True,
    ) -> models.UpdateResult:
        """Merge a payload into the payload of points, or into the object at its path `key`."""
        self._store.collection(collection_name).set_payload(payload, points, key)
        return _update_result()

    def overwrite_payload(
        self, collection_name: str, payload: models.Payload, points: Selector, *, wait: bool = True
    ) -> models.UpdateResult:
        """Replace the whole payload of points."""
        self._store.collection(collection_name).overwrite_payload(payload, points)
        return _update_result()

    def delete_payload(
        self, collection_name: str, keys: Sequence[str], points: Selector, *, wait: bool = True
    ) -> models.UpdateResult:
        """Remove fields from the payload of points."""
        self._store.collection(collection_name).delete_payload(keys, points)
        return _update_result()

    def delete(self, collection_name: str, points_selector: Selector, *, wait: bool = True) -> models.UpdateResult:
        """Delete points by id or by filter."""
        self._store.collection(collection_name).delete(points_selector)
        return _update_result()

    def create_payload_index(
        self,
        collection_name: str,
        field_name: str,
        field_schema: models.PayloadSchemaType | models.PayloadSchemaParams | str | None = None,
        *,
        wait: bool = True,
    ) -> models.UpdateResult:
        """Index a payload field, which makes filters on it fast.

        Raises:
            ConfigurationError: If the schema is missing or its type is unknown.
        """
        self._store.collection(collection_name).create_payload_index(field_name, field_schema)
        return _update_result()

    def delete_payload_index(self, collection_name: str, field_name: str, *, wait: bool = True) -> models.UpdateResult:
        """Remove the index of a payload field."""
        self._store.collection(collection_name).delete_payload_index(field_name)
        return _update_result()

    def attach(self, collection_name: str, file_name: str, data: bytes | None) -> None:
        """Store a file with a collection, and replace a file of that name; only the embedded engine supports this.

        None removes the file. A crash leaves either the old file or the new file.

        Raises:
            ConfigurationError: If the name is not a valid name of a file, or is reserved.
        """
        self._store.collection(collection_name).attach(file_name, data)

    def attachment(self, collection_name: str, file_name: str) -> bytes | None:
        """Read a file that is stored with a collection, or return None; only the embedded engine supports this."""
        return self._store.collection(collection_name).attachment(file_name)

    def copy_collection(self, collection_name: str, folder: str | PathLike[str]) -> None:
        """Copy a collection with its attached files to a new folder; only the embedded engine supports this.

        The copy is consistent: other calls for the collection wait until it is complete.

        Raises:
            DiskFullError: If the disk has no room for the copy.
            EngineError: If the folder exists already, or cannot be written.
        """
        self._store.copy(collection_name, store_folder(folder))

    def add_collection(self, collection_name: str, folder: str | PathLike[str]) -> None:
        """Add a copy that `copy_collection` made, also under another name; only the embedded engine supports this.

        The folder stays unchanged. After a crash, the store has the whole collection, or no part of it.

        Raises:
            CollectionExistsError: If a collection or an alias has this name, or a name that differs only in case.
            EngineError: If the folder has no copy of a collection.
        """
        self._store.add(collection_name, store_folder(folder))

    def optimize(self, collection_name: str) -> bool:
        """Build the vector indexes (HNSW) and merge segments; only the embedded engine supports this.

        The call takes minutes for a large collection. Ctrl-C interrupts it, and leaves the collection unchanged or with
        some of its graphs. Other calls for the same collection wait until it ends.

        Returns:
            True if anything was built.
        """
        return self._store.collection(collection_name).optimize()

    def flush(self, collection_name: str) -> None:
        """Flush all writes of a collection to disk; only the embedded engine supports this.

        Unflushed writes survive the end of this process; see `durability` for power cuts.
        """
        self._store.collection(collection_name).flush()


def _update_result() -> models.UpdateResult:
    return models.UpdateResult(status=models.UpdateStatus.COMPLETED)


def _aliases_response(aliases: Mapping[str, str]) -> models.CollectionsAliasesResponse:
    descriptions = [
        models.AliasDescription(alias_name=alias, collection_name=target) for alias, target in sorted(aliases.items())
    ]
    return models.CollectionsAliasesResponse(aliases=descriptions)


def _open_store(path: Path, durability: Durability) -> Store:
    try:
        importlib.import_module("qdrant_edge")
    except ImportError as error:
        raise MissingExtraError("the embedded engine is not installed: pip install 'colbert-qdrant[edge]'") from error
    from colbert_qdrant.edge.store import Store  # noqa: PLC0415 - its engine is an optional extra

    return Store(path, durability)


for _name, _method in inspect.getmembers(EdgeClient, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(EdgeClient, _name, checked(_method))
