"""Encodes queries as token embeddings, and checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.errors import InvalidQueryError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.encoders.base import LateInteractionEncoder


def query_tokens(
    queries: Sequence[str] | TokenEmbeddings, *, encoder: LateInteractionEncoder, collection: str
) -> TokenEmbeddings:
    """Encode queries that are texts, and check all of them.

    Raises:
        InvalidQueryError: A query is empty, or its vectors are not of the collection's dimensions.
    """
    if isinstance(queries, str):
        raise InvalidQueryError("search_batch takes a list of queries, got one string: use search")
    if not isinstance(queries, TokenEmbeddings):
        for number, query in enumerate(queries):
            if not isinstance(query, str) or not query.strip():
                raise InvalidQueryError(f"query {number} is {query!r}: a query is a text that is not empty")
        queries = encoder.encode_queries(queries)
    if queries.dim != encoder.dim:
        raise InvalidQueryError(
            f"the query's token vectors have {queries.dim} dimensions, those of collection {collection!r} have "
            f"{encoder.dim}: encode it with the collection's encoder"
        )
    return queries


def one_query(query: str | TokenEmbeddings) -> list[str] | TokenEmbeddings:
    """Return one query as a batch; raise `InvalidQueryError` for token embeddings of none or several."""
    if isinstance(query, str):
        return [query]
    if len(query) != 1:
        raise InvalidQueryError(f"search takes one query, got {len(query)}: use search_batch")
    return query
