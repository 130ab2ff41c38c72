"""Late interaction on a collection that has no token vectors, as coroutines."""

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

    Texts are encoded and ranked in threads, and so is a function that makes requests or finds texts.
    """

    _instead: ClassVar = "send its name, and call attach_async in the process that uses it"

    def __init__(self, attached: Attached) -> None:
        """Used by `attach_async`."""
        self._attached = attached

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._attached.name

    @property
    def encoder(self) -> LateInteractionEncoder:
        """The encoder that makes token embeddings."""
        return self._attached.encoder

    @shows_options(AttachOptions)
    async def search(self, query: str, by: Candidates, **options: Unpack[AttachOptions]) -> SearchHits:
        """Find candidates by a search of your own, in one request, and rank them by MaxSim.

        Candidates without a text (there is none, it is empty or no string) have no MaxSim and are left out, and so are
        those whose text the encoder cannot encode; a `ColbertQdrantWarning` says once how many they are.

        Args:
            query: A text.
            by: The search that finds the candidates: any ``models.QueryRequest``, or a function that makes one of the
                query's text. Its ``limit`` is their number, by default 10 × ``limit`` and at least 100. It is not
                changed; which payload and vectors it asks for has no effect.
            **options: See `AttachOptions`.

        Returns:
            Hits by falling score, ties by id. Ids are the points' own, and payloads are whole.

        Raises:
            InvalidQueryError: The query is empty.
            ConfigurationError: ``by`` is no request, or finds fewer candidates than ``limit``.
            InvalidDocumentError: There are candidates, and none of their texts can be encoded.
            SchemaMismatchError: There are candidates, and none of them has a text. Or a request is by a vector that the
                collection does not have, or not in that form.
            CollectionNotFoundError: There is no such collection.
        """
        checked = check_options("search", AttachOptions, options)
        return (await search(self._attached, [query], by if callable(by) else [by], checked))[0]

    @shows_options(AttachOptions)
    async def search_batch(
        self, queries: Sequence[str], by: BatchCandidates, **options: Unpack[AttachOptions]
    ) -> list[SearchHits]:
        """The same for several queries, in one request; a text that many of them find is encoded once.

        Args:
            queries: Texts.
            by: One request for each, or a function that makes one of a query's text.
            **options: See `AttachOptions`.

        Returns:
            One list of hits per query, in the order of the queries.

        Raises:
            InvalidQueryError: A query is empty.
            ConfigurationError: There is not one request for each query; else as `search`.
            InvalidDocumentError: There are candidates, and none of their texts can be encoded.
            SchemaMismatchError: There are candidates, and none of them has a text. Or a request is by a vector that the
                collection does not have, or not in that form.
            CollectionNotFoundError: There is no such collection.
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
    """Late interaction on a collection that has no token vectors, for event loops; there is nothing to await.

    A search of your own finds candidates, their texts are encoded as they come, and MaxSim ranks them here. Nothing is
    ever written, so a key that may only read is enough. Nothing is sent before the first search, and nothing but
    searches, unless the server refuses one: then its limits are read, and the search is sent once more within them.

    Args:
        client: An ``AsyncQdrantClient`` (server, ``path=`` or ``":memory:"``) or an `AsyncEdgeClient`. It stays the
            caller's.
        collection: The collection's name, or an alias.
        encoder: Makes the token embeddings of texts and queries.
        text_key: Where in a payload the text is, as Qdrant writes paths: ``"text"``, ``"metadata.text"``,
            ``"parts[0].text"``, or ``"parts[].text"`` for all of them, joined by line breaks. A step into a string goes
            into the JSON that it holds: ``"_node_content.text"`` for LlamaIndex's collections.
        text: A function that finds the text in a payload, in the place of ``text_key``.
        retry: What is done about failing requests.
        shard_key: Which shards are searched, where a request does not say so itself; by default all.
        cache_documents: How many bytes of memory keep token embeddings of texts for later searches; 0: none.

    Raises:
        ConfigurationError: The client blocks, ``text_key`` is no path, or ``cache_documents`` is negative.

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
