"""Loads a checkpoint: its specification, transformer, projections and tokenizer."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from colbert_qdrant.encoders.checkpoint.backbone import code_options, load_backbone, silence_transformers
from colbert_qdrant.encoders.checkpoint.head import linear_head, load_head
from colbert_qdrant.encoders.checkpoint.loaded import Checkpoint, most_tokens
from colbert_qdrant.encoders.checkpoint.registry import layout_of, read_spec
from colbert_qdrant.encoders.digests import json_digest
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles
    from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Side


def load_checkpoint(files: CheckpointFiles, *, trust_remote_code: bool = False) -> Checkpoint:
    """Load a checkpoint, in float32 on the CPU.

    Raises:
        CheckpointError: If a file is missing, broken, or inconsistent with the others.
    """
    spec = read_spec(files)
    layout = layout_of(spec)
    _check_no_adapter(files, spec.backbone)
    tokenizer = _load_tokenizer(files, spec, trust_remote_code=trust_remote_code)
    tensors = files.tensors(spec.backbone)
    if layout.projection is not None:
        head = linear_head(files, tensors, layout.projection)
    else:
        head = load_head(files, spec.dense)
    backbone = load_backbone(
        files, spec.backbone, tensors, other_heads=layout.has_other_heads, trust_remote_code=trust_remote_code
    )
    _check_widths(files, backbone.config.hidden_size, head, layout.dim(files))
    _check_rows(files, spec, tokenizer, getattr(backbone.config, "vocab_size", None))
    if layout.limited_by_positions:
        longest = most_tokens(backbone)
        spec = replace(spec, query=_limit_length(spec.query, longest), document=_limit_length(spec.document, longest))
    return Checkpoint(
        name=files.folder.absolute().name if files.name == str(files.folder) else files.name,
        spec=spec,
        backbone=backbone.train(mode=False),
        head=head.eval(),
        tokenizer=tokenizer,
        code=_code_digest(files, backbone, tokenizer) if trust_remote_code else None,
    )


def _code_digest(files: CheckpointFiles, *loaded: object) -> str | None:
    """Return the digest of the code in a checkpoint and of the code that runs from other repositories."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(files.folder.rglob("*.py"))}
    for each in loaded:
        module = sys.modules[type(each).__module__]
        if module.__name__.startswith("transformers_modules.") and module.__file__ is not None:
            beside = sorted(Path(module.__file__).parent.glob("*.py"))
            sources |= {path.name: path.read_text(encoding="utf-8") for path in beside if path.name != "__init__.py"}
    return json_digest(sources) if sources else None


def _limit_length(side: Side, longest: int | None) -> Side:
    if longest is None or side.length <= longest or side.expansion is not None:
        return side
    return replace(side, length=longest)


def _load_tokenizer(
    files: CheckpointFiles, spec: CheckpointSpec, *, trust_remote_code: bool
) -> PreTrainedTokenizerBase:
    folder = files.path(spec.backbone)
    try:
        settings = files.settings(str(PurePosixPath(spec.backbone, "tokenizer_config.json")))
        options = code_options(files, settings, trust_remote_code=trust_remote_code)
        with silence_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), **options)
    except Exception as error:
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be loaded ({type(error).__name__}: {error}): download tokenizer.json "
            "and tokenizer_config.json again"
        ) from error
    # without its files, a class silently makes a tokenizer with an empty vocabulary
    needed = set(tokenizer.vocab_files_names.values())
    if needed and not any((folder / file).is_file() for file in needed):
        raise CheckpointError(
            f"{folder} lacks the tokenizer's files ({', '.join(sorted(needed))}): download them again"
        )
    return tokenizer


def _check_rows(
    files: CheckpointFiles, spec: CheckpointSpec, tokenizer: PreTrainedTokenizerBase, rows: int | None
) -> None:
    """Raise unless the tokens that a checkpoint inserts into texts have an embedding."""
    for token in (spec.query.prefix, spec.document.prefix, spec.query.expansion and spec.query.expansion.token):
        number = tokenizer.convert_tokens_to_ids(token) if token else 0
        if rows is not None and isinstance(number, int) and number >= rows:
            raise CheckpointError(
                f"{files.path(spec.backbone)}: token {token!r} has the id {number}, but the weights have embeddings "
                f"for only {rows} tokens, so tokenizer and weights belong to different models: download both again"
            )


def _check_no_adapter(files: CheckpointFiles, backbone: str) -> None:
    path = files.path(str(PurePosixPath(backbone, "adapter_config.json")))
    if path.is_file():
        raise CheckpointError(
            f"{path} belongs to an adapter of the transformer, which would be ignored: merge it into the weights "
            "with merge_and_unload() of peft, and save the model without the adapter"
        )


def _check_widths(files: CheckpointFiles, hidden: int, head: torch.nn.Sequential, named: int | None) -> None:
    width = hidden
    for number, dense in enumerate(head, 1):
        weight = dense.get_parameter("linear.weight")
        if weight.shape[1] != width:
            raise CheckpointError(
                f"{files.name}: projection {number} takes {weight.shape[1]} dimensions but gets {width}, so its files "
                "belong to another model: download the checkpoint again"
            )
        width = weight.shape[0]
    if named is not None and named != width:
        raise CheckpointError(
            f"{files.name}: the projection makes vectors of {width} dimensions, but the settings name {named}, so they "
            "belong to different models: download the checkpoint again"
        )
