"""Reads and writes `collection.json`, which stores facts about a collection that the engine does not store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python
from qdrant_client import models

from colbert_qdrant.edge.files import read_json, write_json
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
FILE_NAME = "collection.json"


@dataclass
class Manifest:
    """A collection's creation parameters, its metadata and its payload indexes, all as plain JSON values.

    Attributes:
        config: The parameters of `create_collection` that are set, with later changes.
        metadata: The metadata of the collection.
        indexes: The schema of each payload index, by payload field.
        unfinished: Vectors whose addition or removal is in progress; some segments of the shard may have them.
    """

    config: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    indexes: dict[str, Any] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a collection's folder."""
        return read_json(folder / FILE_NAME, FORMAT, cls)

    def write(self, folder: Path) -> None:
        """Write the manifest atomically: a crash leaves the old or the new file."""
        write_json(folder / FILE_NAME, FORMAT, asdict(self))

    def merge(self, metadata: Mapping[str, Any]) -> None:
        """Merge metadata by top-level keys; None deletes a key."""
        merged = self.metadata | to_json(metadata)
        self.metadata = {key: value for key, value in merged.items() if value is not None}

    def index_params(self, field_name: str) -> models.PayloadSchemaParams | None:
        """Return the parameters of a payload index; None if only its type was given."""
        schema = self.indexes.get(field_name)
        if not isinstance(schema, dict):
            return None
        adapter: TypeAdapter[models.PayloadSchemaParams] = TypeAdapter(models.PayloadSchemaParams)
        return adapter.validate_python(schema)


def to_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as plain JSON values; raises `ConfigurationError` if that is not possible."""
    try:
        plain: dict[str, Any] = to_jsonable_python(dict(value))
        json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    except (PydanticSerializationError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"metadata is not JSON ({error}): use strings, numbers, booleans, lists and dicts"
        ) from error
    return plain


def dump_models(value: BaseModel | Mapping[str, BaseModel] | None) -> Any:
    """Return a model, or a dict of models, as plain JSON values."""
    if value is None or isinstance(value, BaseModel):
        return value and value.model_dump(mode="json", exclude_none=True)
    return {name: dump_models(model) for name, model in value.items()}
