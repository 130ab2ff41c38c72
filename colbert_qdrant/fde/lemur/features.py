"""Computes token features: the single hidden layer that LEMUR trains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPSILON: Final = 1e-5
"""Added to the variance, as in torch's ``LayerNorm``."""

_TILE: Final = 256
"""Tokens processed at a time, so that their features stay in the cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """ψ(x) = GELU(LayerNorm(x W + b)), with GELU's tanh approximation (arXiv 1606.08415).

    W and b are stored with their mean over the hidden layer subtracted, so the layer's mean is 0. Its variance is
    r² = |x W + b|² / hidden, a quadratic form of x in ``token_dim`` dimensions. Then one product computes everything
    before GELU:

        LayerNorm(x W + b) = [x/r, 1/r, 1] · [W·gain; b·gain; shift]

    Args:
        weight: W, shape ``(token_dim, hidden)``.
        bias: b, shape ``(hidden,)``.
        gain: LayerNorm's factor, shape ``(hidden,)``.
        shift: LayerNorm's bias, shape ``(hidden,)``.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    gain: NDArray[np.float32]
    shift: NDArray[np.float32]

    @classmethod
    def random(cls, token_dim: int, hidden: int, *, seed: int) -> Features:
        """Make the features of an untrained network, an extreme learning machine.

        LayerNorm removes the scale of the weights, but training moves small weights faster.
        """
        random = np.random.RandomState(seed)
        weight = random.standard_normal((token_dim, hidden)) / np.sqrt(3 * token_dim)
        bias = random.standard_normal(hidden) / (np.sqrt(3) * token_dim)
        return cls.from_layer(weight, bias, np.ones(hidden), np.zeros(hidden))

    @classmethod
    def from_layer(
        cls,
        weight: NDArray[np.floating],
        bias: NDArray[np.floating],
        gain: NDArray[np.floating],
        shift: NDArray[np.floating],
    ) -> Features:
        """Make the features of any hidden layer and LayerNorm; subtracting the means changes no output."""
        return cls(
            weight=np.ascontiguousarray(weight - weight.mean(axis=1, keepdims=True), np.float32),
            bias=(bias - bias.mean()).astype(np.float32),
            gain=np.asarray(gain, np.float32),
            shift=np.asarray(shift, np.float32),
        )

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the features of token vectors ``(n, token_dim)``: float32, shape ``(n, hidden)``."""
        features = np.empty((len(values), self.weight.shape[1]), np.float32)
        for start in range(0, len(values), _TILE):
            features[start : start + _TILE] = self._tile(values[start : start + _TILE])
        return features

    def rotate(self, values: NDArray[np.float32], rotation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute ``self(values) @ rotation`` in tiles, to save memory: float32, shape ``(n, dim)``."""
        rotated = np.empty((len(values), rotation.shape[1]), np.float32)
        for start in range(0, len(values), _TILE):
            rotated[start : start + _TILE] = self._tile(values[start : start + _TILE]) @ rotation
        return rotated

    def _tile(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        form, linear, constant = self._variance
        variance = np.einsum("ij,ij->i", values @ form + linear, values) + constant
        inverse = 1 / np.sqrt(variance + np.float32(_EPSILON))
        inputs = np.empty((len(values), len(self._layer)), np.float32)
        np.multiply(values, inverse[:, None], out=inputs[:, :-2])
        inputs[:, -2], inputs[:, -1] = inverse, 1
        return _gelu_of_twice(inputs @ self._layer)

    @cached_property
    def _layer(self) -> NDArray[np.float32]:
        """Half of [W·gain; b·gain; shift]."""
        rows: NDArray[np.float32] = np.concatenate(
            [self.weight * self.gain, (self.bias * self.gain)[None], self.shift[None]]
        )
        rows *= np.float32(0.5)
        return rows

    @cached_property
    def _variance(self) -> tuple[NDArray[np.float32], NDArray[np.float32], np.float32]:
        """Q, l and c of |x W + b|² / hidden = x·(x Q + l) + c."""
        weight, bias = self.weight.astype(np.float64), self.bias.astype(np.float64)
        hidden = len(bias)
        form = (weight @ weight.T / hidden).astype(np.float32)
        return form, (2 * weight @ bias / hidden).astype(np.float32), np.float32(bias @ bias / hidden)


def _gelu_of_twice(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) for x = 2 y, in place."""
    inner = y * y
    inner *= np.float32(8 * 0.044715 * np.sqrt(2 / np.pi))
    inner += np.float32(2 * np.sqrt(2 / np.pi))
    inner *= y
    np.tanh(inner, out=inner)
    inner += 1
    y *= inner
    return y
