"""Pools tokens: leaves fewer vectors per text, each the mean of tokens that are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_GROUP_DISTANCES: Final = 2_097_152
"""Distances held at a time, 16 MiB in float64, unless a single text has more. Fewer texts at a time are slower, as
numpy's calls then do less each, and more texts too, as they leave the cache."""


def pool(tokens: TokenEmbeddings, *, factor: float, protected: int = 1, normalize: bool = False) -> TokenEmbeddings:
    """Merge the similar tokens of each text into their means.

    The m tokens of a text after its first ``protected`` ones are clustered hierarchically (Ward's method on the
    cosine distances 1 − x·y) into max(⌊m / ``factor``⌋, 1) clusters, and each cluster becomes the mean of its tokens.
    Merges at one height are made together, so that a text with duplicate tokens may get fewer clusters. Clusters
    come after the protected tokens, in the order of their first tokens.

    This is token pooling (arXiv 2409.14683) as ``pool_embeddings_hierarchical`` of PyLate 1.6.0 and
    ``HierarchicalTokenPooling`` of sentence-transformers 6.2.0 do it. A text of m such tokens takes 12 m² bytes while
    it is clustered: 770 MB for 8,000.

    Args:
        tokens: A batch of texts with L2-normalised token vectors.
        factor: How many tokens there are for one that is kept, not necessarily a whole number; 1 merges nothing.
        protected: Tokens at the beginning of each text, such as [CLS], that stay as they are.
        normalize: L2-normalise every vector afterwards, as sentence-transformers does by default; PyLate does not.

    Returns:
        A new batch of as many texts.

    Raises:
        ConfigurationError: ``factor`` is less than 1 or NaN, or ``protected`` is negative.

    Example:
        >>> batch = TokenEmbeddings([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]], [5])
        >>> pool(batch, factor=2)[0].tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    if not factor >= 1:  # written so that NaN is refused
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
    """Yield rows of the batch to merge, at most one pair of a text at a time, each into the one that comes first."""
    starts = tokens.offsets[:-1] + protected
    sizes = np.maximum(tokens.lengths - protected, 0)
    surplus = sizes - np.maximum((sizes // float(factor)).astype(np.int64), 1)
    # texts of like sizes go together, as they are padded to the longest of them
    texts = np.flatnonzero(surplus > 0)
    texts = texts[np.argsort(-sizes[texts], kind="stable")]
    while len(texts):
        size = max(1, _GROUP_DISTANCES // int(sizes[texts[0]]) ** 2)
        group, texts = texts[:size], texts[size:]
        # the distances have no name here, so that they are freed before the next group's are made
        for members, kept, dropped in _ward(
            _squared_distances(tokens.values, starts[group], sizes[group]), surplus[group]
        ):
            first = starts[group[members]]
            yield first + kept, first + dropped


def _squared_distances(
    values: NDArray[np.float32], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute squared cosine distances within each text: ``(texts, n, n)``, inf on the diagonal and as padding.

    One product per text, not a padded one of all, so that the rounding does not depend on the rest of the batch.
    """
    squared = np.full((len(sizes), sizes[0], sizes[0]), np.inf)
    for block, start, size in zip(squared, starts, sizes, strict=True):
        vectors = values[start : start + size]
        distances = vectors @ vectors.T
        np.subtract(1, distances, out=distances)
        np.fmin(np.fmax(distances, 0, out=distances), 2, out=distances)  # also makes a number of an overflow's NaN
        np.square(distances, out=block[:size, :size], dtype=np.float64)
        np.fill_diagonal(block[:size, :size], np.inf)
    return squared


def _ward(
    squared: NDArray[np.float64], surplus: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Cluster several texts by Ward's method, in step: in each, a text merges its closest pair or looks for it anew.

    No merge brings a cluster closer to another one than the nearer of the two merged (Ward's distance is reducible).
    So any order of merging closest pairs gives the same tree, and a cluster's distance to its nearest one stays a
    lower bound after it was looked up: it is looked up anew only when it is the text's smallest and holds no longer
    (the "generic" algorithm of Müllner, arXiv 1109.2378).

    Args:
        squared: Shape ``(texts, n, n)``, squared distances with inf on the diagonal and as padding. Overwritten.
        surplus: Shape ``(texts,)``, merges to make in each text, besides those at the height of the last one.

    Yields:
        Text, kept cluster and dropped cluster of each merge of a step. A cluster goes by the number of its first
        token, so the kept one is the smaller.
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
    """Replace the distances of one of two clusters by those of their union, by the formula of Lance and Williams."""
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
