"""Makes the further dense and sparse vectors of documents and queries."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import models

from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.encoders.base import require_encoder
from colbert_qdrant.encoders.bm25 import make_bm25, mean_length, repeats_a_word
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.shown import shown
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import Document
    from colbert_qdrant.encoders.base import VectorEncoder
    from colbert_qdrant.vectors import Vector


class FurtherVectors:
    """Makes the further vectors of documents and queries, or uses the vectors that come with them.

    ``encoders`` maps the name of a vector to the encoder that makes it.

    Raises:
        ConfigurationError: If an encoder is for a vector that the collection does not have.
        MissingExtraError: If BM25 must be computed in this process, but the embedded engine's package is missing.
    """

    def __init__(
        self, config: CollectionConfig, encoders: Mapping[str, VectorEncoder], capabilities: Capabilities
    ) -> None:
        unknown = sorted(map(str, set(encoders) - {*config.dense, *config.sparse}))
        if unknown:
            raise ConfigurationError(
                f"vector_encoders has encoders for {unknown}, but the collection has no such vectors: declare them in "
                "CollectionConfig(dense={…}, sparse={…}), or leave the encoders out"
            )
        self._config = config
        self._encoders = dict(encoders)
        self._bm25 = None if config.bm25 is None else make_bm25(config.bm25, capabilities)

    @property
    def avg_len(self) -> float | None:
        """The average number of words per document, for BM25; ``None`` until it is known, and without BM25."""
        return None if self._bm25 is None else self._bm25.avg_len

    @avg_len.setter
    def avg_len(self, words: float | None) -> None:
        if self._bm25 is not None:
            self._bm25.avg_len = words

    @property
    def measures_length(self) -> bool:
        """Whether BM25 depends on an average length that is measured."""
        return self._config.bm25 is not None and self._config.bm25.fixed_avg_len is None

    def mean_length(self, documents: Sequence[Document]) -> tuple[float, bool] | None:
        """Return the mean length of documents, and whether it is exact; ``None`` if no document has a text."""
        texts = [each.text for each in documents if each.has_text]
        if self._bm25 is None or not texts:
            return None
        return mean_length(self._bm25.words, texts), self._bm25.words is not None

    def counts_once(self, query: str) -> bool:
        """Tell whether a query repeats a word, and BM25 counts it only once."""
        return self._bm25 is not None and self._bm25.words is None and repeats_a_word(query)

    @property
    def names_without_encoder(self) -> list[str]:
        """Names of the vectors without an encoder, which documents must bring themselves."""
        return [name for name in (*self._config.dense, *self._config.sparse) if name not in self._encoders]

    @property
    def names_from_texts(self) -> list[str]:
        """Names of the vectors that encoders make from a document's text."""
        own = [] if self._bm25 is None else [self._config.bm25_vector]
        return [*own, *(name for name in (*self._config.dense, *self._config.sparse) if name in self._encoders)]

    def documents(self, documents: Sequence[Document], *, only: str | None = None) -> list[dict[str, Vector]]:
        """Make the further vectors of documents, by name.

        A vector is left out if it has no encoder, or the document has no text, and the document does not bring it.
        ``only`` restricts the encoders to the vector of that name.

        Raises:
            InvalidDocumentError: If a document brings, or an encoder makes, a vector that cannot be stored.
        """
        results: list[dict[str, Vector]] = [{} for _ in documents]
        if self._bm25 is not None and only in (None, self._config.bm25_vector):
            with_text = [number for number, each in enumerate(documents) if each.has_text]
            word_counts = self._bm25.documents([documents[number].text for number in with_text])
            for number, counts in zip(with_text, word_counts, strict=True):
                if counts is not None:
                    results[number][self._config.bm25_vector] = counts
        for name in (*self._config.dense, *self._config.sparse):
            missing = [number for number, each in enumerate(documents) if name not in each.vectors and each.has_text]
            encoder = self._encoders.get(name) if only in (None, name) else None
            if encoder is not None and missing:
                texts = [documents[number].text for number in missing]
                encoded = list(encoder.encode_documents(texts))
                _require_one_each(name, encoded, texts)
                for number, vector in zip(missing, encoded, strict=True):
                    results[number][name] = self._of_document(documents[number], name, vector)
        for vectors, document in zip(results, documents, strict=True):
            vectors.update(self.own_vectors(document))
        return results

    def queries(
        self, texts: Sequence[str] | None, vectors: Mapping[str, Sequence[Any]], *, names: Iterable[str], count: int
    ) -> list[dict[str, Any]]:
        """Make the further vectors of queries, by name; a query of stop words has no vector for BM25.

        ``texts`` is ``None`` if the queries are token vectors. ``vectors`` are the vectors that the user passed.

        Raises:
            ConfigurationError: If a requested vector cannot be made, a passed vector is not requested, or there is not
                one vector per query.
            InvalidQueryError: If a vector cannot be searched for.
        """
        names = list(names)
        unused = sorted(map(str, set(vectors) - set(names)))
        if unused:
            raise ConfigurationError(
                f"vectors has {unused}, but the search prefetches by {names}: name these vectors in prefetch=, use "
                "mode='hybrid', or leave them out"
            )
        results: list[dict[str, Any]] = [{} for _ in range(count)]
        for name in names:
            if name == self._config.fde_vector:
                continue
            found = self._of_queries(name, texts, vectors)
            _require_one_each(name, found, results)
            for query, vector in zip(results, found, strict=True):
                if vector is not None:
                    query[name] = vector
        return results

    def _of_queries(self, name: str, texts: Sequence[str] | None, vectors: Mapping[str, Sequence[Any]]) -> list[Any]:
        if name in vectors:
            return [_to_query(self._check_vector(name, vector)) for vector in vectors[name]]
        if texts is not None and self._bm25 is not None and name == self._config.bm25_vector:
            return list(self._bm25.queries(texts))
        if texts is not None and name in self._encoders:
            return [
                _to_query(self._check_vector(name, vector)) for vector in self._encoders[name].encode_queries(texts)
            ]
        if name == self._config.bm25_vector:
            raise ConfigurationError(
                f"the query has no vector {name!r} to search with: pass the query as text, pass "
                f"vectors={{{name!r}: …}}, or search without BM25"
            )
        raise ConfigurationError(
            f"the query has no vector {name!r} to search with: pass the query as text and open the collection with "
            f"vector_encoders={{{name!r}: …}}, pass vectors={{{name!r}: …}}, or leave it out of prefetch="
        )

    def own_vectors(self, document: Document) -> dict[str, Vector]:
        """Return the vectors that a document brings, by name.

        Raises:
            InvalidDocumentError: If a vector cannot be stored.
        """
        for name in document.vectors:
            if name not in self._config.dense and name not in self._config.sparse:
                names = sorted((*self._config.dense, *self._config.sparse))
                known = f"has only {names}: remove it, or use one of these names"
                raise InvalidDocumentError(
                    f"document {shown(document.id)} brings a vector {shown(name)}, but the collection "
                    f"{known if names else 'takes no further vectors: remove it'}"
                )
        return {name: self._of_document(document, name, vector) for name, vector in document.vectors.items()}

    def _of_document(self, document: Document, name: str, vector: Any) -> Vector:
        try:
            return self._check_vector(name, vector)
        except InvalidQueryError as error:
            raise InvalidDocumentError(f"document {shown(document.id)}: {error}") from error

    def _check_vector(self, name: str, value: Any) -> Vector:
        """Return a user's vector in its storage format; raise `InvalidQueryError` for an invalid value."""
        if name in self._config.dense:
            return _to_dense(name, value, self._config.dense[name].dim)
        return _to_sparse(name, value)


