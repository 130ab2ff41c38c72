"""Changes payloads of stored documents without encoding their texts again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant._support.paths import join_path, parse_path
from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.selecting import write_to_selected
from colbert_qdrant.config.names import require_path
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.points.payloads import check_values, payload_to_json
from colbert_qdrant.points.stamp import STAMP
from colbert_qdrant.search.execute import keep_to_limits
from colbert_qdrant.shown import listed, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from colbert_qdrant._support.paths import Step
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import DocumentId
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.search.filters import Where
    from colbert_qdrant.search.limits import Limits

_IDS: Final = 256
"""The number of ids in one request."""

_EVERYTHING: Final = "change every document: add a condition, or pass ids=…"


async def set_payload(
    collection: OpenCollection,
    payload: Mapping[str, Any],
    *,
    key: str | None,
    ids: DocumentId | Iterable[DocumentId] | None,
    where: Where | None,
    filter: models.Filter | None,
) -> None:
    """Merge keys into stored payloads; see `ColbertCollection.set_payload`."""
    at = [] if key is None else _object_path(key)
    values, nan = _checked(payload, at, collection.config)

    async def write(points: models.Filter) -> None:
        await collection.engine.set_payload(collection.name, values, points=points, key=join_path(at) or None)

    if nan is not None:
        collection.warned.once(
            "nan in set_payload",
            f"collection {collection.name!r}: set_payload got NaN under payload key {nan!r}. It is written as "
            "None, which removes a key. Use None for missing values. This warning appears once.",
        )
    await _write(collection, "set_payload", write, ids=ids, where=where, filter=filter)


async def delete_payload(
    collection: OpenCollection,
    keys: str | Iterable[str],
    *,
    ids: DocumentId | Iterable[DocumentId] | None,
    where: Where | None,
    filter: models.Filter | None,
) -> None:
    """Remove keys from stored payloads; see `ColbertCollection.delete_payload`."""
    paths = _paths(keys)
    for path in paths:
        _require_own(path, collection.config)

    async def write(points: models.Filter) -> None:
        await collection.engine.delete_payload(collection.name, list(map(join_path, paths)), points=points)

    await _write(collection, "delete_payload", write, ids=ids, where=where, filter=filter)


async def _write(
    collection: OpenCollection,
    operation: str,
    write: Callable[[models.Filter], Awaitable[None]],
    *,
    ids: DocumentId | Iterable[DocumentId] | None,
    where: Where | None,
    filter: models.Filter | None,
) -> None:
    async def by_ids(points: Sequence[PointId]) -> None:
        async def in_parts(limits: Limits) -> None:
            size = min(_IDS, limits.condition_size or _IDS, limits.upsert_batch or _IDS)
            for start in range(0, len(points), size):
                # engines refuse a list of ids that are not all stored, but a filter ignores the missing ones
                await write(models.Filter(must=[models.HasIdCondition(has_id=[*points[start : start + size]])]))

        await keep_to_limits(collection, in_parts)

    await write_to_selected(
        collection,
        operation,
        ids=ids,
        where=where,
        filter=filter,
        everything=_EVERYTHING,
        by_ids=by_ids,
        by_filter=write,
    )


def _checked(
    payload: Mapping[str, Any], at: Sequence[str], config: CollectionConfig
) -> tuple[dict[str, Any], str | None]:
    """Return the values of a change as JSON, and the path of the first NaN in them."""
    if not isinstance(payload, Mapping):
        raise ConfigurationError(f"payload is {shown(payload, 60)}: pass a dict of the keys to set")
    if not payload:
        raise ConfigurationError("payload has no keys: pass a dict of the keys to set")
    values: dict[str, Any] = payload_to_json("set_payload", payload, dict(payload))
    for name in values:
        _require_own([*at, name], config)
    whole: dict[str, Any] = values
    for step in reversed(at):
        whole = {step: whole}
    return values, check_values("set_payload", payload, whole, config.indexes)


def _object_path(key: str) -> list[str]:
    """Return the keys on the way to an object in the payload."""
    require_path("key", key)
    steps = parse_path(plain(key))
    keys = [step for step in steps if isinstance(step, str)]
    if len(keys) < len(steps):
        raise ConfigurationError(
            f"key={shown(key)} leads into a list, but set_payload changes objects: name an object, such as 'meta' or "
            "'meta.inner', and pass the whole list in it"
        )
    return keys


def _paths(keys: object) -> list[list[Step]]:
    """Return the paths of a caller's keys."""
    found = [keys] if isinstance(keys, str) else listed(keys)
    if found is None:
        raise ConfigurationError(f"keys is {shown(keys, 60)}: pass one payload key, or a list of keys")
    if not found:
        raise ConfigurationError("keys is empty: name at least one payload key")
    for each in found:
        require_path("keys", each)
    paths = [parse_path(plain(each)) for each in found]
    for path, each in zip(paths, found, strict=True):
        if isinstance(path[-1], int):
            raise ConfigurationError(
                f"keys has {shown(each)}, which is one element of a list, and engines delete none: set the whole list "
                "with set_payload"
            )
    return paths


def _require_own(path: Sequence[Step], config: CollectionConfig) -> None:
    """Check that a path of a payload belongs to the caller, and does not lead to the document's text or id."""
    if path[0] == STAMP:
        raise InvalidDocumentError(f"payload key {STAMP!r} is reserved for colbert-qdrant: leave it out")
    if not config.native and path[0] == config.id_key:
        raise InvalidDocumentError(
            f"payload key {config.id_key!r} is the document's id, which cannot change: leave it out; to rename a "
            "document, upsert it under the new id, and delete the old one"
        )
    if config.text_key is None:
        return
    text: list[Step] = parse_path(config.text_key) if config.native else [config.text_key]
    if all(_may_be_same(one, other) for one, other in zip(path, text, strict=False)):
        raise InvalidDocumentError(
            f"payload key {join_path(path)!r} holds the document's text, and its vectors would no longer match it: "
            "upsert the document with its new text instead"
        )


def _may_be_same(one: Step, other: Step) -> bool:
    """Tell whether two steps of paths may lead to the same value; ``None`` stands for all elements of a list."""
    return one == other or (None in (one, other) and not isinstance(one, str) and not isinstance(other, str))
