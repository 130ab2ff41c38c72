"""Documents are read in chunks that fit into the memory, and none before it is needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from colbert_qdrant import Document
from colbert_qdrant.collection.ingest import chunks as module
from colbert_qdrant.collection.ingest.chunks import chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def sizes(source: Any) -> list[int]:
    async def read() -> list[int]:
        return [len(chunk) async for chunk in chunks(source)]

    return asyncio.run(read())


def test_short_documents_come_in_hundreds() -> None:
    assert sizes(Document(number, "river") for number in range(600)) == [256, 256, 88]
    assert sizes([]) == []


def test_long_texts_fill_a_chunk() -> None:
    assert sizes(Document(number, "r" * 100_000) for number in range(20)) == [6, 6, 6, 2]
    assert sizes([Document(1, "r" * 2_000_000), Document(2, "river")]) == [1, 1]


def test_ready_tokens_fill_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOKEN_BYTES", 10_000)
    tokens = np.zeros((10, 32), np.float32)
    assert sizes(Document(number, "", tokens=tokens) for number in range(20)) == [8, 8, 4]


def test_no_document_is_read_before_it_is_needed() -> None:
    read = 0

    def source() -> Iterator[Document]:
        nonlocal read
        for number in range(600):
            read += 1
            yield Document(number, "river")

    async def first() -> None:
        stream = chunks(source())
        await anext(stream)
        await stream.aclose()

    asyncio.run(first())
    assert read == 256
