"""Loads the projections from hidden states to token vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from colbert_qdrant.encoders.checkpoint.spec import DenseSpec
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles


def load_head(files: CheckpointFiles, specs: Sequence[DenseSpec]) -> torch.nn.Sequential:
    """Build the projections of a checkpoint, in float32.

    Raises:
        CheckpointError: If an activation is unknown, or the weights are not exactly those that a projection needs.
    """
    return torch.nn.Sequential(*[_dense(files, spec, files.tensors(spec.folder)) for spec in specs])


def linear_head(files: CheckpointFiles, tensors: dict[str, torch.Tensor], name: str) -> torch.nn.Sequential:
    """Remove the single projection, without bias, from the transformer's tensors and build it.

    Raises:
        CheckpointError: If the projection is missing, or is not a matrix.
    """
    weight = tensors.pop(name, None)
    if weight is None:
        raise CheckpointError(
            f"the weights in {files.folder} lack {name!r}, the projection to token vectors: download the checkpoint "
            "again"
        )
    if weight.ndim != 2:
        raise CheckpointError(
            f"the weights in {files.folder} have {name!r} of shape {tuple(weight.shape)}, which is not a projection: "
            "download the checkpoint again"
        )
    spec = DenseSpec(folder="", in_features=weight.shape[1], out_features=weight.shape[0], bias=False)
    return torch.nn.Sequential(_dense(files, spec, {"linear.weight": weight}))


class _Dense(torch.nn.Module):
    def __init__(self, spec: DenseSpec, activation: torch.nn.Module) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(spec.in_features, spec.out_features, bias=spec.bias)
        self.activation = activation
        self.residual: torch.nn.Module | None = None
        if spec.residual and spec.in_features != spec.out_features:
            self.residual = torch.nn.Linear(spec.in_features, spec.out_features, bias=False)
        elif spec.residual:
            self.residual = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.activation(self.linear(x))
        return projected if self.residual is None else projected + self.residual(x)


def _dense(files: CheckpointFiles, spec: DenseSpec, tensors: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    dense = _Dense(spec, _activation(files, spec))
    try:
        dense.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {files.path(spec.folder)} do not match its config.json ({error}): download both again"
        ) from error
    return dense


def _activation(files: CheckpointFiles, spec: DenseSpec) -> torch.nn.Module:
    """Make one of torch's own activations; a name from a file never imports other code."""
    name = spec.activation.rpartition(".")[2]
    if not spec.activation.startswith("torch.nn.") or name not in {"Identity", *torch.nn.modules.activation.__all__}:
        raise CheckpointError(
            f"{files.path(spec.folder)}/config.json has the unknown activation_function {spec.activation!r}: use one "
            "of torch.nn, such as 'torch.nn.modules.activation.GELU', or download the file again"
        )
    try:
        activation: torch.nn.Module = getattr(torch.nn, name)()
    except TypeError as error:
        raise CheckpointError(
            f"{files.path(spec.folder)}/config.json has the activation_function {spec.activation!r}, which "
            "needs arguments that the file lacks: use one without arguments, such as 'torch.nn.modules.activation.GELU'"
        ) from error
    return activation
