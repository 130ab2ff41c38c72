"""Offers QdrantClient's methods over the embedded engine: `EdgeClient`."""
# ruff: noqa: ARG002 - `wait` is QdrantClient's parameter; this engine has always applied a write when it returns

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
    """Qdrant in this process: no server, the data in a folder, QdrantClient's methods and models.

    Methods take an alias for a collection's name, except those that create or delete a collection. Only one client can
    have a folder open. Every method raises `ClosedError` after `close()`, `ForkedProcessError` in a process that was
    forked from the one that opened it, and `CollectionNotFoundError` for a collection that does not exist. Those that
    write raise `DiskFullError`, before they write anything, where less than 64 MiB of the disk would be left.

    Args:
        path: The folder of the store; it is created if it does not exist.
        durability: What a power cut may take. A write is never lost because this process ends. With `"checkpoint"` it
            is on disk, where no power cut loses it, after 5 seconds or 32 MiB of writes, before anything that relies
            on it (metadata, an alias, an attached file, deleting a collection), and after `flush` and `close`. With
            `"always"` it is when the call returns, which makes small writes many times slower.

    Raises:
        MissingExtraError: qdrant-edge-py is not installed.
        StoreLockedError: Another client, here or in another process, has the folder open.
        EngineError: The folder cannot be made or opened.
        ConfigurationError: The path is empty, has a control character, is not valid Unicode, is ``":memory:"``, a URL
            or the address of a server, or begins as only shells read it; or there is no such durability.
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
        except Exception:  # noqa: BLE001 - nobody could catch it; when Python exits, modules may be gone already
            return

    def close(self) -> None:
        """Writes everything to disk and releases the folder; in a forked child it does nothing."""
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
        """Creates an empty collection, and returns True.

        Args:
            collection_name: A name that is no collection's yet.
            vectors_config: The dense vectors and multivectors, by name.
            sparse_vectors_config: The sparse vectors, by name.
            hnsw_config: HNSW parameters of the vectors that have none of their own.
            optimizers_config: How segments are built; by default one per CPU core, at most 8.
            quantization_config: Quantization of the vectors that have none of their own.
            metadata: JSON that is kept with the collection.

        Raises:
            CollectionExistsError: There is such a collection, one whose name differs only in upper and lower case, or
                an alias of that name.
            CapabilityError: The embedded engine does not have one of the parameters.
            ConfigurationError: The name cannot be that of a collection.
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
        """Says if there is such a collection, or an alias of that name."""
        return self._store.exists(collection_name)

    def get_collections(self) -> models.CollectionsResponse:
        """Lists the collections."""
        return models.CollectionsResponse(
            collections=[models.CollectionDescription(name=name) for name in self._store.names()]
        )

    def get_collection(self, collection_name: str) -> models.CollectionInfo:
        """Describes a collection: its parameters, its metadata and how much is in it."""
        return self._store.collection(collection_name).info()

    def update_collection(
        self,
        collection_name: str,
        *,
        metadata: models.Payload | None = None,
        vectors_config: Mapping[str, models.VectorParamsDiff] | None = None,
    ) -> bool:
        """Changes a collection's metadata, and how its vectors are indexed and kept; returns True.

        For changed vectors the collection is opened anew, which calls of other threads wait for. `optimize` then
        builds what was asked for; until it does, searches go on with what there is.

        Args:
            collection_name: The collection.
            metadata: Merged into the collection's, by top-level keys; a value of None deletes its key.
            vectors_config: Dense vector → what is to change of it; "" is the unnamed vector. Fields that are not set
                stay as they are. An empty `HnswConfigDiff`, or `Disabled`, leaves it to the collection's parameters.

        Raises:
            SchemaMismatchError: A vector is not in the collection; nothing was changed.
            CapabilityError: The embedded engine does not have one of the parameters; nothing was changed.
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
        """Adds a vector to a collection, whose points have none of it yet; a vector that is there already is kept.

        A crash leaves the collection with the vector or without it.

        Raises:
            SchemaMismatchError: There is another vector of that name.
            ConfigurationError: The name, or the size, cannot be that of a vector.
        """
        self._store.collection(collection_name).create_vector(vector_name, vector_name_config)
        return _update_result()

    def delete_vector_name(self, collection_name: str, vector_name: str, *, wait: bool = True) -> models.UpdateResult:
        """Removes a vector from a collection and from all its points; one that is not there is no error.

        A crash meanwhile leaves the collection as it was, or without the vector.

        Raises:
            ConfigurationError: The vector is the collection's only one.
        """
        self._store.collection(collection_name).delete_vector(vector_name)
        return _update_result()

    def delete_collection(self, collection_name: str) -> bool:
        """Deletes a collection, its data and its aliases; False if there is none of that name, an alias included."""
        return self._store.delete(collection_name)

    def update_collection_aliases(self, change_aliases_operations: Sequence[models.AliasOperations]) -> bool:
        """Changes aliases, other names of collections: all operations in their order, or none of them; returns True.

        An alias that is there already is switched to the other collection. Whoever uses it meanwhile finds the old
        collection or the new one, and so does whoever opens the store after a crash. Deleting an alias that is not
        there does nothing.

        Raises:
            CollectionNotFoundError: An alias is to stand for what is no collection, or the alias to rename is missing.
            CollectionExistsError: A collection has the name that an alias is to get.
            ConfigurationError: A name cannot be that of an alias, or an operation is none.
        """
        self._store.change_aliases(change_aliases_operations)
        return True

    def get_aliases(self) -> models.CollectionsAliasesResponse:
        """Lists all aliases."""
        return _aliases_response(self._store.aliases())

    def get_collection_aliases(self, collection_name: str) -> models.CollectionsAliasesResponse:
        """Lists the aliases of a collection; a name that is no collection's has none."""
        aliases = self._store.aliases()
        return _aliases_response({alias: target for alias, target in aliases.items() if target == collection_name})

    def upsert(
        self, collection_name: str, points: Sequence[models.PointStruct], *, wait: bool = True
    ) -> models.UpdateResult:
        """Inserts points, or replaces them as a whole. A batch is refused before anything of it is written.

        Raises:
            SchemaMismatchError: A vector is not in the collection or has another size.
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
        """Replaces the given vectors of points, or of those that match a filter; the rest of them stays.

        Raises:
            SchemaMismatchError: A vector is not in the collection or has another size.
            EngineError: A point does not exist; the others were written.
        """
        self._store.collection(collection_name).update_vectors(points, update_filter)
        return _update_result()

    def delete_vectors(
        self, collection_name: str, vectors: Sequence[str], points: Selector, *, wait: bool = True
    ) -> models.UpdateResult:
        """Removes the named vectors from points, by id or by filter; the rest of them stays.

        Raises:
            SchemaMismatchError: A vector is not in the collection.
            EngineError: A point does not exist; the others were changed.
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
        """Merges a payload into that of points, or into the object under `key` of it."""
        self._store.collection(collection_name).set_payload(payload, points, key)
        return _update_result()

    def overwrite_payload(
        self, collection_name: str, payload: models.Payload, points: Selector, *, wait: bool = True
    ) -> models.UpdateResult:
        """Replaces the whole payload of points."""
        self._store.collection(collection_name).overwrite_payload(payload, points)
        return _update_result()

    def delete_payload(
        self, collection_name: str, keys: Sequence[str], points: Selector, *, wait: bool = True
    ) -> models.UpdateResult:
        """Removes fields from the payload of points."""
        self._store.collection(collection_name).delete_payload(keys, points)
        return _update_result()

    def delete(self, collection_name: str, points_selector: Selector, *, wait: bool = True) -> models.UpdateResult:
        """Deletes points by id or by filter."""
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
        """Indexes a payload field, which makes filters on it fast.

        Raises:
            ConfigurationError: The schema is missing or names no type.
        """
        self._store.collection(collection_name).create_payload_index(field_name, field_schema)
        return _update_result()

    def delete_payload_index(self, collection_name: str, field_name: str, *, wait: bool = True) -> models.UpdateResult:
        """Removes the index of a payload field."""
        self._store.collection(collection_name).delete_payload_index(field_name)
        return _update_result()

    def attach(self, collection_name: str, file_name: str, data: bytes | None) -> None:
        """Keeps a file with a collection, in the place of one of that name; only the embedded engine has this.

        None removes it. A crash leaves the old file or the new one, nothing in between.

        Raises:
            ConfigurationError: The name cannot be that of a file, or is one that the collection has itself.
        """
        self._store.collection(collection_name).attach(file_name, data)

    def attachment(self, collection_name: str, file_name: str) -> bytes | None:
        """Reads a file that is kept with a collection, None if there is none; only the embedded engine has this."""
        return self._store.collection(collection_name).attachment(file_name)

    def optimize(self, collection_name: str) -> bool:
        """Builds the vector indexes (HNSW) and merges segments; only the embedded engine has this.

        It takes minutes for a large collection. Ctrl-C ends it: the collection is then as it was, or has some of its
        graphs. Other calls for the same collection wait until it is done.

        Returns:
            True if there was something to do.
        """
        return self._store.collection(collection_name).optimize()

    def flush(self, collection_name: str) -> None:
        """Writes everything of a collection to disk; only the embedded engine has this.

        Without it a write is safe when this process ends; see `durability` for when the power fails.
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
        raise MissingExtraError(
            "the embedded engine is not installed; install it with: pip install 'colbert-qdrant[edge]'"
        ) from error
    from colbert_qdrant.edge.store import Store  # noqa: PLC0415 - its engine is an optional extra

    return Store(path, durability)


for _name, _method in inspect.getmembers(EdgeClient, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(EdgeClient, _name, checked(_method))
