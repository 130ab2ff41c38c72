"""Loads a checkpoint: its specification, transformer, projections and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from colbert_qdrant.encoders.checkpoint.backbone import load_backbone
from colbert_qdrant.encoders.checkpoint.head import linear_head, load_head
from colbert_qdrant.encoders.checkpoint.layouts import read_spec
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles
    from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory.

    Args:
        name: A label for people.
        spec: What it says of itself.
        backbone: The transformer, text tokens → hidden states.
        head: Projections, hidden states → token vectors.
        tokenizer: The tokenizer.
    """

    name: str
    spec: CheckpointSpec
    backbone: PreTrainedModel
    head: torch.nn.Sequential
    tokenizer: PreTrainedTokenizerBase

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""
        if len(self.head):
            return self.head[-1].get_parameter("linear.weight").shape[0]
        return int(self.backbone.config.hidden_size)

    @property
    def longest(self) -> int | None:
        """Most tokens that the model has positions for, ``None`` if it has no limit."""
        config = self.backbone.config
        longest: int | None = getattr(config, "max_position_embeddings", None)
        positions = getattr(getattr(self.backbone, "embeddings", None), "position_embeddings", None)
        padding: int | None = getattr(positions, "padding_idx", None)
        if longest is not None and padding is not None:
            return longest - padding - 1  # RoBERTa counts its positions from there
        return longest


def load_checkpoint(files: CheckpointFiles, *, trust_remote_code: bool = False) -> Checkpoint:
    """Load everything, in float32 on the CPU.

    Raises:
        CheckpointError: A file is missing, broken, or does not fit the others.
    """
    spec = read_spec(files)
    tokenizer = _load_tokenizer(files, spec, trust_remote_code=trust_remote_code)
    tensors = files.tensors(spec.backbone)
    if spec.layout == "stanford":
        head = linear_head(files, tensors.pop("linear.weight", None))
    else:
        head = load_head(files, spec.dense)
    backbone = load_backbone(files, spec.backbone, tensors, layout=spec.layout, trust_remote_code=trust_remote_code)
    _check_widths(files, backbone.config.hidden_size, head)
    return Checkpoint(
        name=files.folder.name if files.name == str(files.folder) else files.name,
        spec=spec,
        backbone=backbone.train(mode=False),
        head=head.eval(),
        tokenizer=tokenizer,
    )


def _load_tokenizer(
    files: CheckpointFiles, spec: CheckpointSpec, *, trust_remote_code: bool
) -> PreTrainedTokenizerBase:
    folder = files.path(spec.backbone)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code, local_files_only=True
        )
    except Exception as error:
        raise CheckpointError(
            f"cannot load the tokenizer in {folder} ({type(error).__name__}: {error}): get tokenizer.json and "
            "tokenizer_config.json again"
        ) from error
    return tokenizer


def _check_widths(files: CheckpointFiles, hidden: int, head: torch.nn.Sequential) -> None:
    width = hidden
    for number, dense in enumerate(head, 1):
        weight = dense.get_parameter("linear.weight")
        if weight.shape[1] != width:
            raise CheckpointError(
                f"{files.name}: projection {number} takes {weight.shape[1]} dimensions but gets {width}: its files "
                "are of another model; get the checkpoint again"
            )
        width = weight.shape[0]
