"""What a fit of LEMUR finds out: the artefact that travels with a collection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from colbert_qdrant.errors import ArtefactError
from colbert_qdrant.fde.lemur.features import Features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_KEY: Final = "colbert_qdrant"
_FEATURES: Final = ("weight", "bias", "gain", "shift")
_OWN: Final = ("rotation", "learn", "means", "scale")


@dataclass(frozen=True, kw_only=True, eq=False)
class LemurParameters:
    """The numbers behind an encoding.

    Args:
        features: ψ, the hidden layer.
        rotation: A, shape ``(hidden, dim)``: φ(x) = ψ(x) A has the unit matrix as second moment over the learn tokens,
            and its first coordinates carry most of the scores.
        learn: The learn tokens, shape ``(n, token_dim)``.
        means: μ, shape ``(n,)``: the mean over documents of the best match of each learn token.
        scale: s, shape ``(dim,)``: the root mean square of each coordinate over the fitted documents.
    """

    features: Features
    rotation: NDArray[np.float32]
    learn: NDArray[np.float32]
    means: NDArray[np.float32]
    scale: NDArray[np.float32]

    def to_bytes(self, settings: Mapping[str, Any]) -> bytes:
        """The parameters and JSON settings as a safetensors file; the same ones give the same bytes."""
        tensors = {name: getattr(self.features, name) for name in _FEATURES}
        tensors |= {name: getattr(self, name) for name in _OWN}
        return save(tensors, metadata={_KEY: json.dumps(settings, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[LemurParameters, dict[str, Any]]:
        """The inverse of `to_bytes`.

        Raises:
            ArtefactError: The bytes are no such file, or only part of one.
        """
        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            settings: dict[str, Any] = json.loads(header["__metadata__"][_KEY])
            features = Features(**{name: tensors[name] for name in _FEATURES})
            parameters = cls(features=features, **{name: tensors[name] for name in _OWN})
            parameters.check()
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"the fitted encoding cannot be read ({type(error).__name__}: {error}): it was cut off or altered, or "
                "is another kind of file; restore it from a backup, or fit anew"
            ) from error
        return parameters, settings

    def check(self) -> None:
        """Raise a ValueError unless shapes fit together and all numbers are finite."""
        token_dim, hidden = self.features.weight.shape
        n, dim = len(self.means), len(self.scale)
        shapes = {"rotation": (hidden, dim), "learn": (n, token_dim), "means": (n,), "scale": (dim,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        for name in (*_FEATURES, *_OWN):
            values = getattr(self.features if name in _FEATURES else self, name)
            if values.dtype != np.float32 or not np.isfinite(values).all():
                raise ValueError(f"{name} is not float32, or not finite")
