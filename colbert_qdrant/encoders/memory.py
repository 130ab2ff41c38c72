"""Caches token embeddings of documents in memory, up to a maximum number of bytes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import require_int

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

_ENTRY_BYTES: Final = 512
"""Bytes of an entry besides its vectors: its key, the header of its array and its slots in the table."""


class DocumentCache:
    """Caches the token matrices of texts, keyed by the digest of the text, for one encoder; it is thread-safe.

    If the cache is full, it drops the least recently used entries.

    Args:
        max_bytes: The maximum memory of the cache; 0 caches nothing.

    Raises:
        ConfigurationError: If ``max_bytes`` is less than 0.

    Example:
        >>> from colbert_qdrant import TokenEmbeddings
        >>> cache, encoded = DocumentCache(10_000), []
        >>> def encode(texts):
        ...     encoded.extend(texts)
        ...     return TokenEmbeddings.from_matrices([[[float(len(text))]] for text in texts])
        >>> [matrix.tolist() for texts in (["one", "three"], ["three"]) for matrix in cache.encode(texts, encode)]
        [[[3.0]], [[5.0]], [[5.0]]]
        >>> encoded
        ['one', 'three']
    """

    def __init__(self, max_bytes: int) -> None:
        max_bytes = plain(max_bytes)
        require_int("cache_documents", max_bytes, minimum=0)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """The memory of the cache in bytes."""
        return self._bytes

    def encode(
        self, texts: Sequence[str], encode: Callable[[Sequence[str]], Iterable[NDArray[np.float32] | None]]
    ) -> list[NDArray[np.float32] | None]:
        """Return the token matrix of each text; encode and cache the texts that the cache lacks.

        A text for which ``encode`` returns ``None`` has no matrix.
        """
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        found = self._take(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            encoded = encode(list(missing.values()))
            # copy, because a slice would keep its entire batch in memory
            made = {key: matrix.copy() for key, matrix in zip(missing, encoded, strict=True) if matrix is not None}
            self._put(made)
            found |= made
        return [found.get(key) for key in keys]

    def _take(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        with self._lock:
            found = {key: self._entries[key] for key in keys if key in self._entries}
            for key in found:
                self._entries.move_to_end(key)
        return found

    def _put(self, made: Mapping[bytes, NDArray[np.float32]]) -> None:
        with self._lock:
            for key, matrix in made.items():
                if key in self._entries:  # another thread has added it
                    continue
                if _size(matrix) <= self._max_bytes:
                    self._make_room(_size(matrix))
                    self._entries[key] = matrix
                    self._bytes += _size(matrix)

    def _make_room(self, size: int) -> None:
        while self._bytes + size > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(matrix: NDArray[np.float32]) -> int:
    return matrix.nbytes + _ENTRY_BYTES
