"""Makes the vectors beside the encoding and the token vectors, of documents and of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import models

from colbert_qdrant.encoders.bm25 import make_bm25
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.shown import shown
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import Document
    from colbert_qdrant.encoders.base import VectorEncoder
    from colbert_qdrant.vectors import Vector


class FurtherVectors:
    """Makes the further vectors of documents and queries, or takes those that they bring along.

    The user's encoders go by the name of the vector that they make.

    Raises:
        ConfigurationError: An encoder is for a vector that the collection has not.
        MissingExtraError: BM25 has to be computed here, and the embedded engine's package is not installed.
    """

    def __init__(
        self, config: CollectionConfig, encoders: Mapping[str, VectorEncoder], capabilities: Capabilities
    ) -> None:
        unknown = sorted(map(str, set(encoders) - {*config.dense, *config.sparse}))
        if unknown:
            raise ConfigurationError(
                f"there are encoders for {unknown}, but the collection has no such vectors: name them in "
                "CollectionConfig(dense={…}, sparse={…})"
            )
        self._config = config
        self._encoders = dict(encoders)
        self._bm25 = None if config.bm25 is None else make_bm25(config.bm25, capabilities)

    @property
    def names_without_encoder(self) -> list[str]:
        """Names of the vectors that only documents themselves can bring: no encoder makes them."""
        return [name for name in (*self._config.dense, *self._config.sparse) if name not in self._encoders]

    def documents(self, documents: Sequence[Document]) -> list[dict[str, Vector]]:
        """Make the further vectors of documents, by name; those without an encoder that a document lacks are left out.

        Raises:
            InvalidDocumentError: A document brings, or an encoder makes, a vector that cannot be stored.
        """
        made: list[dict[str, Vector]] = [{} for _ in documents]
        if self._bm25 is not None:
            counted = self._bm25.documents([each.text for each in documents])
            for vectors, counts in zip(made, counted, strict=True):
                if counts is not None:
                    vectors[self._config.bm25_vector] = counts
        for name in (*self._config.dense, *self._config.sparse):
            missing = [number for number, each in enumerate(documents) if name not in each.vectors]
            encoder = self._encoders.get(name)
            if encoder is not None and missing:
                texts = [documents[number].text for number in missing]
                encoded = list(encoder.encode_documents(texts))
                _require_one_each(name, encoded, texts)
                for number, vector in zip(missing, encoded, strict=True):
                    made[number][name] = self._of_document(documents[number], name, vector)
        for vectors, document in zip(made, documents, strict=True):
            vectors.update(self.brought(document))
        return made

    def queries(
        self, texts: Sequence[str] | None, vectors: Mapping[str, Sequence[Any]], *, names: Iterable[str], count: int
    ) -> list[dict[str, Any]]:
        """Make the further vectors of queries, by name; a query without words for BM25 has none for it.

        ``texts`` is ``None`` if there are only token vectors of the queries; ``vectors`` are those that are at hand.

        Raises:
            ConfigurationError: A vector that is asked for cannot be made, one is given that is not asked for, or there
                is not one for each query.
            InvalidQueryError: A vector cannot be searched for.
        """
        names = list(names)
        unused = sorted(map(str, set(vectors) - set(names)))
        if unused:
            raise ConfigurationError(
                f"there are vectors for {unused}, but the search prefetches by {names}: name them in prefetch=, use "
                "mode='hybrid', or leave the vectors out"
            )
        made: list[dict[str, Any]] = [{} for _ in range(count)]
        for name in names:
            if name == self._config.fde_vector:
                continue
            found = self._of_queries(name, texts, vectors)
            _require_one_each(name, found, made)
            for query, vector in zip(made, found, strict=True):
                if vector is not None:
                    query[name] = vector
        return made

    def _of_queries(self, name: str, texts: Sequence[str] | None, vectors: Mapping[str, Sequence[Any]]) -> list[Any]:
        if name in vectors:
            return [_to_query(self._check_vector(name, vector)) for vector in vectors[name]]
        if texts is not None and self._bm25 is not None and name == self._config.bm25_vector:
            return list(self._bm25.queries(texts))
        if texts is not None and name in self._encoders:
            return [
                _to_query(self._check_vector(name, vector)) for vector in self._encoders[name].encode_queries(texts)
            ]
        raise ConfigurationError(
            f"there is nothing to search {name!r} for: give the query as text, an encoder when the collection is "
            f"opened (vector_encoders={{{name!r}: …}}), its vector (vectors={{{name!r}: …}}), or prefetch= without it"
        )

    def brought(self, document: Document) -> dict[str, Vector]:
        """Return the vectors that a document brings, by name.

        Raises:
            InvalidDocumentError: One cannot be stored.
        """
        for name in document.vectors:
            if name not in self._config.dense and name not in self._config.sparse:
                raise InvalidDocumentError(
                    f"document {shown(document.id)} brings a vector {shown(name)}, which the collection has not: "
                    f"it has {sorted((*self._config.dense, *self._config.sparse))}"
                )
        return {name: self._of_document(document, name, vector) for name, vector in document.vectors.items()}

    def _of_document(self, document: Document, name: str, vector: Any) -> Vector:
        try:
            return self._check_vector(name, vector)
        except InvalidQueryError as error:
            raise InvalidDocumentError(f"document {shown(document.id)}: {error}") from error

    def _check_vector(self, name: str, value: Any) -> Vector:
        """Return a user's vector in the form that it is stored in; raise `InvalidQueryError` for another value."""
        if name in self._config.dense:
            return _to_dense(name, value, self._config.dense[name].dim)
        return _to_sparse(name, value)


def _to_dense(name: str, value: Any, dim: int) -> Vector:
    try:
        vector = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidQueryError(f"vector {name!r} is {shown(value, 60)}: expected {dim} numbers") from error
    if vector.shape != (dim,) or not np.isfinite(vector).all():
        raise InvalidQueryError(f"vector {name!r} has shape {vector.shape}: expected {dim} finite numbers")
    return np.ascontiguousarray(vector)


def _to_sparse(name: str, value: Any) -> Vector:
    parts = (
        (list(value), list(value.values()))
        if isinstance(value, dict)
        else (getattr(value, "indices", None), getattr(value, "values", None))
    )
    try:
        indices = np.asarray(parts[0], np.float64)
        with np.errstate(over="ignore"):
            values = np.asarray(parts[1], np.float64).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise _not_sparse_error(name, value) from error
    if indices.ndim != 1 or indices.shape != values.shape or not np.isfinite(values).all():
        raise _not_sparse_error(name, value)
    if not np.isin(indices, indices.astype(np.uint32)).all() or np.unique(indices).size != indices.size:
        raise InvalidQueryError(
            f"vector {name!r} has indices that are no whole numbers below 2**32, or are there twice"
        )
    return SparseVector(indices=indices.astype(np.uint32), values=values)


def _not_sparse_error(name: str, value: Any) -> InvalidQueryError:
    return InvalidQueryError(
        f"vector {name!r} is {shown(value, 60)}: expected a models.SparseVector, or a dict of finite numbers by index"
    )


def _to_query(vector: Vector) -> Any:
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    if isinstance(vector, SparseVector):
        if not vector.indices.size:
            return None
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector


def _require_one_each(name: str, vectors: Sequence[Any], of: Sequence[Any]) -> None:
    if len(vectors) != len(of):
        raise ConfigurationError(
            f"there are {len(vectors)} vectors {name!r} for {len(of)} texts: one is needed for each"
        )
