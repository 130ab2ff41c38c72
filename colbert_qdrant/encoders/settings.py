"""Validates the settings of a ColBERT encoder before its files are read or its model is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from types import NoneType
from typing import TYPE_CHECKING, Any

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import (
    require_bool,
    require_file_path,
    require_instance,
    require_int,
    require_number,
    require_one_of,
)
from colbert_qdrant.encoders.checkpoint.spec import Pooling
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import holds, shown

if TYPE_CHECKING:
    from colbert_qdrant.encoders.checkpoint.loaded import Checkpoint
    from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec


def checked_encoder_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `ColbertEncoder` after checking their types; the checkpoint sets their upper bounds.

    Raises:
        ConfigurationError: If a setting is invalid; the message names it.
    """
    settings = {name: plain(value) for name, value in settings.items()}
    require_instance("device", settings["device"], str, "the name of a device, such as 'cuda'")
    if not holds(lambda: str(settings["dtype"])):
        raise ConfigurationError(f"dtype is {shown(settings['dtype'])}: pass a name, such as 'float16'")
    for name in ("batch_size", "query_length", "document_length"):
        if settings[name] is not None:
            require_int(name, settings[name], minimum=1)
    for name in ("query_prefix", "document_prefix"):
        require_instance(name, settings[name], (str, NoneType), "a string")
    if settings["pool_factor"] is not None:
        require_number("pool_factor", settings["pool_factor"], minimum=1)
    require_instance("prompts", settings["prompts"], (Mapping, NoneType), "a dict with 'query' and 'document'")
    for side, prompt in (settings["prompts"] or {}).items():
        require_instance(f"prompts[{shown(side)}]", prompt, str, "a string")
    require_one_of("long_documents", settings["long_documents"], ("truncate", "split"))
    if settings["cache"] is not None:
        require_file_path("cache", settings["cache"], "the path of a folder")
    require_bool("compile", settings["compile"])
    return settings


def require_checkpoint(checkpoint: object) -> None:
    """Check that the value is a loaded checkpoint.

    Raises:
        ConfigurationError: If the value is anything else, such as the name of a checkpoint.
    """
    if isinstance(checkpoint, type) or not all(hasattr(checkpoint, name) for name in ("spec", "tokenizer")):
        name = repr(str(checkpoint)) if isinstance(checkpoint, str | PathLike) else "name_or_path"
        raise ConfigurationError(
            f"ColbertEncoder(…) takes a loaded checkpoint, got {type(checkpoint).__name__}: call "
            f"ColbertEncoder.from_pretrained({name})"
        )


def check_lengths(checkpoint: Checkpoint, spec: CheckpointSpec) -> None:
    """Check that the model can take texts of the configured lengths.

    Raises:
        ConfigurationError: If a length exceeds the model's maximum.
    """
    longest = checkpoint.longest
    for name, side in (("query", spec.query), ("document", spec.document)):
        length = max(side.length, side.expansion.length if side.expansion else 0)
        if longest is not None and length > longest:
            raise ConfigurationError(
                f"{name}_length={length} exceeds the {longest} tokens that this model takes: pass a shorter length"
            )


def apply_changes(
    spec: CheckpointSpec,
    *,
    query_length: int | None,
    document_length: int | None,
    query_prefix: str | None,
    document_prefix: str | None,
    prompts: Mapping[str, str],
    pool_factor: float | None,
) -> CheckpointSpec:
    """Return the checkpoint's specification with the user's settings applied.

    Raises:
        ConfigurationError: If ``prompts`` has an unknown key.
    """
    if unknown := set(prompts) - {"query", "document"}:
        raise ConfigurationError(f"prompts has the keys {sorted(unknown)}: use only 'query' and 'document'")
    query, document = spec.query, spec.document
    if query_length is not None:
        expansion = query.expansion
        if expansion is not None and expansion.strategy == "fixed":
            expansion = replace(expansion, length=query_length)
        query = replace(query, length=query_length, expansion=expansion)
    if document_length is not None:
        document = replace(document, length=document_length)
    if query_prefix is not None:
        query = replace(query, prefix=query_prefix or None)
    if document_prefix is not None:
        document = replace(document, prefix=document_prefix or None)
    if pool_factor is not None:
        pooling = replace(document.pooling or Pooling(factor=1), factor=pool_factor)
        document = replace(document, pooling=pooling if pool_factor != 1 else None)
    return replace(
        spec,
        query=replace(query, prompt=prompts.get("query", query.prompt)),
        document=replace(document, prompt=prompts.get("document", document.prompt)),
    )
