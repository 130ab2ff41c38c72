"""Reranks existing token embeddings, with the API of PyLate's ``rank`` module: ``from colbert_qdrant import rank``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from colbert_qdrant.errors import ConfigurationError, InvalidTokensError
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.shown import shown
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


class RerankResult(TypedDict):
    """A document and its score.

    Attributes:
        id: The document's id, as passed by the caller.
        score: MaxSim of the query and the document.
    """

    id: Any
    score: float


def rerank(
    documents_ids: Sequence[Sequence[Any]],
    queries_embeddings: Any,
    documents_embeddings: Any,
    device: str | None = None,
) -> list[list[RerankResult]]:
    """Rank each query's own candidates by MaxSim.

    Arguments and return value are those of PyLate's ``rank.rerank``. A matrix ``(n_tokens, dim)`` is a NumPy array, a
    torch tensor on any device and of any float type, or a list of rows. Scores are float32. Scores differ from PyLate
    in two cases, because PyLate pads documents to one length with zero vectors and scores those:

    - Scores are exact. PyLate counts 0 for a query token whose best match in a document is negative, if that
      document is shorter than another candidate. So its score depends on the other candidates.
    - All-zero rows at the end of a document are treated as such padding and dropped. A document with only zero rows
      keeps one row, and scores 0. Tokens in `TokenEmbeddings` are never dropped.

    Args:
        documents_ids: For each query, the ids of its candidates, of any type.
        queries_embeddings: One matrix per query: a list of matrices, a 3-D array or `TokenEmbeddings`. A 2-D array
            is one query.
        documents_embeddings: For each query, one matrix per candidate: a list of matrices, a 3-D array or
            `TokenEmbeddings`.
        device: The device to compute on, as for `maxsim`. The default is NumPy on the CPU, even if the embeddings are
            on another device.

    Returns:
        For each query, its candidates by descending score; ties keep their input order.

    Raises:
        ConfigurationError: If the numbers of queries and of lists of candidates differ, a query's numbers of ids and
            documents differ, or torch has no such device.
        InvalidTokensError: If an embedding is not a matrix or contains NaN, or a query and its documents differ in
            ``dim``.

    Example:
        >>> rerank([["a", "b"]], [[[1.0, 0.0]]], [[[[0.0, 1.0]], [[0.5, 0.5], [0.6, 0.0]]]], device="cpu")[0][0]["id"]
        'b'
    """
    given = {
        "documents_ids": documents_ids,
        "queries_embeddings": queries_embeddings,
        "documents_embeddings": documents_embeddings,
    }
    for name, values in given.items():
        _require_several(name, values)
    queries = [queries_embeddings] if getattr(queries_embeddings, "ndim", None) == 2 else queries_embeddings
    _check_counts(len(queries), len(documents_ids), len(documents_embeddings))
    return [
        _rank(number, ids, query, documents, device)
        for number, (ids, query, documents) in enumerate(zip(documents_ids, queries, documents_embeddings, strict=True))
    ]


def _rank(number: int, ids: Sequence[Any], query: Any, documents: Any, device: str | None) -> list[RerankResult]:
    with _name_in_errors(f"query {number}"):
        documents = _unpack(documents)
    _require_several(f"the documents of query {number}", documents)
    if not isinstance(ids, str):
        _require_several(f"the ids of query {number}", ids)
    if len(documents) != len(ids) or isinstance(ids, str):
        raise ConfigurationError(
            f"query {number} has {len(documents)} documents and the ids {shown(ids, 80)}: pass a list with one id per "
            "document"
        )
    if not len(ids):
        return []
    with _name_in_errors(f"query {number}"):
        tokens = TokenEmbeddings.from_matrices([_to_array(query, "its embedding")])
    with _name_in_errors(f"documents of query {number}"):
        scores = maxsim(tokens, _to_batch(documents), device=device)[0]
    order = np.argsort(-scores, kind="stable")
    return [RerankResult(id=ids[index], score=float(scores[index])) for index in order.tolist()]


def _require_several(name: str, values: Any) -> None:
    try:
        sized = len(values) >= 0 and not isinstance(values, str | bytes | dict | set | frozenset)
    except TypeError:
        sized = False
    if not sized:
        raise ConfigurationError(f"{name} must be a list, got {type(values).__name__} {shown(values)}")


def _check_counts(queries: int, ids: int, documents: int) -> None:
    if queries != ids or queries != documents:
        raise ConfigurationError(
            f"there are {queries} queries, {ids} lists of ids and {documents} lists of documents: pass one list of "
            "each per query, even for a single query"
        )


@contextmanager
def _name_in_errors(where: str) -> Iterator[None]:
    try:
        yield
    except InvalidTokensError as error:
        raise InvalidTokensError(f"{where}: {error}") from error


def _unpack(documents: Any) -> Any:
    """Return a collection with one entry per document."""
    is_array = hasattr(documents, "ndim")
    return _to_array(documents, "its documents", ndim=3) if is_array else documents


def _to_batch(documents: Any) -> TokenEmbeddings:
    if isinstance(documents, TokenEmbeddings):
        return documents
    matrices = [_to_array(matrix, f"document {index}") for index, matrix in enumerate(documents)]
    return TokenEmbeddings.from_matrices([_without_padding(matrix) for matrix in matrices])


def _to_array(values: Any, what: str, *, ndim: int = 2) -> NDArray[np.float32]:
    """Convert arrays, tensors and lists to float32; tensors are recognized by methods, without importing torch."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(_to_host(values), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidTokensError(
            f"{what} cannot be converted to an array of numbers ({error}): pass a list of rows, an array or a tensor"
        ) from error
    if array.ndim != ndim:
        shape = "(n_tokens, dim)" if ndim == 2 else "(n_documents, n_tokens, dim), or a list of matrices"
        raise InvalidTokensError(f"{what} must have shape {shape}, got shape {array.shape}")
    return array


def _to_host(values: Any) -> Any:
    if hasattr(values, "detach"):
        return values.detach().cpu().float().numpy()
    if isinstance(values, list | tuple) and any(hasattr(row, "detach") for row in values):
        return [_to_host(row) for row in values]
    return values


def _without_padding(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    if not len(matrix) or matrix[-1].any():
        return matrix
    used = np.flatnonzero(matrix.any(axis=1))
    return matrix[: used[-1] + 1] if len(used) else matrix[:1]
