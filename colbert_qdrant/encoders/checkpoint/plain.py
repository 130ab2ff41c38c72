"""Reads checkpoints of any other layout: a transformer with a tokenizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from colbert_qdrant.encoders.checkpoint.modules import (
    MODULES,
    SETTINGS,
    backbone_folder,
    backbone_settings,
    kind_of,
    longest_text,
    modules_of,
    prompt_of,
)
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Side
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_NAME: Final = "plain"


_WEIGHTS: Final = {".pt", ".pth", ".bin", ".npz", ".safetensors"}
_PROJECTION: Final = re.compile(r"colbert|linear|proj|dense|(?<![a-z])head", re.I)
"""The names of files and folders that contain a projection."""

_MODULE: Final = re.compile(r"\d+_\w+")
"""The name of a module's folder in sentence-transformers."""

_PROJECTING: Final = re.compile(r"colbert|colpali|colqwen|multivector", re.I)
"""The architectures that have a projection."""


def _read(files: CheckpointFiles) -> CheckpointSpec:
    _require_no_projection(files)
    longest, settings = longest_text(files, {}), files.settings(SETTINGS)
    usual = prompt_of(settings, settings.get("default_prompt_name"))
    return CheckpointSpec(
        layout=_NAME,
        backbone=backbone_folder(files),
        query=Side(length=min(64, longest), prompt=prompt_of(settings, "query") or usual, skip_special=True),
        document=Side(
            length=min(256, longest),
            prompt=prompt_of(settings, "document") or prompt_of(settings, "passage") or usual,
            skip_special=True,
            skip_punctuation=True,
        ),
    )


def _require_no_projection(files: CheckpointFiles) -> None:
    """Raise if token vectors need a projection, which this layout does not describe."""
    for module in modules_of(files)[1:]:
        kind = kind_of(module)
        if kind.endswith("Pooling"):
            break  # later modules process a single vector per text
        if kind != "Normalize":
            raise CheckpointError(
                f"{files.path(MODULES)} lists {module['type']!r} for token vectors, but {files.path(SETTINGS)} does "
                "not describe it: download that file again, or wrap the loaded model with SentenceTransformersEncoder"
            )
    for path in _projections(files):
        raise CheckpointError(
            f"{path} has a projection to token vectors that this layout does not know and would ignore: use a "
            "checkpoint of PyLate, Stanford's ColBERT or MultiVectorEncoder, or delete the file"
        )
    architectures = [str(each) for each in backbone_settings(files).get("architectures") or []]
    projecting = next(filter(_PROJECTING.search, architectures), None)
    if projecting or files.settings(SETTINGS).get("similarity_fn_name") == "MaxSim":
        found = f"config.json names the architecture {projecting!r}" if projecting else f"{SETTINGS} names MaxSim"
        raise CheckpointError(
            f"{files.folder}: {found}, but no file describes the projection to token vectors: download the checkpoint "
            f"again ({MODULES} and its folders, or artifact.metadata for Stanford's ColBERT)"
        )


def _projections(files: CheckpointFiles) -> Iterator[Path]:
    """Yield the weight files that look like a projection and do not belong to a listed module."""
    listed = {module["path"] for module in modules_of(files)}
    for path in sorted(files.folder.glob("*")) + sorted(files.folder.glob("*/*")):
        inner = path.parent.name if path.parent != files.folder else ""
        if path.suffix.lower() not in _WEIGHTS or (inner and inner in listed):
            continue
        if _PROJECTION.search(path.name) or _PROJECTION.search(inner) or _MODULE.fullmatch(inner):
            yield path


PLAIN: Final = CheckpointLayout(
    name=_NAME,
    settings="config.json",
    detect=lambda _: True,
    read=_read,
    has_other_heads=True,
    limited_by_positions=True,
)
