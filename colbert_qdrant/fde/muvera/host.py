"""Computes MUVERA's encodings on the CPU, summing the tokens of each cell before projecting the sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.fde.muvera.cells import Cells
from colbert_qdrant.fde.muvera.products import sum_runs
from colbert_qdrant.fde.muvera.small_products import SMALL_TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.fde.muvera.draws import Draws
    from colbert_qdrant.tokens import TokenEmbeddings


class HostCells:
    """Computes encodings, one tile at a time.

    A projection is linear, so it is applied to the sum of a cell instead of each token. A document has fewer occupied
    cells than tokens, so this costs less than multiplying all tokens by all projections.
    """

    TILE_TOKENS: Final = 1_280
    """The number of tokens that fit in the cache of a core, together with the sums of their cells."""

    def __init__(self, draws: Draws, *, fill_empty: bool) -> None:
        self._partition = draws.partition
        self._projections = draws.projections
        self._fill_empty = fill_empty

    def __call__(self, tokens: TokenEmbeddings, encoded: NDArray[np.float32], *, documents: bool) -> None:
        """Encode a tile.

        Args:
            tokens: The texts.
            encoded: The output, initialized with zeros, shape ``(texts, r_reps, 2**k_sim, dim_proj)``.
            documents: Whether the texts are documents, whose cells hold means instead of sums, and are filled if empty.
        """
        small = not documents and len(tokens.values) <= SMALL_TOKENS
        cells = Cells.of(tokens.values, tokens.lengths, self._partition, small=small)
        rows = cells.sums(tokens.values, self._projections)
        if documents:
            rows /= cells.sizes.astype(np.float32)[:, None]
        cells.write(cells.occupied, rows, encoded)
        if documents and self._fill_empty:
            _fill(cells, rows, encoded)


def _fill(cells: Cells, means: NDArray[np.float32], encoded: NDArray[np.float32]) -> None:
    """Fill every empty cell with the mean of all tokens in its nearest cells."""
    for empty, distances in cells.iterate_empty():
        nearest = np.flatnonzero(distances == distances.min(axis=1)[:, None])
        which, cell = np.divmod(nearest, cells.shape[2])
        source = cells.rank[empty[which] // cells.shape[2] * cells.shape[2] + cell]
        weights = cells.sizes[source].astype(np.float32)
        starts = np.searchsorted(which, np.arange(len(empty)))
        rows = sum_runs(means, source, starts, weights) / np.add.reduceat(weights, starts)[:, None]
        cells.write(empty, rows, encoded)
