"""Computes MUVERA's encodings on a torch device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.fde.muvera.draws import Draws
    from colbert_qdrant.tokens import TokenEmbeddings


class DeviceCells:
    """Computes encodings on a torch device, one tile at a time, equal to those of `HostCells` up to rounding.

    One matrix product computes all hyperplanes and projections, and one scatter sums all cells. A device thus waits
    for few kernel launches.
    """

    TILE_TOKENS: Final = 65_536

    def __init__(self, draws: Draws, *, fill_empty: bool, device: str) -> None:
        self._partition = draws.partition
        self._r_reps, self._dim_proj = len(draws.projections), draws.projections.shape[2]
        self._fill_empty = fill_empty
        self._device = device
        projections = draws.projections.transpose(1, 0, 2).reshape(draws.projections.shape[1], -1)
        self._matrix = self._send(np.concatenate([draws.partition.matrix.T, projections], axis=1))

    def __call__(self, tokens: TokenEmbeddings, encoded: NDArray[np.float32], *, documents: bool) -> None:
        """Encode a tile; see `HostCells`."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            sums, counts = self._sum_cells(tokens)
            if documents:
                sums = self._mean_cells(sums, counts)
            encoded[...] = sums.cpu().numpy().reshape(encoded.shape)

    def _send(self, array: NDArray[Any]) -> Any:
        import torch  # noqa: PLC0415

        return torch.tensor(array, device=self._device)

    def _sum_cells(self, tokens: TokenEmbeddings) -> tuple[Any, Any]:
        """Compute cell sums ``(texts * r_reps, cells, dim_proj)`` and token counts ``(texts * r_reps, cells)``."""
        split = len(self._partition.matrix)
        products = self._send(tokens.values) @ self._matrix
        numbers = self._partition.assign_cells_on_device(products[:, :split])
        first = np.repeat(np.arange(len(tokens)), tokens.lengths)[:, None] * self._r_reps + np.arange(self._r_reps)
        slots = (self._send(first) * self._partition.cells + numbers).flatten()
        shape = len(tokens) * self._r_reps, self._partition.cells
        projected = products[:, split:].reshape(-1, self._dim_proj)
        sums = projected.new_zeros(shape[0] * shape[1], self._dim_proj).index_add_(0, slots, projected)
        counts = projected.new_zeros(shape[0] * shape[1]).index_add_(0, slots, projected.new_ones(len(slots)))
        return sums.view(*shape, self._dim_proj), counts.view(shape)

    def _mean_cells(self, sums: Any, counts: Any) -> Any:
        """Compute the mean of each cell; an empty cell gets the mean of all tokens at the smallest Hamming distance."""
        means = sums / counts.clamp(min=1)[..., None]
        if not self._fill_empty:
            return means
        every = np.arange(self._partition.cells)
        distances = np.bitwise_count(every[:, None] ^ every)
        empty = counts == 0
        for distance in range(1, self._partition.shape[1] + 1):
            if not empty.any():
                break
            neighbors = self._send((distances == distance).astype(np.float32))
            found = counts @ neighbors
            fill = empty & (found > 0)
            means[fill] = (neighbors @ sums)[fill] / found[fill][:, None]
            empty &= ~fill
        return means
