"""Converts Edge's exceptions to this library's errors by their messages, because Edge raises plain `Exception`."""

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
    "; if the query has a formula, add `defaults` for points without its payload values, and make sure that every "
    "result is a finite number"
)
_KINDS: tuple[tuple[str, type[ColbertQdrantError], str], ...] = (
    ("Not existing vector name", SchemaMismatchError, ""),
    ("Vector dimension error", SchemaMismatchError, ""),
    ("Wrong usage of", SchemaMismatchError, ""),
    ("WouldBlock", StoreLockedError, "; another process has its files open: end it, for example a forked child"),
    ("No space left on device", DiskFullError, f": {REMEDY}"),
    ("process cancelled by service", EngineError, _NO_SCORE),
    ("Shard is not initialized", ClosedError, "; the collection was closed during the call: open it again"),
)


@contextlib.contextmanager
def engine_errors(operation: str, collection: str) -> Iterator[None]:
    """Raise this library's errors instead of Edge's; the message names the operation and the collection."""
    try:
        yield
    except BaseException as error:
        if not is_from_engine(error):
            raise
        raise _translate(error, operation, collection) from error


def is_from_engine(error: BaseException) -> bool:
    """Tell whether Edge raised an error: a plain `Exception`, a panic, or a built-in error for an unreadable value."""
    panic = type(error).__module__ == "pyo3_runtime"
    refused = isinstance(error, (ValueError, TypeError, OverflowError, OSError))
    return (type(error) is Exception or panic or refused) and not isinstance(error, ColbertQdrantError)


def _translate(error: BaseException, operation: str, collection: str) -> ColbertQdrantError:
    text = str(error).strip()
    for part, kind, remedy in _KINDS:
        if part in text:
            return kind(f"{operation} on collection {collection!r}: {text}{remedy}")
    return EngineError(f"{operation} on collection {collection!r} failed: {text}")
