"""Rejects arguments of the wrong type with this library's errors."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from enum import Enum
from types import NoneType
from typing import Final, ParamSpec, TypeVar

from pydantic import BaseModel

from colbert_qdrant.edge.names import check_name
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

_STRING: Final = ((str,), "a string")
_MAPPING: Final = ((Mapping, NoneType), "a dict")
_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "vector_name": _STRING,
    "field_name": _STRING,
    "group_by": _STRING,
    "payload": _MAPPING,
    "metadata": _MAPPING,
    "vectors_config": ((Mapping, BaseModel, NoneType), "a dict or VectorParams"),
    "sparse_vectors_config": _MAPPING,
    "data": ((bytes, NoneType), "bytes"),
    "key": ((str, NoneType), "a string"),
}
"""The types that parameters accept, by name."""

_NAMES: Final[Mapping[str, str]] = {"collection_name": "a collection", "file_name": "an attached file"}
"""The kinds of objects that parameters name, by parameter."""

_LISTS: Final = frozenset(
    {
        "points",
        "points_selector",
        "ids",
        "keys",
        "vectors",
        "requests",
        "change_aliases_operations",
        "with_vectors",
        "prefetch",
    }
)
"""Parameters that accept lists; iterables without a length are rejected, because they may be infinite."""


def checked(method: Callable[P, R]) -> Callable[P, R]:
    """Return a method that raises only this library's errors, except `TypeError` for unknown arguments."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        bound = signature.bind(*arguments, **named)
        with wrong_arguments(method.__name__):
            check_arguments(bound)
            return method(*bound.args, **bound.kwargs)

    return call


def check_arguments(bound: inspect.BoundArguments) -> None:
    """Raise `ConfigurationError` for an argument of the wrong type, and convert subclasses of `str` to `str`.

    A subclass of `str` may override comparison and printing.
    """
    for name, value in bound.arguments.items():
        kinds, wanted = _KINDS.get(name, ((object,), ""))
        if not isinstance(value, kinds):
            raise ConfigurationError(f"{name} must be {wanted}, got {type(value).__name__}")
        if name in _NAMES and not isinstance(value, str):
            check_name(value, _NAMES[name])
        if name in _LISTS and isinstance(value, Iterable) and not isinstance(value, Sized | BaseModel):
            raise ConfigurationError(f"{name} must be a list, got {type(value).__name__}")
        if isinstance(value, str) and type(value) is not str:
            bound.arguments[name] = value.value if isinstance(value, Enum) else str.__str__(value)


@contextlib.contextmanager
def wrong_arguments(operation: str) -> Iterator[None]:
    """Raise `ConfigurationError` for errors that arguments of the wrong type cause."""
    try:
        yield
    except (ColbertQdrantError, MemoryError):
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the arguments of {operation} are invalid ({type(error).__name__}: {str(error)[:200]}): use the types "
            "that QdrantClient accepts"
        ) from error
