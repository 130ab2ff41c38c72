"""Checks the queries that a caller gives to a fit, and encodes the queries that it learns from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from colbert_qdrant.config import LemurConfig
from colbert_qdrant.encoders.queries import query_tokens
from colbert_qdrant.errors import ConfigurationError, InvalidQueryError
from colbert_qdrant.fde import learns_from_queries
from colbert_qdrant.fde.spans import made_up_queries, token_spans
from colbert_qdrant.shown import listed
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import FdeConfig

CheckedQueries: TypeAlias = Sequence[str] | TokenEmbeddings

_MOST: Final = 4_096
"""Queries that are encoded for a fit, enough for more learn tokens than a fit uses by default."""

_TOKENS: Final = LemurConfig().learn_tokens


def checked_queries(queries: Iterable[str] | TokenEmbeddings) -> CheckedQueries:
    """Return queries as a list of texts or as token embeddings. Errors never show a text, since it may be private.

    Raises:
        InvalidQueryError: If there is no query, or one is blank, or is not a string of valid Unicode.
    """
    found = queries if isinstance(queries, TokenEmbeddings) else listed(queries)
    if found is None:
        raise InvalidQueryError(
            f"queries is {type(queries).__name__}: pass a list of texts, or the TokenEmbeddings of queries"
        )
    if not len(found):
        raise InvalidQueryError("queries is empty: pass at least one query, or leave queries out")
    if not isinstance(found, TokenEmbeddings):
        for number, query in enumerate(found):
            _require_query(number, query)
    return found


def _require_query(number: int, query: object) -> None:
    if isinstance(query, TokenEmbeddings):
        raise InvalidQueryError(
            f"queries[{number}] is TokenEmbeddings: pass one TokenEmbeddings.concatenate(queries), not a list"
        )
    if not isinstance(query, str):
        raise InvalidQueryError(f"queries[{number}] is {type(query).__name__}, not a string: pass only texts")
    if not query.strip():
        raise InvalidQueryError(f"queries[{number}] is blank: leave it out")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InvalidQueryError(
            f"queries[{number}] is not valid Unicode ({error.reason}): decode it again, or leave it out"
        ) from None


def require_learnable(collection: OpenCollection, config: FdeConfig, queries: CheckedQueries) -> None:
    """Check that an encoding learns from queries, and that the collection's encoder encodes these.

    Raises:
        ConfigurationError: If the encoding does not learn from queries.
        InvalidQueryError: If the encoder encodes no texts, or the token vectors have other dimensions.
    """
    if not learns_from_queries(config):
        raise ConfigurationError(
            f"the encoding of collection {collection.name!r} does not learn from queries: leave queries out, or use a "
            "collection with CollectionConfig(fde=LemurConfig())"
        )
    query_tokens(queries[:1], encoder=collection.encoder, collection=collection.name)


def learn_from(
    collection: OpenCollection,
    real: CheckedQueries | None,
    texts: Sequence[str],
    documents: TokenEmbeddings,
    config: FdeConfig,
) -> TokenEmbeddings:
    """Return token embeddings of real queries, and of made-up ones if the real ones have too few tokens.

    Args:
        collection: The open collection.
        real: The queries that the caller gave.
        texts: The texts of documents, to make up queries from.
        documents: The token embeddings of documents, to make up queries from if there are no texts.
        config: The settings of the encoding that learns.
    """
    if real is None:
        return _made_up(collection, texts, documents, seed=config.seed)
    tokens = query_tokens(_sampled(real, seed=config.seed), encoder=collection.encoder, collection=collection.name)
    used = getattr(config, "learn_tokens", _TOKENS) // 2
    if len(tokens.values) >= used:
        return tokens
    return filled_up(tokens, _made_up(collection, texts, documents, seed=config.seed), used)


def filled_up(real: TokenEmbeddings, made_up: TokenEmbeddings, most: int) -> TokenEmbeddings:
    """Add as many made-up queries to real ones as fit into ``most`` token vectors, so that a fit uses all real ones."""
    count = int(np.searchsorted(made_up.offsets, most - len(real.values), side="right")) - 1
    return TokenEmbeddings.concatenate([real, made_up[: max(0, count)]])


def _sampled(queries: CheckedQueries, *, seed: int) -> CheckedQueries:
    """Return a random sample of queries. A query that is listed more often is more likely to be in it."""
    if len(queries) <= _MOST:
        return queries
    chosen = np.random.RandomState(seed).permutation(len(queries))[:_MOST].tolist()
    if isinstance(queries, TokenEmbeddings):
        return TokenEmbeddings.from_matrices([queries[number] for number in chosen])
    return [queries[number] for number in chosen]


def _made_up(
    collection: OpenCollection, texts: Sequence[str], documents: TokenEmbeddings, *, seed: int
) -> TokenEmbeddings:
    queries = made_up_queries(texts, seed=seed)
    with suppress(NotImplementedError):
        if queries:
            return collection.encoder.encode_queries(queries)
    return token_spans(documents, seed=seed)
