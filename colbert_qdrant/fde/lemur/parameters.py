"""Holds the fitted parameters of LEMUR, which are stored with a collection as its artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from colbert_qdrant.fde.lemur.features import Features

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_FEATURES: Final = ("weight", "bias", "gain", "shift")
_OWN: Final = ("rotation", "learn", "means", "scale")


@dataclass(frozen=True, kw_only=True, eq=False)
class LemurParameters:
    """The fitted parameters of an encoding.

    Args:
        features: ψ, the hidden layer.
        rotation: A, shape ``(hidden, dim)``. Over the learn tokens, the second moment of φ(x) = ψ(x) A is the identity
            matrix. The first coordinates of φ carry most of the scores.
        learn: The learn tokens, shape ``(n, token_dim)``.
        means: μ, shape ``(n,)``: the mean over documents of the best match of each learn token.
        scale: s, shape ``(dim,)``: the root mean square of each coordinate over the fitted documents.
    """

    features: Features
    rotation: NDArray[np.float32]
    learn: NDArray[np.float32]
    means: NDArray[np.float32]
    scale: NDArray[np.float32]

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All tensors by name."""
        return {name: getattr(self.features, name) for name in _FEATURES} | {name: getattr(self, name) for name in _OWN}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]], *, dim: int) -> LemurParameters:
        """Make the parameters from ``tensors``, for an encoding of ``dim`` dimensions.

        Raises:
            KeyError: If a tensor is missing.
            ValueError: If the shapes are inconsistent.
        """
        features = Features(**{name: tensors[name] for name in _FEATURES})
        found = cls(features=features, **{name: tensors[name] for name in _OWN})
        token_dim, hidden = features.weight.shape
        n = len(found.means)
        shapes = {"rotation": (hidden, dim), "learn": (n, token_dim), "means": (n,), "scale": (dim,)}
        for name, shape in shapes.items():
            if tensors[name].shape != shape:
                raise ValueError(f"{name} has shape {tensors[name].shape}, expected {shape}")
        return found
