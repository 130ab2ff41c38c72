"""Computes the same encodings as FastEmbed's ``Muvera`` (0.9.1), for collections written with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.fde.muvera.cells import Cells
from colbert_qdrant.fde.muvera.partitions import Hyperplanes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.config import MuveraConfig
    from colbert_qdrant.tokens import TokenEmbeddings


class FastembedCells:
    """Computes encodings, one tile at a time.

    FastEmbed differs from `HostCells` in four ways:

    - Its random numbers come from numpy's current generator, with the hyperplanes of all repetitions first.
    - Repetitions are not scaled by 1/√``r_reps``.
    - Tokens are not projected if ``dim_proj`` equals ``token_dim``.
    - An empty cell takes the first token of the nearest occupied cell. Of equally near cells, the lowest number wins.

    Like FastEmbed, this class computes in float64. In float32, a token that lies almost on a hyperplane could end up
    on its other side.

    Raises:
        ConfigurationError: If ``dim_proj`` is greater than ``token_dim``, which FastEmbed refuses.
    """

    TILE_TOKENS: Final = 1_280

    def __init__(self, config: MuveraConfig, token_dim: int) -> None:
        if config.dim_proj > token_dim:
            raise ConfigurationError(
                f"dim_proj={config.dim_proj} exceeds the {token_dim} dimensions of the token vectors, which FastEmbed "
                f"refuses: set dim_proj to {token_dim} or less"
            )
        random = np.random.default_rng(config.seed)
        normals = [random.normal(size=(token_dim, config.k_sim)) for _ in range(config.r_reps)]
        signs = random.choice([-1, 1], size=(config.r_reps, token_dim, config.dim_proj))
        self._partition = Hyperplanes(normals=np.stack(normals).transpose(0, 2, 1))
        self._projections = signs / np.sqrt(config.dim_proj)
        if config.dim_proj == token_dim:
            self._projections[:] = np.eye(token_dim)
        self._config = config

    def __call__(self, tokens: TokenEmbeddings, encoded: NDArray[np.float32], *, documents: bool) -> None:
        """Encode a tile; see `HostCells`."""
        values = tokens.values.astype(np.float64)
        cells = Cells.of(values, tokens.lengths, self._partition)
        rows = cells.sums(values, self._projections)
        if documents:
            rows /= cells.sizes[:, None]
        cells.write(cells.occupied, rows, encoded)
        if documents and self._config.fill_empty:
            first = cells.project(values[cells.order[cells.starts]], self._projections)
            for empty, distances in cells.iterate_empty():
                nearest = empty // self._config.cells * self._config.cells + distances.argmin(axis=1)
                cells.write(empty, first[cells.rank[nearest]], encoded)
