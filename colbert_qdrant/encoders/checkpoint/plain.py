"""Reads checkpoints of no other layout: any transformer with a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.encoders.checkpoint.modules import backbone_folder, longest_text
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Side

if TYPE_CHECKING:
    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_NAME: Final = "plain"


def _read(files: CheckpointFiles) -> CheckpointSpec:
    longest = longest_text(files, {})
    return CheckpointSpec(
        layout=_NAME,
        backbone=backbone_folder(files),
        query=Side(length=min(64, longest), skip_special=True),
        document=Side(length=min(256, longest), skip_special=True, skip_punctuation=True),
    )


PLAIN: Final = CheckpointLayout(
    name=_NAME,
    settings="config.json",
    detect=lambda _: True,
    read=_read,
    has_other_heads=True,
    limited_by_positions=True,
)
