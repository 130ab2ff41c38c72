"""Encodes queries as token embeddings, and checks them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from colbert_qdrant.encoders.base import require_text
from colbert_qdrant.errors import InvalidQueryError
from colbert_qdrant.shown import listed, shown
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

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
                raise InvalidQueryError(f"query {number} is {shown(query)}: a query is a text that is not empty")
            require_text(f"query {number}", query, InvalidQueryError)
        count, queries = len(queries), encoder.encode_queries(queries)
        require_tokens("what the encoder gives for queries", queries)
        if len(queries) != count:
            raise InvalidQueryError(
                f"the encoder gave {len(queries)} matrices for {count} queries: one is needed for each"
            )
    if queries.dim != encoder.dim:
        raise InvalidQueryError(
            f"the query's token vectors have {queries.dim} dimensions, those of collection {collection!r} have "
            f"{encoder.dim}: encode it with the collection's encoder"
        )
    return queries


def several_queries(queries: Iterable[str] | TokenEmbeddings) -> list[str] | TokenEmbeddings:
    """Return several queries as a list; raise `InvalidQueryError` for what is none."""
    if isinstance(queries, TokenEmbeddings):
        return queries
    if isinstance(queries, str):
        raise InvalidQueryError("search_batch takes a list of queries, got one string: use search")
    texts = listed(queries)
    if texts is None:
        raise InvalidQueryError(
            f"queries is {type(queries).__name__} {shown(queries)}: give a list of texts, or TokenEmbeddings"
        )
    return texts


def one_query(query: str | TokenEmbeddings) -> list[str] | TokenEmbeddings:
    """Return one query as a batch; raise `InvalidQueryError` for token embeddings of none or several."""
    if isinstance(query, str):
        return [query]
    if not isinstance(query, TokenEmbeddings):
        raise InvalidQueryError(
            f"query is {type(query).__name__} {shown(query)}: search takes one text, or the TokenEmbeddings of one; "
            "search_batch takes a list"
        )
    if len(query) != 1:
        raise InvalidQueryError(f"search takes one query, got {len(query)}: use search_batch")
    return query
