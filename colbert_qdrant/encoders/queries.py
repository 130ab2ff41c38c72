"""Encodes queries as token embeddings, and validates them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from colbert_qdrant.encoders.base import require_text
from colbert_qdrant.errors import InvalidQueryError
from colbert_qdrant.shown import has, listed, shown
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.encoders.base import LateInteractionEncoder


def query_tokens(
    queries: Sequence[str] | TokenEmbeddings, *, encoder: LateInteractionEncoder, collection: str
) -> TokenEmbeddings:
    """Encode queries if they are texts, and validate the token embeddings.

    Raises:
        InvalidQueryError: If a query is empty, or its vectors do not have the collection's dimensions.
    """
    if not isinstance(queries, TokenEmbeddings):
        require_texts(queries)
        count, queries = len(queries), encoder.encode_queries(queries)
        require_tokens("the result of encode_queries", queries)
        if len(queries) != count:
            raise InvalidQueryError(
                f"the encoder returned {len(queries)} matrices for {count} queries: make it return one matrix per query"
            )
    if queries.dim != encoder.dim:
        raise InvalidQueryError(
            f"the query's token vectors have {queries.dim} dimensions, but those of collection {collection!r} have "
            f"{encoder.dim}: encode the query with the collection's encoder"
        )
    return queries


def require_texts(queries: Sequence[str]) -> None:
    """Check queries that are texts.

    Raises:
        InvalidQueryError: If a query is empty, or is not a text.
    """
    if isinstance(queries, str):
        raise InvalidQueryError("search_batch takes a list of queries, got one string: call search")
    for number, query in enumerate(queries):
        if not isinstance(query, str) or not query.strip():
            ready = isinstance(query, TokenEmbeddings)
            remedy = "pass one TokenEmbeddings.concatenate(queries)" if ready else "pass a text that is not empty"
            raise InvalidQueryError(f"query {number} is {shown(query)}: {remedy}")
        require_text(f"query {number}", query, InvalidQueryError)


def several_queries(queries: Iterable[str] | TokenEmbeddings) -> list[str] | TokenEmbeddings:
    """Return several queries as a list.

    Raises:
        InvalidQueryError: If the value is neither a list of queries nor `TokenEmbeddings`.
    """
    if isinstance(queries, TokenEmbeddings):
        return queries
    if isinstance(queries, str):
        raise InvalidQueryError("search_batch takes a list of queries, got one string: call search")
    texts = listed(queries)
    if texts is None:
        raise InvalidQueryError(
            f"queries is {type(queries).__name__} {shown(queries)}: pass a list of texts, or TokenEmbeddings"
        )
    return texts


def one_query(query: str | TokenEmbeddings) -> list[str] | TokenEmbeddings:
    """Return one query as a batch.

    Raises:
        InvalidQueryError: If the value is neither a string nor the `TokenEmbeddings` of exactly one query.
    """
    if isinstance(query, str):
        return [query]
    if has(query, "shape"):
        raise InvalidQueryError(
            f"query is a matrix of type {type(query).__name__}: pass TokenEmbeddings.from_matrices([matrix])"
        )
    if not isinstance(query, TokenEmbeddings):
        raise InvalidQueryError(
            f"query is {type(query).__name__} {shown(query)}: pass one text, or the TokenEmbeddings of one query, or "
            "call search_batch with a list"
        )
    if len(query) != 1:
        raise InvalidQueryError(f"search takes one query, got {len(query)}: call search_batch")
    return query
