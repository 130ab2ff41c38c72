"""Partitions the token space into cells, by hyperplanes or around centroids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Partition(Protocol):
    """One partition per repetition, as a linear map whose products with a token determine its cells.

    Attributes:
        matrix: Shape ``(rows, token_dim)``.
        shape: ``(r_reps, rows / r_reps)``.
        cells: Cells per repetition.
    """

    @property
    def matrix(self) -> NDArray[Any]: ...  # noqa: D102 - an attribute, described above

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102

    @property
    def cells(self) -> int: ...  # noqa: D102

    def assign_cells(self, products: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Map products ``matrix @ tokens.T``, shape ``(rows, tokens)``, to cells ``(r_reps, tokens)`` of ``dtype``."""

    def assign_cells_on_device(self, products: Any) -> Any:
        """Do the same in torch with transposed shapes: ``(tokens, rows)`` to int64 ``(tokens, r_reps)``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hyperplanes:
    """SimHash: each bit of a token's cell is the side of one of ``k_sim`` hyperplanes on which the token lies.

    Args:
        normals: Shape ``(r_reps, k_sim, token_dim)``.
    """

    normals: NDArray[Any]

    @property
    def matrix(self) -> NDArray[Any]:
        """All normals."""
        return self.normals.reshape(-1, self.normals.shape[2])

    @property
    def shape(self) -> tuple[int, int]:
        """``(r_reps, k_sim)``."""
        return self.normals.shape[0], self.normals.shape[1]

    @property
    def cells(self) -> int:
        """``2**k_sim``."""
        return 1 << self.shape[1]

    def assign_cells(self, products: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Partition`."""
        sides = (products > 0).reshape(*self.shape, products.shape[1])
        bits = (1 << np.arange(self.shape[1])).astype(dtype)
        numbers: NDArray[Any] = np.einsum("k,rkt->rt", bits, sides.view(np.uint8))
        return numbers

    def assign_cells_on_device(self, products: Any) -> Any:
        """See `Partition`."""
        sides = products > 0
        bits = products.new_tensor(1 << np.arange(self.shape[1])).long()
        return (sides.view(len(products), *self.shape) * bits).sum(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Centroids:
    """k-means: a token belongs to the cell of its nearest centroid.

    Args:
        centroids: Shape ``(r_reps, cells, token_dim)``.
    """

    centroids: NDArray[np.float32]

    @property
    def matrix(self) -> NDArray[np.float32]:
        """All centroids."""
        return self.centroids.reshape(-1, self.centroids.shape[2])

    @property
    def shape(self) -> tuple[int, int]:
        """``(r_reps, cells)``."""
        return self.centroids.shape[0], self.centroids.shape[1]

    @property
    def cells(self) -> int:
        """Centroids per repetition."""
        return self.shape[1]

    def assign_cells(self, products: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Partition`."""
        nearness = (products - self._halves[:, None]).reshape(*self.shape, products.shape[1])
        # takes half the time of argmax on the float array
        numbers: NDArray[Any] = (nearness == nearness.max(axis=1, keepdims=True)).argmax(axis=1).astype(dtype)
        return numbers

    def assign_cells_on_device(self, products: Any) -> Any:
        """See `Partition`."""
        return (products - products.new_tensor(self._halves)).view(len(products), *self.shape).argmax(-1)

    @property
    def _halves(self) -> NDArray[np.float32]:
        """|c|²/2 for each centroid c: the centroid nearest to x maximizes ⟨x, c⟩ − |c|²/2."""
        halves: NDArray[np.float32] = (self.matrix**2).sum(axis=1) / 2
        return halves