def require_encoders(encoder: object, vector_encoders: object) -> None:
    """Check the types of the encoders that a collection is opened with.

    Raises:
        ConfigurationError: If a value is not an encoder.
    """
    if encoder is not None:
        require_encoder(encoder)
    require_instance("vector_encoders", vector_encoders, (Mapping, NoneType), "a dict, an encoder for each name")
    for name, each in vector_encoders.items() if isinstance(vector_encoders, Mapping) else ():
        require_encoder(each, "encode_queries", "encode_documents", name=f"vector_encoders[{name!r}]")


def _to_dense(name: str, value: Any, dim: int) -> Vector:
    try:
        vector = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidQueryError(
            f"vector {name!r} is {shown(value, 60)}, which is not numeric: pass {dim} numbers"
        ) from error
    if vector.shape != (dim,) or not np.isfinite(vector).all():
        raise InvalidQueryError(f"vector {name!r} of shape {vector.shape} is invalid: pass {dim} finite numbers")
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
            f"vector {name!r} has invalid or duplicate indices: use distinct integers from 0 to 2**32 - 1"
        )
    return SparseVector(indices=indices.astype(np.uint32), values=values)


def _not_sparse_error(name: str, value: Any) -> InvalidQueryError:
    return InvalidQueryError(
        f"vector {name!r} is {shown(value, 60)}, which is not a sparse vector: pass a models.SparseVector, or a dict "
        "of finite numbers by index"
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
            f"there are {len(vectors)} vectors {name!r} for {len(of)} texts: pass one vector per text"
        )
