"""Streams the stored documents of a collection, page by page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.collection.filter_indexes import require_indexes
from colbert_qdrant.collection.metadata import documents_only
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.config.checks import require_bool
from colbert_qdrant.points.convert import to_document, vectors_of
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.search.filters import combine_filters, compared_keys, word_keys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from qdrant_client import models

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import Document
    from colbert_qdrant.search.filters import Where

_PAGE_POINTS: Final = 1_024


def iterate(
    collection: OpenCollection, *, where: Where | None, filter: models.Filter | None, with_tokens: bool
) -> AsyncGenerator[Document, None]:
    """Stream documents; see `ColbertCollection.iterate`."""
    chosen = combine_filters(filter, where)  # at the call, not at the first document
    require_bool("with_tokens", with_tokens)
    names = collection.further.names_without_encoder
    return _documents(document_pages(collection, where, chosen, vectors=names, with_tokens=with_tokens))


async def document_pages(
    collection: OpenCollection,
    where: Where | None,
    chosen: models.Filter | None,
    *,
    vectors: Sequence[str],
    with_tokens: bool,
) -> AsyncGenerator[list[Document], None]:
    """Read the documents that match a filter, in the order of their point ids, in pages of about 8 MiB.

    Args:
        collection: The open collection.
        where: The condition that the filter was made of, whose payload keys may need indexes.
        chosen: The filter; ``None`` for all documents.
        vectors: The names of the further vectors to read.
        with_tokens: Whether to read the token vectors, too.
    """
    engine, name, config = collection.engine, collection.name, collection.config
    await collection.notice_at_times()
    only = await documents_only(engine, name, chosen)
    await collection.allowed(lambda limits: limits.check_filter(only))
    await require_indexes(collection, word_keys(where), compared_keys(where))
    await collection.shards.require("read")
    size = PageSize(min(_PAGE_POINTS, collection.limits.query_limit or _PAGE_POINTS))

    def convert(records: list[models.Record]) -> list[Document]:
        size.learn(records)
        return [_document(record, config, vectors) for record in records if config.native or record.payload is not None]

    names = [*vectors, *([config.token_vector] if with_tokens else [])]
    pages = scroll_points(
        engine, name, chosen, limit=lambda: size.points, with_payload=True, with_vectors=names or False
    )
    async for records in pages:
        yield await engine.runtime.compute(convert, records)
        await collection.notice_at_times()  # the next page must come from the same collection


def _document(record: models.Record, config: CollectionConfig, vectors: Sequence[str]) -> Document:
    document = to_document(record, config, vectors=vectors)
    tokens = vectors_of(record).get(config.token_vector)
    return document if tokens is None else replace(document, tokens=np.asarray(tokens, np.float32))


async def _documents(pages: AsyncGenerator[list[Document], None]) -> AsyncGenerator[Document, None]:
    async for page in pages:
        for document in page:
            yield document
