"""Token embeddings in memory: always those of the text, never more bytes than allowed."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant import ConfigurationError, TokenEmbeddings
from colbert_qdrant.encoders.memory import DocumentCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TEXTS = [f"text {number}" for number in range(12)] + ["", "\ud800", "日本"]


def matrix_of(text: str) -> NDArray[np.float32]:
    """As many rows as one likes, and other values for each text."""
    return np.full((1 + len(text) % 5 * 40, 4), 1 + TEXTS.index(text), np.float32)


class Recorder:
    """An encoder that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> TokenEmbeddings:
        self.asked += texts
        return TokenEmbeddings.from_matrices([matrix_of(text) for text in texts])


def bytes_of(text: str) -> int:
    return matrix_of(text).nbytes + 512


@settings(max_examples=200)
@given(
    limit=st.integers(0, 15_000), calls=st.lists(st.lists(st.sampled_from(TEXTS), max_size=6), min_size=1, max_size=25)
)
def test_it_is_a_bounded_memory_of_what_was_used_last(limit: int, calls: list[list[str]]) -> None:
    cache, encode = DocumentCache(limit), Recorder()
    kept: list[str] = []  # the reference: used last at its end
    for texts in calls:
        encode.asked = []
        for text, matrix in zip(texts, cache.encode(texts, encode), strict=True):
            assert matrix is not None
            assert np.array_equal(matrix, matrix_of(text))
        different = list(dict.fromkeys(texts))
        hits = [text for text in different if text in kept]
        missing = [text for text in different if text not in kept]
        assert encode.asked == missing
        kept = [text for text in kept if text not in hits] + hits
        for text in missing:
            if bytes_of(text) <= limit:
                kept.append(text)
                while sum(map(bytes_of, kept)) > limit:
                    kept.pop(0)
        assert cache.nbytes == sum(map(bytes_of, kept)) <= limit


@pytest.mark.parametrize("rows", [1, 50])
def test_what_it_really_takes_is_bounded(rows: int) -> None:
    """Small matrices, whose keys take more than they do, and parts of large batches, which must not stay."""

    def encode(texts: Sequence[str]) -> TokenEmbeddings:
        return TokenEmbeddings(np.ones((rows * len(texts), 16), np.float32), [rows] * len(texts))

    limit = 2**20
    cache = DocumentCache(limit)
    cache.encode(["warm"], encode)
    tracemalloc.start()
    try:
        for start in range(0, 6_000, 200):
            cache.encode([f"text {number}" for number in range(start, start + 200)], encode)
        assert tracemalloc.get_traced_memory()[0] < limit
    finally:
        tracemalloc.stop()
    assert cache.nbytes > 0.9 * limit


def test_threads_share_it() -> None:
    limit, barrier = 8_000, threading.Barrier(8)
    cache = DocumentCache(limit)

    def work(seed: int) -> None:
        random, encode = np.random.default_rng(seed), Recorder()
        barrier.wait()
        for _ in range(300):
            texts = [TEXTS[place] for place in random.integers(0, len(TEXTS), 4)]
            for text, matrix in zip(texts, cache.encode(texts, encode), strict=True):
                assert matrix is not None
                assert np.array_equal(matrix, matrix_of(text))
            assert cache.nbytes <= limit

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert cache.nbytes == sum(matrix.nbytes + 512 for matrix in cache._entries.values()) <= limit


def test_two_threads_that_encode_the_same_text_count_it_once() -> None:
    cache, both = DocumentCache(100_000), threading.Barrier(2)

    def encode(texts: Sequence[str]) -> TokenEmbeddings:
        both.wait(10)
        return Recorder()(texts)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: cache.encode(["text 1"], encode), range(2)))
    assert cache.nbytes == bytes_of("text 1")


def test_what_fails_leaves_nothing_behind() -> None:
    cache = DocumentCache(100_000)

    def fail(texts: Sequence[str]) -> TokenEmbeddings:
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.encode(["text 1"], fail)
    encode = Recorder()
    cache.encode(["text 1"], encode)
    assert (encode.asked, cache.nbytes) == (["text 1"], bytes_of("text 1"))


def test_no_less_than_nothing() -> None:
    with pytest.raises(ConfigurationError, match="cache_documents must be at least 0"):
        DocumentCache(-1)
