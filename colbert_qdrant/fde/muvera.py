"""MUVERA: a data-independent fixed dimensional encoding (arXiv 2405.19504)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.config import MuveraConfig
from colbert_qdrant.errors import InvalidTokensError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.tokens import TokenEmbeddings

_TILE_TOKENS: Final = 4_096
"""Tokens encoded at a time: bounds the working memory, whatever the batch."""


class MuveraEncoder:
    r"""Encodes token matrices so that one inner product estimates MaxSim.

    A repetition cuts the token space by ``k_sim`` random hyperplanes into ``2**k_sim`` cells (SimHash: the signs
    of a token's products with the normals are the bits of its cell) and projects tokens with a random ±1 matrix,
    divided by √``dim_proj`` so that inner products are kept on average, to ``dim_proj`` dimensions. A cell of a
    query holds the *sum* of its projected tokens, a cell of a document their *mean*, so that

    .. math:: \langle F(q), F(d) \rangle \approx \sum_{x \in q} \langle x, \text{mean of d's tokens near x} \rangle

    which stands in for the maximum of MaxSim: it ranks like it, and is smaller, as a mean is. The repetitions follow
    one another, each scaled by 1/√``r_reps`` on both sides, so the product is their average.

    A document's empty cell is filled from the tokens whose cells differ from it in the fewest bits. The paper
    takes any one of them; this takes their mean, the expectation of that choice, so that an encoding does not
    depend on the order of the tokens.

    Args:
        config: The parameters.
        token_dim: Dimensions of the token vectors.

    Example:
        >>> import numpy as np
        >>> from colbert_qdrant import MuveraConfig, TokenEmbeddings
        >>> encoder = MuveraEncoder(MuveraConfig(k_sim=2, dim_proj=4, r_reps=3), token_dim=8)
        >>> encoder.encode_documents(TokenEmbeddings(np.eye(8), [5, 3])).shape
        (2, 48)
    """

    VERSION: Final = 1
    """Changes whenever the same parameters and tokens give other numbers."""

    def __init__(self, config: MuveraConfig | None = None, *, token_dim: int) -> None:
        self.config = config or MuveraConfig()
        self.token_dim = token_dim

    @property
    def dim(self) -> int:
        """Dimensions of the encoding: ``r_reps * 2**k_sim * dim_proj``."""
        return self.config.dim

    def fingerprint(self) -> dict[str, Any]:
        """Algorithm, version, parameters and the token dimensions they apply to."""
        return {"config": self.config.to_dict(), "version": self.VERSION, "token_dim": self.token_dim}

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode documents: the mean of each cell.

        Args:
            tokens: A batch of documents.

        Returns:
            float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: The token vectors do not have ``token_dim`` dimensions.
        """
        return self._encode(tokens, documents=True)

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode queries: the sum of each cell.

        Args:
            tokens: A batch of queries.

        Returns:
            float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: The token vectors do not have ``token_dim`` dimensions.
        """
        return self._encode(tokens, documents=False)

    def _encode(self, tokens: TokenEmbeddings, *, documents: bool) -> NDArray[np.float32]:
        if tokens.dim != self.token_dim:
            raise InvalidTokensError(
                f"token vectors have {tokens.dim} dimensions, but this encoding was made for {self.token_dim}"
            )
        encoded = np.empty((len(tokens), self.dim), np.float32)
        for start, stop in tokens.blocks(_TILE_TOKENS):
            cells, counts = self._sum_cells(tokens[start:stop])
            if documents:
                cells = self._mean_cells(cells, counts)
            encoded[start:stop] = cells.reshape(stop - start, self.dim)
        return encoded

    def _sum_cells(self, tokens: TokenEmbeddings) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sum the projected tokens of every (text, repetition, cell).

        Returns:
            The sums, shape ``(texts, r_reps, cells, dim_proj)``, and the numbers of tokens in them.
        """
        config = self.config
        split = config.r_reps * config.k_sim
        products = tokens.values @ self._matrix
        total = len(tokens.values)
        signs = products[:, :split].reshape(total, config.r_reps, config.k_sim) > 0
        cell = signs @ (1 << np.arange(config.k_sim))
        slot = (np.repeat(np.arange(len(tokens)), tokens.lengths)[:, None] * config.r_reps) + np.arange(config.r_reps)
        slot = (slot * config.cells + cell).ravel()
        projected = products[:, split:].reshape(total * config.r_reps, config.dim_proj)

        order = np.argsort(slot, kind="stable")
        slot = slot[order]
        starts = np.flatnonzero(np.diff(slot, prepend=-1))
        occupied = slot[starts]
        shape = (len(tokens), config.r_reps, config.cells)
        sums = np.zeros((np.prod(shape), config.dim_proj), np.float32)
        sums[occupied] = np.add.reduceat(projected[order], starts, axis=0)
        counts = np.zeros(np.prod(shape), np.float32)
        counts[occupied] = np.diff(starts, append=len(slot))
        return sums.reshape(*shape, config.dim_proj), counts.reshape(shape)

    def _mean_cells(self, sums: NDArray[np.float32], counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of each cell; empty ones get that of all tokens at their smallest Hamming distance."""
        means: NDArray[np.float32] = sums / counts.clip(min=1)[..., None]
        if not self.config.fill_empty:
            return means
        empty = counts == 0
        for neighbours in self._hamming_neighbours:
            if not empty.any():
                break
            found = counts @ neighbours
            fill = empty & (found > 0)
            means[fill] = (neighbours @ sums)[fill] / found[fill][:, None]
            empty &= ~fill
        return means

    @cached_property
    def _matrix(self) -> NDArray[np.float32]:
        """Hyperplane normals and ±1 projections of all repetitions, side by side: one matmul does both.

        Drawn from numpy's legacy generator, the one whose stream is promised never to change.
        """
        config = self.config
        random = np.random.RandomState(config.seed)
        scale = 1 / np.sqrt(config.dim_proj * config.r_reps)
        normals, projections = [], []
        for _ in range(config.r_reps):
            normals.append(random.standard_normal((self.token_dim, config.k_sim)))
            projections.append(random.randint(0, 2, (self.token_dim, config.dim_proj)) * 2 - 1)
        return np.concatenate([*normals, *(signs * scale for signs in projections)], axis=1).astype(np.float32)

    @cached_property
    def _hamming_neighbours(self) -> list[NDArray[np.float32]]:
        """For each distance 1, 2, … ``k_sim``: which cells are that many bits apart, as a 0/1 matrix."""
        cells = np.arange(self.config.cells)
        distance = np.bitwise_count(cells[:, None] ^ cells)
        return [(distance == bits).astype(np.float32) for bits in range(1, self.config.k_sim + 1)]
