"""Pools token vectors: merges the similar vectors of a text into their means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_GROUP_DISTANCES: Final = 2_097_152
"""Distances computed at a time, 16 MiB in float64, unless a single text has more. Smaller groups are slower, because
each numpy call then does less. Larger groups are also slower, because they exceed the cache."""


def pool(tokens: TokenEmbeddings, *, factor: float, protected: int = 1, normalize: bool = False) -> TokenEmbeddings:
    """Merge the similar tokens of each text into their means.

    The first ``protected`` tokens of a text stay unchanged. The other m tokens form max(⌊m / ``factor``⌋, 1) clusters,
    by Ward's method on the cosine distances 1 − x·y. Each cluster becomes the mean of its tokens. Merges at the same
    height are made together, so a text with duplicate tokens can have fewer clusters. Clusters follow the protected
    tokens, in the order of their first tokens.

    This is token pooling (arXiv 2409.14683), as in ``pool_embeddings_hierarchical`` of PyLate 1.6.0 and
    ``HierarchicalTokenPooling`` of sentence-transformers 6.2.0. Clustering m tokens takes 12 m² bytes: 770 MB for 8,000
    tokens.

    Args:
        tokens: A batch of texts with L2-normalized token vectors.
        factor: The ratio of tokens before and after pooling, not necessarily an integer; 1 merges nothing.
        protected: The number of tokens at the beginning of each text, such as [CLS], that stay unchanged.
        normalize: Whether to L2-normalize the means. sentence-transformers does by default, unlike PyLate.

    Returns:
        A new batch of the same number of texts.

    Raises:
        ConfigurationError: If ``factor`` is less than 1 or NaN, or ``protected`` is negative.

    Example:
        >>> batch = TokenEmbeddings([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]], [5])
        >>> pool(batch, factor=2)[0].tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    if not factor >= 1:  # also refuses NaN
        raise ConfigurationError(f"factor must be at least 1, got {factor}")
    if protected < 0:
        raise ConfigurationError(f"protected must be at least 0, got {protected}")
    sums = tokens.values.copy()
    counts = np.ones(len(sums), np.float32)
    for kept, dropped in _merges(tokens, factor, protected):
        sums[kept] += sums[dropped]
        counts[kept] += counts[dropped]
        counts[dropped] = 0
    remains = counts > 0
    values = sums[remains] / counts[remains, None]
    if normalize:
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    lengths = np.diff(np.concatenate([[0], np.cumsum(remains)])[tokens.offsets])
    return TokenEmbeddings(values, lengths, truncated=tokens.truncated)


def _merges(
    tokens: TokenEmbeddings, factor: float, protected: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of rows to merge, at most one pair per text at a time; the second row is merged into the first."""
    starts = tokens.offsets[:-1] + protected
    sizes = np.maximum(tokens.lengths - protected, 0)
    surplus = sizes - np.maximum((sizes // float(factor)).astype(np.int64), 1)
    # group texts of similar size, because a group is padded to its longest text
    texts = np.flatnonzero(surplus > 0)
    texts = texts[np.argsort(-sizes[texts], kind="stable")]
    while len(texts):
        size = max(1, _GROUP_DISTANCES // int(sizes[texts[0]]) ** 2)
        group, texts = texts[:size], texts[size:]
        # the distances have no name, so that they are freed before those of the next group are computed
        for members, kept, dropped in _ward(
            _squared_distances(tokens.values, starts[group], sizes[group]), surplus[group]
        ):
            first = starts[group[members]]
            yield first + kept, first + dropped


def _squared_distances(
    values: NDArray[np.float32], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute squared cosine distances within each text: ``(texts, n, n)``, with inf on the diagonal and as padding.

    Each text has its own product instead of one padded product, so that rounding does not depend on the batch.
    """
    squared = np.full((len(sizes), sizes[0], sizes[0]), np.inf)
    for block, start, size in zip(squared, starts, sizes, strict=True):
        vectors = values[start : start + size]
        distances = vectors @ vectors.T
        np.subtract(1, distances, out=distances)
        np.fmin(np.fmax(distances, 0, out=distances), 2, out=distances)  # also replaces the NaN of an overflow
        np.square(distances, out=block[:size, :size], dtype=np.float64)
        np.fill_diagonal(block[:size, :size], np.inf)
    return squared


def _ward(
    squared: NDArray[np.float64], surplus: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Cluster several texts by Ward's method, in lockstep: in each step, a text merges its closest pair or updates it.

    Ward's distance is reducible: a merged cluster is never closer to a third one than the nearer of its two parts. So
    any order of merging closest pairs gives the same tree, and a stored nearest distance stays a lower bound. It is
    updated only if it is the smallest of its text and no longer exact. This is the "generic" algorithm of Müllner
    (arXiv 1109.2378).

    Args:
        squared: Squared distances, shape ``(texts, n, n)``, with inf on the diagonal and as padding; overwritten.
        surplus: The number of merges in each text, shape ``(texts,)``; merges at the height of the last are added.

    Yields:
        The text, kept cluster and dropped cluster of each merge in a step. The number of a cluster is that of its
        first token, so the kept cluster has the smaller number.
    """
    counts = np.ones(squared.shape[:2])
    nearest = squared.argmin(axis=2)
    bounds = np.take_along_axis(squared, nearest[:, :, None], axis=2)[:, :, 0]
    left = surplus.copy()
    heights = np.zeros(len(left))
    while True:
        rows = bounds.argmin(axis=1)
        smallest = bounds[np.arange(len(rows)), rows]
        texts = np.flatnonzero((left > 0) | (smallest <= heights))
        if not len(texts):
            return
        rows, smallest = rows[texts], smallest[texts]
        columns = nearest[texts, rows]
        holds = squared[texts, rows, columns] == smallest
        merging = texts[holds]
        kept, dropped = np.minimum(rows, columns)[holds], np.maximum(rows, columns)[holds]
        _merge(squared, counts, merging, kept, dropped)
        bounds[merging, dropped] = np.inf
        left[merging] -= 1
        heights[merging] = np.maximum(heights[merging], smallest[holds])
        yield merging, kept, dropped
        rows[holds] = kept
        candidates = squared[texts, rows]
        nearest[texts, rows] = columns = candidates.argmin(axis=1)
        bounds[texts, rows] = candidates[np.arange(len(texts)), columns]


def _merge(
    squared: NDArray[np.float64],
    counts: NDArray[np.float64],
    texts: NDArray[np.int64],
    kept: NDArray[np.int64],
    dropped: NDArray[np.int64],
) -> None:
    """Replace the distances of the kept cluster by those of the union, with the formula of Lance and Williams."""
    between = squared[texts, kept, dropped][:, None]
    first, second, others = counts[texts, kept][:, None], counts[texts, dropped][:, None], counts[texts]
    union = (first + others) * squared[texts, kept]
    union += (second + others) * squared[texts, dropped]
    union -= others * between
    union /= first + second + others
    squared[texts, kept] = union
    squared[texts, :, kept] = union
    squared[texts, :, dropped] = np.inf
    counts[texts, kept] += counts[texts, dropped]
