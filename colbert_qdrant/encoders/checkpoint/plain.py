"""Reads checkpoints of no other layout: any transformer with a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.encoders.checkpoint.modules import (
    MODULES,
    SETTINGS,
    backbone_folder,
    kind_of,
    longest_text,
    modules_of,
)
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Side
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_NAME: Final = "plain"


_WEIGHTS: Final = {".pt", ".pth", ".bin", ".safetensors"}


def _read(files: CheckpointFiles) -> CheckpointSpec:
    _require_no_projection(files)
    longest = longest_text(files, {})
    return CheckpointSpec(
        layout=_NAME,
        backbone=backbone_folder(files),
        query=Side(length=min(64, longest), skip_special=True),
        document=Side(length=min(256, longest), skip_special=True, skip_punctuation=True),
    )


def _require_no_projection(files: CheckpointFiles) -> None:
    """Raise if token vectors are meant to go through more than the transformer: nothing here says how."""
    for module in modules_of(files)[1:]:
        kind = kind_of(module)
        if kind.endswith("Pooling"):
            break  # the modules after it are about one vector for a whole text
        if kind != "Normalize":
            raise CheckpointError(
                f"{files.path(MODULES)} lists {module['type']!r} for token vectors, but {files.path(SETTINGS)} does "
                "not say how to use it: get that file again, or wrap the loaded model with SentenceTransformersEncoder"
            )
    for path in sorted(files.folder.glob("*colbert*")):
        if path.suffix in _WEIGHTS:
            raise CheckpointError(
                f"{path} holds a projection to token vectors that this layout does not know, and would be left out: "
                "use a checkpoint of PyLate, Stanford's ColBERT or MultiVectorEncoder, or delete the file"
            )


PLAIN: Final = CheckpointLayout(
    name=_NAME,
    settings="config.json",
    detect=lambda _: True,
    read=_read,
    has_other_heads=True,
    limited_by_positions=True,
)
