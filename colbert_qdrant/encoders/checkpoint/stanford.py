"""Reads checkpoints of Stanford's ColBERT, whose projection is among the transformer's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.encoders.checkpoint.modules import PUNCTUATION, backbone_folder, backbone_settings
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, QueryExpansion, Side
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_NAME: Final = "stanford"
_SETTINGS: Final = "artifact.metadata"


def _detect(files: CheckpointFiles) -> bool:
    architectures = backbone_settings(files).get("architectures") or []
    return any(str(each).startswith("HF_ColBERT") for each in architectures) or files.path(_SETTINGS).is_file()


def _read(files: CheckpointFiles) -> CheckpointSpec:
    metadata = files.settings(_SETTINGS)
    for key, known in (("similarity", "cosine"), ("interaction", "colbert")):
        if metadata.get(key, known) != known:
            raise CheckpointError(
                f"{files.path(_SETTINGS)}: {key}={metadata[key]!r} is not supported, because documents are ranked by "
                f"MaxSim of cosines: use a checkpoint that was trained with {known!r}"
            )
    length = metadata.get("query_maxlen") or 32
    attend = bool(metadata.get("attend_to_mask_tokens"))
    return CheckpointSpec(
        layout=_NAME,
        backbone=backbone_folder(files),
        query=Side(
            length=length,
            prefix=metadata.get("query_token_id") or "[unused0]",
            expansion=QueryExpansion(length=length, attend=attend),
        ),
        document=Side(
            length=metadata.get("doc_maxlen") or 220,
            prefix=metadata.get("doc_token_id") or "[unused1]",
            skiplist=PUNCTUATION if metadata.get("mask_punctuation", True) else (),
        ),
        strip=True,
    )


STANFORD: Final = CheckpointLayout(
    name=_NAME,
    settings=_SETTINGS,
    detect=_detect,
    read=_read,
    projection="linear.weight",
    dim=lambda files: files.settings(_SETTINGS).get("dim"),
)
