"""Stores the artifact of a fitted encoding in a companion of the collection that it was fitted to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from qdrant_client import models

from colbert_qdrant.errors import ArtefactError, EngineError, RequestTooLargeError
from colbert_qdrant.points.ids import NAMESPACE
from colbert_qdrant.points.point import Point
from colbert_qdrant.points.schema import COPIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.engines import Engine

SUFFIX: Final = "__fde"
_PIECE_BYTES: Final = 4 * 2**20
"""Size of one request before base64 adds a third; servers accept 32 MiB."""
_LEAST_PIECE_BYTES: Final = 2**14
_MOST_PIECES: Final = 4_096
"""Upper bound for a server's claim about the number of pieces; an artifact has a few at most."""

_MANIFEST: Final = str(uuid5(NAMESPACE, "artefact"))
"""The point that names the collection's current artifact; it is written last, so the artifact is complete."""
_OWNER: Final = str(uuid5(NAMESPACE, "owner"))
"""The point that names the collection that this companion belongs to; earlier versions did not write it."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A stored collection with the companion's name."""

    info: models.CollectionInfo
    owner: Mapping[str, Any] | None
    manifest: Mapping[str, Any] | None


class Companion:
    """The companion of one collection, on engines that cannot store files.

    Args:
        engine: The engine.
        collection: The real name of the collection, not an alias.
        encoder: The fingerprint of its token encoder; empty if unknown.

    Attributes:
        name: The companion's name.
    """

    def __init__(self, engine: Engine, collection: str, encoder: Mapping[str, Any]) -> None:
        self.name = collection + SUFFIX
        self._engine = engine
        self._collection = collection
        self._encoder = _digest_of(encoder) if encoder else None
        self._pieces: list[str] = []

    @property
    def place(self) -> str:
        """The place of the artifact, for a message."""
        return f"collection {self.name!r}"

    async def prepare(self) -> None:
        """Create the companion or add its missing replicas, and write to it to check that writing is allowed.

        Raises:
            ArtefactError: If the companion's name is taken.
        """
        found = await self._look()
        if found is None:
            await self._make(await self._copies())
        elif not self._is_ours(found):
            raise self._taken_error(found)
        else:
            with contextlib.suppress(EngineError):  # a fit does not need them, and `check` reports missing replicas
                await self.raise_copies()
        owner = {"collection": self._collection, "encoder": self._encoder}
        await self._engine.upsert(self.name, [Point(id=_OWNER, vectors={}, payload=owner)])

    async def lacks_copies(self) -> bool:
        """Tell whether the companion has fewer replicas than its collection."""
        found = await self._look()
        return found is not None and self._is_ours(found) and any(await self._lacking())

    async def raise_copies(self) -> None:
        """Give the companion as many replicas as its collection has, on the same nodes."""
        factors, copies = await self._lacking()
        if factors:
            params = models.CollectionParamsDiff.model_validate(factors)
            await self._engine.update_collection(self.name, collection_params=params)
        for copy in copies:
            await self._engine.replicate_shard(self.name, copy)

    async def read(self, *, any_owner: bool = False) -> bytes | None:
        """Read the artifact; ``None`` if it does not exist, or belongs to another collection.

        Args:
            any_owner: Read the artifact even if it belongs to another collection, which may have been restored under
                another name.

        Raises:
            ArtefactError: If the artifact is incomplete.
        """
        found = await self._look()
        if found is None or found.manifest is None or not (any_owner or self._is_ours(found)):
            return None
        return await self._read_pieces(found.manifest)

    async def holds(self, wanted: str) -> bool:
        """Tell whether all pieces of the artifact with the given SHA-256 are stored, without reading them."""
        found = await self._look()
        if found is None or found.manifest is None or found.manifest.get("digest") != wanted:
            return False
        count = found.manifest.get("chunks")
        ids = [_piece_id(wanted, number) for number in range(min(count, _MOST_PIECES) if isinstance(count, int) else 0)]
        return len(await self._engine.retrieve(self.name, ids=ids, with_payload=False)) == len(ids) == count

    async def store(self, data: bytes) -> None:
        """Store an artifact next to the collection's current one, in pieces that the server accepts."""
        wanted, size, start, self._pieces = digest(data), _PIECE_BYTES, 0, []
        while start < len(data):
            payload = {"data": base64.b64encode(data[start : start + size]).decode("ascii")}
            id = _piece_id(wanted, len(self._pieces))
            try:
                await self._engine.upsert(self.name, [Point(id=id, vectors={}, payload=payload)])
            except RequestTooLargeError:
                if size // 2 < _LEAST_PIECE_BYTES:
                    raise
                size //= 2
                continue
            start += size
            self._pieces.append(id)

    async def claim(self, data: bytes, *, replace: bool) -> None:
        """Make the artifact that was just stored the current one; without ``replace``, an existing one wins."""
        manifest = {"digest": digest(data), "chunks": len(self._pieces)}
        point = Point(id=_MANIFEST, vectors={}, payload=manifest)
        if (await self._engine.capabilities()).has("insert_only") and not replace:
            await self._engine.upsert(self.name, [point], insert_only=True)
        elif replace or not await self._engine.retrieve(self.name, ids=[_MANIFEST]):
            await self._engine.upsert(self.name, [point])
        if replace:
            kept = models.HasIdCondition(has_id=[_MANIFEST, _OWNER, *self._pieces])
            await self._engine.delete(self.name, points_selector=models.Filter(must_not=[kept]))

    async def delete(self) -> None:
        """Delete the companion, unless it belongs to another collection."""
        found = await self._look()
        if found is not None and self._is_ours(found):
            await self._engine.delete_collection(self.name)

    async def require_free(self) -> None:
        """Delete the companion of an earlier collection with the same name.

        Raises:
            ArtefactError: If the companion's name is taken.
        """
        found = await self._look()
        if found is not None and not self._is_ours(found):
            raise self._taken_error(found)
        await self.delete()

    async def _look(self) -> _Found | None:
        if not await self._engine.collection_exists(self.name):
            return None
        info = await self._engine.get_collection(self.name)
        records = await self._engine.retrieve(self.name, ids=[_MANIFEST, _OWNER])
        points = {str(each.id): each.payload or {} for each in records}
        return _Found(info=info, owner=points.get(_OWNER), manifest=points.get(_MANIFEST))

    def _is_ours(self, found: _Found) -> bool:
        """Tell whether this collection created the companion, with this version or an earlier one."""
        if found.info.config.params.vectors or found.info.config.params.sparse_vectors:
            return False
        if found.owner is None:
            return found.manifest is not None or not found.info.points_count
        encoder = found.owner.get("encoder")
        is_same = encoder is None or self._encoder is None or encoder == self._encoder
        return found.owner.get("collection") == self._collection and is_same

    def _taken_error(self, found: _Found) -> ArtefactError:
        owner = None if found.owner is None else found.owner.get("collection")
        whose = "belongs to another program" if owner is None else f"belongs to another collection, {owner!r}"
        return ArtefactError(
            f"collection {self.name!r} {whose}, but the fitted encoding of collection {self._collection!r} needs that "
            f"name: delete {self.name!r} if it is not in use, or choose another name for {self._collection!r}"
        )

    async def _copies(self) -> dict[str, int]:
        """Return the replication factors of the collection that the artifact belongs to."""
        if not (await self._engine.capabilities()).has("sharding"):
            return {}
        params = (await self._engine.get_collection(self._collection)).config.params
        return {name: getattr(params, name) or 1 for name in COPIES}

    async def _lacking(self) -> tuple[dict[str, int], list[models.ReplicateShard]]:
        """Return the replication factors that are too low, and the replicas that are missing."""
        wanted = await self._copies()
        if wanted.get("replication_factor", 1) == 1:
            return {}, []
        params = (await self._engine.get_collection(self.name)).config.params
        factors = {name: factor for name, factor in wanted.items() if (getattr(params, name) or 1) < factor}
        copies = wanted["replication_factor"]
        return factors, await self._engine.missing_copies(self.name, like=self._collection, copies=copies)

    async def _make(self, copies: Mapping[str, int]) -> None:
        settings = {"shard_number": 1, **copies} if copies else {}
        try:
            await self._engine.create_collection(self.name, vectors_config={}, **settings)
        except Exception:
            if not await self._engine.collection_exists(self.name):  # another writer may just have created it
                raise

    async def _read_pieces(self, manifest: Mapping[str, Any]) -> bytes:
        try:
            wanted = str(manifest["digest"])
            parts = []
            for number in range(min(manifest["chunks"], _MOST_PIECES)):
                parts.append(await self._piece(_piece_id(wanted, number)))
                if not 0 < len(parts[-1]) <= _PIECE_BYTES:
                    break  # a missing or foreign piece makes the rest useless
            data = b"".join(parts)
        except (KeyError, TypeError, ValueError):
            wanted, data = "the stored one", b""
        if digest(data) != wanted:
            raise ArtefactError(
                f"the fitted encoding in collection {self.name!r} is incomplete or damaged (its SHA-256 is not "
                f"{wanted}): restore {self.name!r} from a snapshot, or fit again with fit(refit=True)"
            )
        return data

    async def _piece(self, id: str) -> bytes:
        found = await self._engine.retrieve(self.name, ids=[id], with_payload=["data"])
        return base64.b64decode((found[0].payload or {})["data"], validate=True) if found else b""


def digest(data: bytes) -> str:
    """Return the SHA-256 of an artifact, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _digest_of(encoder: Mapping[str, Any]) -> str:
    return digest(json.dumps(encoder, sort_keys=True).encode())


def _piece_id(wanted: str, number: int) -> str:
    return str(uuid5(NAMESPACE, f"artefact/{wanted}/{number}"))
