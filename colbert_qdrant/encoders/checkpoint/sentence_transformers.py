"""Reads checkpoints of sentence-transformers' ``MultiVectorEncoder`` (6.0 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.encoders.checkpoint.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_SETTINGS,
    backbone_folder,
    dense_spec,
    kind_of,
    longest_text,
    modules_of,
    prompt_of,
    transformer_settings,
    unknown_module_error,
)
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, DenseSpec, Pooling, QueryExpansion, Side
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_NAME: Final = "sentence-transformers"


def _detect(files: CheckpointFiles) -> bool:
    return bool(files.settings(SETTINGS).get("model_type") == "MultiVectorEncoder")


def _read(files: CheckpointFiles) -> CheckpointSpec:
    settings, transformer = files.settings(SETTINGS), transformer_settings(files)
    for key in ("processing_kwargs", "model_kwargs", "model_args", "config_kwargs", "config_args", "processor_kwargs"):
        if transformer.get(key):
            raise CheckpointError(
                f"{files.path(TRANSFORMER_SETTINGS)}: {key}={transformer[key]} is not supported: wrap the loaded model "
                "with SentenceTransformersEncoder instead"
            )
    dense: list[DenseSpec] = []
    mask: Mapping[str, Any] = {}
    normalize = False
    poolings: dict[str, Pooling] = {}
    for module, config in _modules_on_tokens(files):
        kind = kind_of(module)
        if poolings or (normalize and kind == "Dense"):
            raise unknown_module_error(files, module, "after the modules before it")
        if (
            kind in {"Dense", "Normalize"}
            and config.get("module_input_name", "sentence_embedding") != "token_embeddings"
        ):
            raise unknown_module_error(files, module, "on sentence embeddings")
        if kind == "Dense":
            dense.append(dense_spec(files, module["path"], activation="torch.nn.modules.activation.Tanh"))
        elif kind == "MultiVectorMask":
            mask = config
        elif kind == "Normalize":
            normalize = True
        elif kind == "HierarchicalTokenPooling":
            poolings = _poolings(config)
        else:
            raise unknown_module_error(files, module, "in a MultiVectorEncoder")
    expansion = transformer.get("query_expansion")
    skiplist, tasks = tuple(mask.get("skiplist_words") or ()), mask.get("skiplist_tasks") or ["document"]
    return CheckpointSpec(
        layout=_NAME,
        backbone=backbone_folder(files),
        dense=tuple(dense),
        query=Side(
            length=_query_length(files, transformer),
            prompt=prompt_of(settings, "query"),
            expansion=QueryExpansion(**expansion) if expansion else None,
            skiplist=skiplist if "query" in tasks else (),
            pooling=poolings.get("query"),
        ),
        document=Side(
            length=transformer.get("document_length") or longest_text(files, transformer),
            prompt=prompt_of(settings, "document"),
            skiplist=skiplist if "document" in tasks else (),
            keep_only=tuple(mask.get("keep_only_token_ids") or ()),
            pooling=poolings.get("document"),
        ),
        normalize=normalize,
        lowercase="tokenizer" if transformer.get("do_lower_case") else None,
    )


def _modules_on_tokens(files: CheckpointFiles) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield the modules after the transformer of a `MultiVectorEncoder`, with their settings."""
    modules = modules_of(files)
    if not modules or kind_of(modules[0]) != "Transformer":
        raise CheckpointError(
            f"{files.path(MODULES)} does not begin with a Transformer module, so projections and normalization would "
            "be ignored: download the file again"
        )
    for module in modules[1:]:
        config = files.settings(f"{module['path']}/config.json")
        if not config and kind_of(module) in {"Dense", "HierarchicalTokenPooling", "MultiVectorMask"}:
            raise CheckpointError(
                f"{files.path(module['path'])}/config.json is missing or empty: download the file again"
            )
        yield module, config


def _poolings(config: Mapping[str, Any]) -> dict[str, Pooling]:
    pooling = Pooling(
        factor=config.get("pool_factor", 1.0),
        protected=config.get("num_protected_tokens", 1),
        normalize=config.get("normalize_embeddings", False),
    )
    return dict.fromkeys(config.get("tasks") or ["document"], pooling)


def _query_length(files: CheckpointFiles, transformer: Mapping[str, Any]) -> int:
    expansion = transformer.get("query_expansion") or {}
    if expansion.get("strategy") == "fixed":
        return int(expansion["length"])
    return int(transformer.get("query_length") or longest_text(files, transformer))


SENTENCE_TRANSFORMERS: Final = CheckpointLayout(
    name=_NAME, settings=TRANSFORMER_SETTINGS, detect=_detect, read=_read, limited_by_positions=True
)
