"""Refuses arguments that are nothing a method takes, with an error of this library's."""

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
"""Parameter → the types that it takes."""

_NAMES: Final[Mapping[str, str]] = {"collection_name": "a collection", "file_name": "an attached file"}
"""Parameter → what it names."""

_LISTS: Final = frozenset(
    {"points", "points_selector", "ids", "keys", "vectors", "requests", "change_aliases_operations", "with_vectors"}
)
"""Parameters that take lists: nothing without a length, which may have no end."""


def checked(method: Callable[P, R]) -> Callable[P, R]:
    """Returns a method that raises only this library's errors, but `TypeError` for arguments that it does not have."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        bound = signature.bind(*arguments, **named)
        with wrong_arguments(method.__name__):
            check_arguments(bound)
            return method(*bound.args, **bound.kwargs)

    return call


def check_arguments(bound: inspect.BoundArguments) -> None:
    """Raises `ConfigurationError` for an argument that is nothing its parameter takes; strings become exactly that.

    A subclass of `str` may compare and print in its own way.
    """
    for name, value in bound.arguments.items():
        kinds, wanted = _KINDS.get(name, ((object,), ""))
        if not isinstance(value, kinds):
            raise ConfigurationError(f"{name} is a {type(value).__name__}: give {wanted}")
        if name in _NAMES and not isinstance(value, str):
            check_name(value, _NAMES[name])
        if name in _LISTS and isinstance(value, Iterable) and not isinstance(value, Sized | BaseModel):
            raise ConfigurationError(f"{name} is a {type(value).__name__}: give a list")
        if isinstance(value, str) and type(value) is not str:
            bound.arguments[name] = value.value if isinstance(value, Enum) else str.__str__(value)


@contextlib.contextmanager
def wrong_arguments(operation: str) -> Iterator[None]:
    """Raises `ConfigurationError` for what fails because an argument, or a value in it, is of another type."""
    try:
        yield
    except (ColbertQdrantError, MemoryError):
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{operation} cannot be done with its arguments ({type(error).__name__}: {str(error)[:200]}): give what "
            "QdrantClient takes"
        ) from error
