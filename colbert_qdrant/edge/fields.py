"""Reads the fields of qdrant-client's models, and rejects fields that Edge does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from colbert_qdrant.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

    from pydantic import BaseModel

T = TypeVar("T")


def unsupported_error(what: str) -> CapabilityError:
    """Return the error for a feature that only a Qdrant server has."""
    return CapabilityError(f"the embedded engine does not support {what}: use a Qdrant server")


def read_fields(
    model: BaseModel, *names: str, enums: Mapping[str, type[Any]] | None = None, drop: str | None = None
) -> dict[str, Any]:
    """Return the fields of a model that are set; raises `CapabilityError` if an unsupported field is set.

    Args:
        model: The model.
        *names: Fields whose values are returned unchanged.
        enums: Fields with values of enumerations, and the enumeration of Edge that each is converted to.
        drop: A field without information, such as the `type` tag of a union.
    """
    enums = enums or {}
    fields = {name: getattr(model, name) for name in type(model).model_fields if name != drop}
    values = {name: value for name, value in fields.items() if value is not None}
    unknown = values.keys() - set(names) - enums.keys()
    if unknown:
        raise unsupported_error(f"`{type(model).__name__}.{min(unknown)}`")
    return {name: same_member(enums[name], v) if name in enums else v for name, v in values.items()}


def same_member(kind: type[Any], member: Enum) -> Any:
    """Return the member of an Edge enumeration that corresponds to qdrant-client's."""
    wanted = _normalize(str(member.value))
    for name in dir(kind):
        if _normalize(name) == wanted:
            return getattr(kind, name)
    raise unsupported_error(f"`{type(member).__name__}.{member.name}`")


def _normalize(name: str) -> str:
    return name.replace("_", "").lower()


def as_list(value: T | list[T] | None) -> list[T] | None:
    """Return a list; qdrant-client's models accept a single value instead of a list."""
    return value if value is None or isinstance(value, list) else [value]
