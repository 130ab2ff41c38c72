"""Reads qdrant-client's models without losing anything: what Edge does not have is refused, not dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from colbert_qdrant.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

    from pydantic import BaseModel

T = TypeVar("T")


def unsupported_error(what: str) -> CapabilityError:
    """Returns the error for something that only a Qdrant server has."""
    return CapabilityError(f"the embedded engine does not support {what}; use a Qdrant server for it")


def read_fields(
    model: BaseModel, *names: str, enums: Mapping[str, type[Any]] | None = None, drop: str | None = None
) -> dict[str, Any]:
    """Returns the fields of a model that are set; raises `CapabilityError` if another one is.

    The caller passes `names` on as they are. `enums` has the enumeration of Edge that a field's value is translated to.
    The field `drop` carries no information (the `type` tag of a union).
    """
    enums = enums or {}
    fields = {name: getattr(model, name) for name in type(model).model_fields if name != drop}
    values = {name: value for name, value in fields.items() if value is not None}
    unknown = values.keys() - set(names) - enums.keys()
    if unknown:
        raise unsupported_error(f"`{type(model).__name__}.{min(unknown)}`")
    return {name: same_member(enums[name], v) if name in enums else v for name, v in values.items()}


def same_member(kind: type[Any], member: Enum) -> Any:
    """Returns the member of an enumeration of Edge that means the same as qdrant-client's."""
    wanted = _normalize(str(member.value))
    for name in dir(kind):
        if _normalize(name) == wanted:
            return getattr(kind, name)
    raise unsupported_error(f"`{type(member).__name__}.{member.name}`")


def _normalize(name: str) -> str:
    return name.replace("_", "").lower()


def as_list(value: T | list[T] | None) -> list[T] | None:
    """Returns a list: qdrant-client's models take one value where they take a list of them."""
    return value if value is None or isinstance(value, list) else [value]
