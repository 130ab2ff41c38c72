"""Explains why the user's own search was refused, by comparing it with the collection's vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.errors import SchemaMismatchError
from colbert_qdrant.points.schema import named_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Part = models.QueryRequest | models.Prefetch

_WITHOUT_VECTOR: Final = tuple(
    kind
    for name in ("FusionQuery", "RrfQuery", "FormulaQuery", "OrderByQuery", "SampleQuery")
    if (kind := getattr(models, name, None)) is not None
)


def require_fitting(requests: Sequence[models.QueryRequest], info: models.CollectionInfo, *, collection: str) -> None:
    """Check that searches match the vectors of a collection.

    Raises:
        SchemaMismatchError: If a search uses a vector that the collection lacks, or that has another form. The message
            names the vector and the alternatives.
    """
    for part in _parts(requests):
        problem = _problem(part, info)
        if problem:
            raise SchemaMismatchError(f"the search that finds candidates in collection {collection!r} {problem}")


def _parts(found: Any) -> Iterator[Part]:
    """Yield every part of searches that has a query vector."""
    if found is None:
        return
    for part in found if isinstance(found, list | tuple) else [found]:
        if part.query is not None and not isinstance(part.query, _WITHOUT_VECTOR):
            yield part
        yield from _parts(part.prefetch)


def _problem(part: Part, info: models.CollectionInfo) -> str | None:
    dense, sparse = named_vectors(info), info.config.params.sparse_vectors or {}
    name = part.using or ""
    names = ", ".join(map(repr, sorted({*dense, *sparse}))) or "none"
    if name not in dense and name not in sparse:
        given = f"uses vector {name!r}, which does not exist" if name else "names no vector"
        return f"{given}: pass using=…, one of {names}"
    query = part.query.nearest if isinstance(part.query, models.NearestQuery) else part.query
    is_sparse, is_many = isinstance(query, models.SparseVector), _is_many(query)
    if name in sparse:
        is_wrong = isinstance(query, list) and not is_sparse
        return f"has a list for vector {name!r}, which is sparse: pass a models.SparseVector" if is_wrong else None
    params = dense[name]
    if is_sparse:
        return f"has a sparse vector for {name!r}, which is dense: pass a list of {params.size} numbers"
    if is_many and params.multivector_config is None:
        return f"has several vectors for {name!r}, which is a single vector: pass a flat list of {params.size} numbers"
    return _wrong_size(name, query, params.size)


def _wrong_size(name: str, query: Any, size: int) -> str | None:
    rows = query if _is_many(query) else [query] if isinstance(query, list) else []
    wrong = next((len(row) for row in rows if len(row) != size), None)
    return (
        None
        if wrong is None
        else (
            f"has {wrong} numbers for vector {name!r}, which has {size}: encode it with the model of the stored vectors"
        )
    )


def _is_many(query: Any) -> bool:
    return isinstance(query, list) and bool(query) and isinstance(query[0], list)
