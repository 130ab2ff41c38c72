"""Creates the payload indexes that a collection's settings require and that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant._support.warned import warn
from colbert_qdrant.config.names import same_path
from colbert_qdrant.errors import RequestError
from colbert_qdrant.points.schema import index_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine


async def missing_indexes(
    engine: Engine, config: CollectionConfig, info: models.CollectionInfo
) -> list[dict[str, Any]]:
    """Return the arguments of ``create_payload_index`` for every missing index of a stored collection."""
    wanted = index_arguments(config, await engine.capabilities())
    there = set(map(same_path, info.payload_schema))
    return [each for each in wanted if each["field_name"] not in there]


async def make_indexes(engine: Engine, collection: str, indexes: Sequence[dict[str, Any]]) -> None:
    """Create payload indexes, one at a time."""
    for index in indexes:
        await engine.create_payload_index(collection, **index)


async def make_missing_indexes(engine: Engine, collection: str, missing: Sequence[dict[str, Any]]) -> None:
    """Create the indexes that an interrupted `create` left out; a failure is a warning, since they are optional."""
    try:
        await make_indexes(engine, collection, missing)
    except RequestError as error:
        warn(
            f"collection {collection!r} lacks the payload indexes {names_of(missing)}, and they could not be created "
            f"({error}): open it with a key that may write to it, and call repair()"
        )


def names_of(indexes: Sequence[dict[str, Any]]) -> str:
    """Return the keys of payload indexes, for a message."""
    return ", ".join(repr(each["field_name"]) for each in indexes)
