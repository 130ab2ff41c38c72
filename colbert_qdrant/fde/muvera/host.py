"""Computes MUVERA's encodings on a CPU: tokens are added up cell by cell before they are projected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.fde.muvera.cells import Cells
from colbert_qdrant.fde.muvera.products import sum_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.fde.muvera.draws import Draws
    from colbert_qdrant.tokens import TokenEmbeddings


class HostCells:
    """Fills encodings, a tile at a time.

    A projection is linear, so the sum of a cell is projected rather than each of its tokens: a document has fewer
    cells than tokens, and what is left costs less than one product of all tokens with all projections.
    """

    TILE_TOKENS: Final = 1_280
    """Tokens that stay in the cache of a core together with the sums of their cells."""

    def __init__(self, draws: Draws, *, fill_empty: bool) -> None:
        self._partition = draws.partition
        self._projections = draws.projections
        self._fill_empty = fill_empty

    def __call__(self, tokens: TokenEmbeddings, encoded: NDArray[np.float32], *, documents: bool) -> None:
        """Encode a tile.

        Args:
            tokens: The texts.
            encoded: Zeros, shape ``(texts, r_reps, 2**k_sim, dim_proj)``, to be filled.
            documents: Whether the texts are documents: means of cells instead of sums, and no empty cells.
        """
        cells = Cells.of(tokens.values, tokens.lengths, self._partition)
        rows = cells.sums(tokens.values, self._projections)
        if documents:
            rows /= cells.sizes.astype(np.float32)[:, None]
        cells.write(cells.occupied, rows, encoded)
        if documents and self._fill_empty:
            _fill(cells, rows, encoded)


def _fill(cells: Cells, means: NDArray[np.float32], encoded: NDArray[np.float32]) -> None:
    """Give every empty cell the mean of all tokens whose cells are nearest to it."""
    for empty, distances in cells.iterate_empty():
        nearest = np.flatnonzero(distances == distances.min(axis=1)[:, None])
        which, cell = np.divmod(nearest, cells.shape[2])
        source = cells.rank[empty[which] // cells.shape[2] * cells.shape[2] + cell]
        weights = cells.sizes[source].astype(np.float32)
        starts = np.searchsorted(which, np.arange(len(empty)))
        rows = sum_runs(means, source, starts, weights) / np.add.reduceat(weights, starts)[:, None]
        cells.write(empty, rows, encoded)
