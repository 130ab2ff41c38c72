"""Groups a stream of documents into chunks, which are encoded together."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from colbert_qdrant.documents import Document

_DOCUMENTS: Final = 256
"""Documents of a chunk: enough to sort by length, few enough to hold in memory."""

_CHARACTERS: Final = 2**19
"""Characters of a chunk, so that long texts do not fill the memory with tokens: about 2,000 for each document."""

_TOKEN_BYTES: Final = 32 * 2**20
"""Bytes of ready token embeddings in a chunk."""


async def chunks(
    documents: Iterable[Document] | AsyncIterable[Document], stopping: Callable[[], bool] = lambda: False
) -> AsyncGenerator[list[Document], None]:
    """Yield lists of documents, and read no document before it is needed.

    Once ``stopping`` returns true, the documents of the list that is being filled are dropped: a source may be slow.
    """
    chunk = _Chunk()
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            if stopping():
                return
            if chunk.add(document):
                yield chunk.documents
                chunk = _Chunk()
    else:
        for document in documents:
            if stopping():
                return
            if chunk.add(document):
                yield chunk.documents
                chunk = _Chunk()
    if chunk.documents:
        yield chunk.documents


class _Chunk:
    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._characters = 0
        self._token_bytes = 0

    def add(self, document: Document) -> bool:
        """Add a document, and tell whether the chunk is full."""
        self.documents.append(document)
        text, tokens = getattr(document, "text", None), getattr(document, "tokens", None)  # nothing is checked yet
        self._characters += len(text) if isinstance(text, str) else 0
        self._token_bytes += tokens.nbytes if isinstance(tokens, np.ndarray) else 0
        full = self._characters >= _CHARACTERS or self._token_bytes >= _TOKEN_BYTES
        return full or len(self.documents) >= _DOCUMENTS
