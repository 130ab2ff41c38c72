"""Translates Edge's exceptions to this library's, by their messages, for Edge raises bare `Exception`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from colbert_qdrant.edge.space import REMEDY
from colbert_qdrant.errors import (
    ClosedError,
    ColbertQdrantError,
    DiskFullError,
    EngineError,
    SchemaMismatchError,
    StoreLockedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_SCORE = (
    "; so ends a formula where a point has not the number, date or place that it needs, and `defaults` have none "
    "either, or where the result is no finite number"
)
_KINDS: tuple[tuple[str, type[ColbertQdrantError], str], ...] = (
    ("Not existing vector name", SchemaMismatchError, ""),
    ("Vector dimension error", SchemaMismatchError, ""),
    ("Wrong usage of", SchemaMismatchError, ""),
    ("WouldBlock", StoreLockedError, "; another process has its files open, perhaps a child that was forked"),
    ("No space left on device", DiskFullError, f": {REMEDY}"),
    ("process cancelled by service", EngineError, _NO_SCORE),
    ("Shard is not initialized", ClosedError, "; the collection was closed meanwhile"),
)


@contextlib.contextmanager
def engine_errors(operation: str, collection: str) -> Iterator[None]:
    """Raises this library's errors instead of Edge's; the message names the operation and the collection."""
    try:
        yield
    except BaseException as error:
        if not is_from_engine(error):
            raise
        raise _translate(error, operation, collection) from error


def is_from_engine(error: BaseException) -> bool:
    """Tells whether Edge raised an error: `Exception` itself, a panic, or Python's own for values it cannot read."""
    panic = type(error).__module__ == "pyo3_runtime"
    refused = isinstance(error, (ValueError, TypeError, OverflowError, OSError))
    return (type(error) is Exception or panic or refused) and not isinstance(error, ColbertQdrantError)


def _translate(error: BaseException, operation: str, collection: str) -> ColbertQdrantError:
    text = str(error).strip()
    for part, kind, remedy in _KINDS:
        if part in text:
            return kind(f"{operation} on collection {collection!r}: {text}{remedy}")
    return EngineError(f"{operation} on collection {collection!r} failed: {text}")
