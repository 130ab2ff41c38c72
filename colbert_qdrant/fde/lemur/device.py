"""Computes LEMUR's encodings on a torch device, equal to those of numpy up to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.fde.lemur.own_tokens import OwnTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.config import LemurConfig
    from colbert_qdrant.fde.lemur.parameters import LemurParameters
    from colbert_qdrant.tokens import TokenEmbeddings

_LEARN_TILE: Final = 4_096


class DeviceLemur:
    """Computes encodings on a torch device, one tile at a time."""

    TILE_TOKENS: Final = 16_384

    def __init__(self, parameters: LemurParameters, config: LemurConfig, *, device: str) -> None:
        self._device = device
        self._config = config
        features = parameters.features
        self._weight, self._bias, self._gain, self._shift = map(
            self._send, (features.weight, features.bias, features.gain, features.shift)
        )
        self._rotation, self._learn, self._means, self._scale = map(
            self._send, (parameters.rotation, parameters.learn, parameters.means, parameters.scale)
        )
        self._solution = self._features(self._learn) @ self._rotation / len(self._learn)
        self._overall = self._means.mean()
        self._mean_weights = (self._means - self._overall) @ self._solution

    def queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode a tile of queries: float32, shape ``(len(tokens), dim)``."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            features = self._features(self._send(tokens.values))
            sums = torch.zeros(len(tokens), features.shape[1], device=self._device)
            sums.index_add_(0, self._owners(tokens), features)
            return _fetch(sums @ self._rotation * self._scale.sqrt())

    def documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode a tile of documents: float32, shape ``(len(tokens), dim)``."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            weights = (self._best_matches(tokens) - self._means) @ self._solution
            if self._config.own_weight:
                weights += self._change(tokens, weights)
            return _fetch(weights / self._scale.sqrt())

    def _best_matches(self, tokens: TokenEmbeddings) -> Any:
        import torch  # noqa: PLC0415

        values, owners = self._send(tokens.values), self._owners(tokens)[:, None]
        best = torch.full((len(tokens), len(self._learn)), -torch.inf, device=self._device)
        for start in range(0, len(self._learn), _LEARN_TILE):
            some = slice(start, start + _LEARN_TILE)
            similarities = values @ self._learn[some].T
            best[:, some].scatter_reduce_(0, owners.expand_as(similarities), similarities, "amax")
        return best

    def _change(self, tokens: TokenEmbeddings, plain: Any) -> Any:
        """Compute Tᵀ (T Tᵀ / n + 1/τ)⁻¹ (y* − T w₀) / n for all documents at once."""
        import torch  # noqa: PLC0415

        own = OwnTokens.of(tokens, most=self._config.own_tokens)
        n, present = len(self._learn), self._send(own.present)
        features = self._features(self._send(tokens.values[own.rows[own.present]])) @ self._rotation
        rows = torch.zeros(*own.rows.shape, features.shape[1], device=self._device)
        rows[present] = features
        residual = torch.zeros(*own.rows.shape, 1, device=self._device)
        residual[present] = (self._send(own.matches) - features @ self._mean_weights - self._overall)[:, None]
        residual -= rows @ plain[:, :, None]
        system = rows @ rows.transpose(1, 2) / n
        system.diagonal(dim1=1, dim2=2).add_(1 / self._config.own_weight)
        return (rows.transpose(1, 2) @ torch.linalg.solve(system, residual))[:, :, 0] / n

    def _features(self, values: Any) -> Any:
        import torch  # noqa: PLC0415

        hidden = values @ self._weight + self._bias
        hidden = torch.nn.functional.layer_norm(hidden, hidden.shape[1:], self._gain, self._shift)
        return torch.nn.functional.gelu(hidden, approximate="tanh")

    def _owners(self, tokens: TokenEmbeddings) -> Any:
        return self._send(np.repeat(np.arange(len(tokens)), tokens.lengths))

    def _send(self, array: NDArray[Any]) -> Any:
        import torch  # noqa: PLC0415

        return torch.tensor(array, device=self._device)


def _fetch(tensor: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.cpu().numpy()
    return values
