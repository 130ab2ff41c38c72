"""Provides asynchronous late interaction on a collection without token vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Unpack

from colbert_qdrant._support.stays import StaysHere
from colbert_qdrant.attach.attached import Attached, search
from colbert_qdrant.attach.candidates import BatchCandidates, Candidates
from colbert_qdrant.config import RetryConfig
from colbert_qdrant.documents import SearchHits
from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.encoders.memory import DocumentCache
from colbert_qdrant.engines import AsyncClient, async_engine
from colbert_qdrant.points.texts import TextOf, TextSource
from colbert_qdrant.search.options import AttachOptions, check_options, shows_options


class AsyncAttachedCollection(StaysHere):
    """`AttachedCollection` with all methods awaited; made by `attach_async`.

    Texts are encoded and ranked in threads. Functions in ``by`` and ``text`` run in threads, too.
    """

    _instead: ClassVar = "send its name, and call attach_async in the process that uses it"

    def __init__(self, attached: Attached) -> None:
        """Only for `attach_async`."""
        self._attached = attached

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._attached.name

    @property
    def encoder(self) -> LateInteractionEncoder:
        """The encoder that makes token embeddings of texts and queries."""
        return self._attached.encoder

    @shows_options(AttachOptions)
    async def search(self, query: str, by: Candidates, **options: Unpack[AttachOptions]) -> SearchHits:
        """Find candidates with your own search request, and rank them by MaxSim.

        Candidates are omitted if their text is missing, empty or not a string, or cannot be encoded. A
        `ColbertQdrantWarning` counts them once.

        Args:
            query: A text.
            by: The search that finds the candidates: any ``models.QueryRequest``, or a function that makes one from the
                query's text. Its ``limit`` is the number of candidates, by default 10 × ``limit`` and at least 100. The
                request object is not changed. Its ``with_payload`` and ``with_vector`` have no effect.
            **options: See `AttachOptions`.

        Returns:
            Hits by descending score, ties by id, with the ids of the points and their complete payloads.

        Raises:
            InvalidQueryError: If the query is empty.
            ConfigurationError: If ``by`` is not a request, or finds fewer candidates than ``limit``.
            InvalidDocumentError: If there are candidates, but no text can be encoded.
            SchemaMismatchError: If there are candidates, but no candidate has a text. Also if a request searches a
                vector that the collection lacks, or that has another form.
            CollectionNotFoundError: If the collection does not exist.
        """
        checked = check_options("search", AttachOptions, options)
        return (await search(self._attached, [query], by if callable(by) else [by], checked))[0]

    @shows_options(AttachOptions)
    async def search_batch(
        self, queries: Sequence[str], by: BatchCandidates, **options: Unpack[AttachOptions]
    ) -> list[SearchHits]:
        """Search for several queries in one request; a text that several queries find is encoded once.

        Args:
            queries: Texts.
            by: One request for each query, or a function that makes one from a query's text.
            **options: See `AttachOptions`.

        Returns:
            One list of hits per query, in the order of the queries.

        Raises:
            InvalidQueryError: If a query is empty.
            ConfigurationError: If the numbers of requests and queries differ; see also `search`.
            InvalidDocumentError: If there are candidates, but no text can be encoded.
            SchemaMismatchError: If there are candidates, but no candidate has a text. Also if a request searches a
                vector that the collection lacks, or that has another form.
            CollectionNotFoundError: If the collection does not exist.
        """
        checked = check_options("search_batch", AttachOptions, options)
        return await search(self._attached, queries, by, checked)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, token_dim={self.encoder.dim})"


def attach_async(
    client: AsyncClient,
    collection: str,
    *,
    encoder: LateInteractionEncoder,
    text_key: str = "text",
    text: TextOf | None = None,
    retry: RetryConfig | None = None,
    shard_key: str | int | None = None,
    cache_documents: int = 256 * 2**20,
) -> AsyncAttachedCollection:
    """Add late interaction to a collection without token vectors.

    This function is for event loops, but there is nothing to await.

    Your own search finds candidates. The texts of the candidates are then encoded, and MaxSim ranks them on this
    machine. Nothing is ever written, so a read-only key is enough. Nothing is sent before the first search, and only
    searches after that, with one exception. If the server refuses a search, its limits are read, and the search is sent
    again within them.

    Args:
        client: An ``AsyncQdrantClient`` (server, ``path=`` or ``":memory:"``) or an `AsyncEdgeClient`. It is never
            closed.
        collection: The collection's name, or an alias.
        encoder: The model that makes token embeddings of texts and queries.
        text_key: The path of the text in a payload, in Qdrant's syntax: ``"text"``, ``"metadata.text"``,
            ``"parts[0].text"``, or ``"parts[].text"`` for all parts, joined by line breaks. A path can continue into
            a string that holds JSON: ``"_node_content.text"`` for collections of LlamaIndex.
        text: A function that returns the text of a payload; it replaces ``text_key``.
        retry: The retry policy for failing requests.
        shard_key: The shard key for requests without one; by default, they search all shards.
        cache_documents: Memory in bytes that caches token embeddings of texts for later searches; 0 disables the cache.

    Raises:
        ConfigurationError: If the client is a blocking one, ``text_key`` is not a valid path, or ``cache_documents`` is
            negative.

    Example:
        >>> from qdrant_client import AsyncQdrantClient, models
        >>> from colbert_qdrant import ColbertEncoder, attach_async
        >>> async def search(path, question, vector):
        ...     client = AsyncQdrantClient("http://localhost:6333")
        ...     docs = attach_async(client, "existing", encoder=ColbertEncoder.from_pretrained(path))
        ...     return await docs.search(question, models.QueryRequest(query=vector, using="dense", limit=100))
    """
    attached = Attached(
        name=collection,
        engine=async_engine(client, retry=retry, shard_key=shard_key),
        encoder=encoder,
        source=TextSource(text_key, text),
        cache=DocumentCache(cache_documents),
    )
    return AsyncAttachedCollection(attached)
