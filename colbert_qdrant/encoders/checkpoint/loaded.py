"""Defines a checkpoint in memory, without importing the libraries that load one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory.

    Args:
        name: A label for messages.
        spec: The specification of the checkpoint.
        backbone: The transformer, from token ids to hidden states.
        head: The projections, from hidden states to token vectors.
        tokenizer: The tokenizer.
        code: The digest of the Python code that came with the model, if that code is trusted.
    """

    name: str
    spec: CheckpointSpec
    backbone: PreTrainedModel
    head: torch.nn.Sequential
    tokenizer: PreTrainedTokenizerBase
    code: str | None = None

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""
        if len(self.head):
            return self.head[-1].get_parameter("linear.weight").shape[0]
        return int(self.backbone.config.hidden_size)

    @property
    def projections(self) -> list[dict[str, Any]]:
        """The activation and residual of each projection, which its weights do not determine."""
        return [
            {"activation": type(dense.activation).__name__, "residual": dense.residual is not None}
            for dense in self.head
        ]

    @property
    def longest(self) -> int | None:
        """The maximum number of tokens that the model has positions for; ``None`` if there is no limit."""
        return most_tokens(self.backbone)


def most_tokens(backbone: PreTrainedModel) -> int | None:
    """Return the maximum number of tokens that a transformer has positions for; ``None`` if there is no limit."""
    longest: int | None = getattr(backbone.config, "max_position_embeddings", None)
    positions = getattr(getattr(backbone, "embeddings", None), "position_embeddings", None)
    padding: int | None = getattr(positions, "padding_idx", None)
    if longest is not None and padding is not None:
        return longest - padding - 1  # RoBERTa's positions start after the padding index
    return longest
