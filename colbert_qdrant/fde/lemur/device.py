"""Computes LEMUR's encodings on a torch device, equal to those of numpy up to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.fde.lemur.own_tokens import OwnTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.config import LemurConfig
    from colbert_qdrant.fde.lemur.features import Features
    from colbert_qdrant.fde.lemur.parameters import LemurParameters
    from colbert_qdrant.tokens import TokenEmbeddings

_LEARN_TILE: Final = 4_096


class DeviceLemur:
    """Computes encodings on a torch device, one tile at a time."""

    TILE_TOKENS: Final = 16_384

    def __init__(self, parameters: LemurParameters, config: LemurConfig, *, device: str) -> None:
        self._device = device
        self._config = config
        self._features = _DeviceFeatures(parameters.features, device)
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
            sums.index_add_(0, _owners(tokens, self._device), features)
            return _fetch(sums @ self._rotation * self._scale.sqrt())

    def documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode a tile of documents: float32, shape ``(len(tokens), dim)``."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            return self._documents(tokens, _best_matches(tokens, self._learn) - self._means)

    def from_targets(self, tokens: TokenEmbeddings, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode a tile of documents whose targets at the learn tokens are known: float32, shape ``(len, dim)``."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            return self._documents(tokens, self._send(targets))

    def _documents(self, tokens: TokenEmbeddings, targets: Any) -> NDArray[np.float32]:
        weights = targets @ self._solution
        if self._config.own_weight:
            weights += self._change(tokens, weights)
        return _fetch(weights / self._scale.sqrt())

    def _change(self, tokens: TokenEmbeddings, plain: Any) -> Any:
        """Compute Tᵀ (T Tᵀ / n + 1/τ)⁻¹ (y* − T w₀) / n for all documents at once."""
        import torch  # noqa: PLC0415

        own = self._own_tokens(tokens, plain)
        n, present = len(self._learn), self._send(own.present)
        features = self._features(self._send(tokens.values[own.rows[own.present]])) @ self._rotation
        rows = torch.zeros(*own.rows.shape, features.shape[1], device=self._device)
        rows[present] = features
        residual = torch.zeros(*own.rows.shape, 1, device=self._device)
        residual[present] = (self._send(own.matches) - features @ self._mean_weights - self._overall)[:, None]
        residual -= rows @ plain[:, :, None]
        system = rows @ rows.transpose(1, 2) / n
        system.diagonal(dim1=1, dim2=2).add_(self._send(own.inverse_weights(self._config))[:, None])
        return (rows.transpose(1, 2) @ torch.linalg.solve(system, residual))[:, :, 0] / n

    def _own_tokens(self, tokens: TokenEmbeddings, plain: Any) -> OwnTokens:
        most = self._config.own_tokens
        if self._config.refinement == "spaced":
            return OwnTokens.spaced(tokens, most=most)
        weights = (plain + self._mean_weights) @ self._rotation.T
        estimates = self._features(self._send(tokens.values))
        estimates *= weights[_owners(tokens, self._device)]
        return OwnTokens.worst(tokens, _fetch(estimates.sum(dim=1)), most=most)

    def _send(self, array: NDArray[Any]) -> Any:
        return _sent(array, self._device)


class _DeviceFeatures:
    """Computes ψ of `Features` on a torch device."""

    def __init__(self, features: Features, device: str) -> None:
        arrays = (features.weight, features.bias, features.gain, features.shift)
        self._weight, self._bias, self._gain, self._shift = (_sent(array, device) for array in arrays)

    def __call__(self, values: Any) -> Any:
        import torch  # noqa: PLC0415

        hidden = values @ self._weight + self._bias
        hidden = torch.nn.functional.layer_norm(hidden, hidden.shape[1:], self._gain, self._shift)
        return torch.nn.functional.gelu(hidden, approximate="tanh")


def device_matches(documents: TokenEmbeddings, tokens: NDArray[np.float32], *, device: str) -> NDArray[np.float32]:
    """Compute the same as `best_matches` on a torch device."""
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        return _fetch(_best_matches(documents, _sent(tokens, device)))


def device_rotation(
    features: Features,
    learn: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    dim: int,
    ridge: float,
    device: str,
) -> NDArray[np.float32]:
    """Compute the same as `rotation` on a torch device."""
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        n, z = len(learn), _DeviceFeatures(features, device)(_sent(learn, device))
        second = (z.T @ z).double() / n
        second.diagonal().add_(ridge * second.diagonal().mean())
        lower = torch.linalg.cholesky(second)
        products = (z.T @ _sent(targets, device).T).double() / n
        weights = torch.linalg.solve_triangular(lower, products, upper=False).float()
        _, directions = torch.linalg.eigh(weights @ weights.T)
        leading = directions.flip(1)[:, :dim].double()
        return np.ascontiguousarray(_fetch(torch.linalg.solve_triangular(lower.T, leading, upper=True).float()))


def _best_matches(documents: TokenEmbeddings, learn: Any) -> Any:
    import torch  # noqa: PLC0415

    values, owners = _sent(documents.values, learn.device), _owners(documents, learn.device)[:, None]
    best = torch.full((len(documents), len(learn)), -torch.inf, device=learn.device)
    for start in range(0, len(learn), _LEARN_TILE):
        some = slice(start, start + _LEARN_TILE)
        similarities = values @ learn[some].T
        best[:, some].scatter_reduce_(0, owners.expand_as(similarities), similarities, "amax")
    return best


def _owners(tokens: TokenEmbeddings, device: Any) -> Any:
    return _sent(np.repeat(np.arange(len(tokens)), tokens.lengths), device)


def _sent(array: NDArray[Any], device: Any) -> Any:
    import torch  # noqa: PLC0415

    return torch.tensor(array, device=device)


def _fetch(tensor: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.cpu().numpy()
    return values
