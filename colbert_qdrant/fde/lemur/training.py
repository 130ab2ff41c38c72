"""Trains LEMUR's features, the only part of LEMUR's fit that needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.fde.lemur.features import Features

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray

_BATCH: Final = 512
_LEARNING_RATE: Final = 3e-3
_GRADIENT_NORM: Final = 0.5
_HELD_OUT: Final = 16
"""One token in 16 is held out; the epoch that predicts these tokens best is kept."""

_COMBINATIONS: Final = 256
_PATIENCE: Final = 3
"""Training ends after this number of epochs without a better prediction."""


def train(
    start: Features,
    tokens: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    epochs: int,
    seed: int,
    device: str,
) -> Iterator[Features]:
    """Train the hidden layer, with a linear readout on top, to predict documents' best matches for single tokens.

    Adam minimizes the mean squared error of the standardized targets, as in LEMUR (arXiv 2601.21853). The readout is
    discarded, because document encodings are solved for in closed form.

    The readout predicts 256 combinations of the targets instead of each. For an orthonormal basis P of documents, the
    error |Y − ψV|² is the sum of |YP − ψVP|² and the same outside of P. The leading principal directions hold nearly
    all of Y's energy, so the rest moves the features little. A random rotation within P spreads the energy over all
    combinations, as over documents, since Adam's steps are of the same size for each.

    Args:
        start: The untrained features.
        tokens: Shape ``(n, token_dim)``.
        targets: Shape ``(documents, n)``; the mean of each token over documents is 0.
        epochs: The maximum number of passes over the tokens.
        seed: The seed for the initial weights of the readout and the order of the tokens.
        device: A torch device.

    Yields:
        The best features so far, after each epoch.
    """
    import torch  # noqa: PLC0415

    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(tokens), generator=random)
    held_out, trained = order[::_HELD_OUT], order[torch.arange(len(order)) % _HELD_OUT != 0]
    inputs = torch.tensor(tokens, device=device)
    labels = _combined(torch.tensor(targets, device=device), random)
    network = _network(start, labels.shape[1], random).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    steps = epochs * -(-len(trained) // _BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))

    best, best_error, epochs_without_gain = _copy(network), float("inf"), 0
    for _ in range(epochs):
        shuffled = trained[torch.randperm(len(trained), generator=random)]
        for batch in torch.split(shuffled, _BATCH):
            optimizer.zero_grad()
            error = torch.nn.functional.mse_loss(network(inputs[batch]), labels[batch])
            torch.autograd.backward(error)
            torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            now = float(torch.nn.functional.mse_loss(network(inputs[held_out]), labels[held_out]))
        epochs_without_gain = 0 if now < best_error else epochs_without_gain + 1
        if now < best_error:
            best_error = now
            best = _copy(network)
        weight, bias, gain, shift = (best[name].numpy() for name in ("0.weight", "0.bias", "1.weight", "1.bias"))
        yield Features.from_layer(weight.T, bias, gain, shift)
        if epochs_without_gain == _PATIENCE:
            break


def _combined(targets: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Combine the targets ``(documents, n)`` of all documents to at most 256, standardized, of shape ``(n, 256)``.

    Two steps of subspace iteration find the leading directions; only the space that they span matters.
    """
    import torch  # noqa: PLC0415

    def draw(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=random).to(targets.device)

    documents = len(targets)
    if documents > _COMBINATIONS:
        space = draw(documents, _COMBINATIONS)
        for _ in range(2):
            space, _triangle = torch.linalg.qr(targets @ (targets.T @ space))
        mixed, _triangle = torch.linalg.qr(draw(_COMBINATIONS, _COMBINATIONS))
        targets = (space @ mixed).T @ targets
    return (targets / targets.std()).T.contiguous()


def _copy(network: torch.nn.Sequential) -> dict[str, torch.Tensor]:
    """Copy the current weights of the hidden layer and of LayerNorm."""
    return {name: value.detach().cpu().clone() for name, value in network[0:2].state_dict().items()}


def _network(start: Features, documents: int, random: torch.Generator) -> torch.nn.Sequential:
    import torch  # noqa: PLC0415

    token_dim, hidden = start.weight.shape
    layer, norm = torch.nn.Linear(token_dim, hidden), torch.nn.LayerNorm(hidden)
    readout = torch.nn.Linear(hidden, documents)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(start.weight.T))
        layer.bias.copy_(torch.tensor(start.bias))
        readout.weight.normal_(std=hidden**-0.5, generator=random)
        readout.bias.zero_()
    return torch.nn.Sequential(layer, norm, torch.nn.GELU(approximate="tanh"), readout)
