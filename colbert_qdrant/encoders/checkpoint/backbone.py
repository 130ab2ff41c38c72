"""Loads the transformer of a checkpoint, and checks that every tensor in its files is used."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    BertConfig,
    BertModel,
)
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.utils import logging

from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from transformers import PretrainedConfig, PreTrainedModel

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

BERT_HASH: Final = "bert_hash"
"""The model type of ``NeuML/bert-hash-*`` and of the ColBERT models based on these."""

_BERT_HEADS: Final = ("cls.", "classifier.", "qa_outputs.")
"""Prefixes of the tensors for masked-word, classification and question-answering heads on a BERT."""

_HEADS: Final = (
    *(
        *_BERT_HEADS,
        "lm_head.",
        "head.dense.",
        "decoder.",
        "score.",
        "pre_classifier.",
        "sop_classifier.",
        "predictions.",
    ),
    *("vocab_transform.", "vocab_projector.", "generator_predictions.", "generator_lm_head."),
    *("discriminator_predictions.", "lm_predictions.", "mask_predictions.", "sequence_summary.", "logits_proj."),
)
"""Prefixes of the heads in transformers' models, which do not affect token vectors."""

_logging: Any = logging  # its functions are untyped
_Tensors = dict[str, torch.Tensor]


def load_backbone(
    files: CheckpointFiles, folder: str, tensors: _Tensors, *, other_heads: bool, trust_remote_code: bool
) -> PreTrainedModel:
    """Build the transformer and load the weights in its folder, in float32.

    With ``other_heads``, tensors of heads are ignored. Otherwise the transformer must use every tensor.

    Raises:
        CheckpointError: If the architecture is unknown, or the weights are not exactly those that it needs.
    """
    settings = files.settings(f"{folder}/config.json" if folder else "config.json")
    try:
        if settings.get("model_type") == BERT_HASH and not trust_remote_code:
            return _load_bert_hash(files, settings, tensors, other_heads=other_heads)
        options = code_options(files, settings, trust_remote_code=trust_remote_code)
        return _load_from_transformers(files, folder, tensors, other_heads=other_heads, options=options)
    except CheckpointError as error:
        if not settings.get("auto_map") or trust_remote_code:
            raise
        raise CheckpointError(
            f"{error}. Or the model needs the code that comes with it: if you trust that code, pass "
            "trust_remote_code=True and the commit that you have read as revision=…"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"the transformer of {files.name} cannot be built from its config.json and weights "
            f"({type(error).__name__}: {error}): download the checkpoint again"
        ) from error


def needs_remote_code(settings: Mapping[str, Any]) -> bool:
    """Return whether a ``config.json`` describes a model that runs only with the code it comes with."""
    model_type = settings.get("model_type")
    return bool(settings.get("auto_map")) and model_type != BERT_HASH and model_type not in CONFIG_MAPPING


def code_options(files: CheckpointFiles, settings: Mapping[str, Any], *, trust_remote_code: bool) -> dict[str, Any]:
    """Return the options for transformers' loaders, which fetch only trusted code of other repositories."""
    elsewhere = other_repositories(settings) if trust_remote_code else set()
    if elsewhere:
        warnings.warn(
            f"trust_remote_code=True runs the current code of {', '.join(sorted(elsewhere))}: read that code, or keep "
            "a copy in the checkpoint's folder and name the copy in auto_map",
            stacklevel=2,
        )
    return {
        "trust_remote_code": trust_remote_code,
        "local_files_only": files.local_files_only or not elsewhere,
        "token": files.token if elsewhere else None,
    }


def other_repositories(settings: Mapping[str, Any]) -> set[str]:
    """Return the other repositories that an ``auto_map`` takes classes from."""
    references = (settings.get("auto_map") or {}).values()
    flat = [each for value in references for each in (value if isinstance(value, list) else [value])]
    return {each.partition("--")[0] for each in flat if isinstance(each, str) and "--" in each}


def _load_from_transformers(
    files: CheckpointFiles, folder: str, tensors: _Tensors, *, other_heads: bool, options: dict[str, Any]
) -> PreTrainedModel:
    path = str(files.path(folder))
    try:
        config = AutoConfig.from_pretrained(path, **options)
    except ValueError as error:
        raise CheckpointError(
            f"{path}/config.json names a model that transformers does not know ({error}): if you trust its code, pass "
            "trust_remote_code=True and the commit that you have read as revision=…"
        ) from error
    cls = _model_class(config, path, **options)
    with silence_transformers():
        model, report = cls.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report lists the mismatched tensors
            # no flash attention, because it drops unattended tokens such as the expansion of queries
            attn_implementation="sdpa" if cls._supports_sdpa else "eager",
        )
    _check_shapes(files, folder, [each for each in report["mismatched_keys"] if not is_pooler(each[0])])
    _check_complete(files, folder, [key for key in report["missing_keys"] if not is_pooler(key)])
    leftover = [key for key in report["unexpected_keys"] if not _may_be_unused(key)]
    if other_heads:
        _check_no_projection(files, folder, leftover, tensors, config)
        own = {name for name, _ in model.named_children()}
        leftover = [key for key in leftover if key.removeprefix(f"{model.base_model_prefix}.").split(".")[0] in own]
    _check_used(files, folder, leftover)
    backbone: PreTrainedModel = model
    return backbone


def _model_class(config: PretrainedConfig, path: str, *, trust_remote_code: bool, **options: Any) -> Any:
    reference = getattr(config, "auto_map", {}).get("AutoModel")
    if trust_remote_code and reference:
        return get_class_from_dynamic_module(reference, path, **options)
    if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        return MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]  # for a T5, this is its encoder
    return MODEL_MAPPING[type(config)]


def _load_bert_hash(
    files: CheckpointFiles, settings: dict[str, Any], tensors: _Tensors, *, other_heads: bool
) -> PreTrainedModel:
    """Load a BERT whose word embedding is a narrow table and a projection to the hidden size.

    This follows the description in the model card of ``NeuML/bert-hash-nano``, because the model's own code was not
    available. Standard BERT tensors keep their names. The other tensors are recognized by their shapes: (vocabulary,
    projections), (hidden, projections) and, for an optional bias, (hidden,).
    """
    config = BertConfig(**{key: value for key, value in settings.items() if key not in {"model_type", "auto_map"}})
    config._attn_implementation = "sdpa"  # noqa: SLF001
    model: Any = BertModel(config, add_pooling_layer=False)
    heads = _BERT_HEADS if other_heads else ()
    names = {key: key.removeprefix("bert.") for key in tensors if not _may_be_unused(key) and not key.startswith(heads)}
    standard = set(model.state_dict()) - {"embeddings.word_embeddings.weight"}
    _check_complete(files, "", standard - set(names.values()))
    rest = {key: tensors[key] for key, name in names.items() if name not in standard}
    table = _take(
        files, rest, lambda shape: len(shape) == 2 and shape[0] == config.vocab_size, "(vocabulary, projections)"
    )
    width = table.shape[1]
    projection = _take(files, rest, lambda shape: shape == (config.hidden_size, width), "(hidden, projections)")
    bias = (
        _take(files, rest, lambda shape: shape == (config.hidden_size,), "(hidden,)")
        if any(tensor.ndim == 1 for tensor in rest.values())
        else None
    )
    _check_used(files, "", rest)

    embedding = torch.nn.Embedding(*table.shape)
    embedding.load_state_dict({"weight": table})
    linear = torch.nn.Linear(width, config.hidden_size, bias=bias is not None)
    linear.load_state_dict({"weight": projection} | ({} if bias is None else {"bias": bias}))
    model.embeddings.word_embeddings = torch.nn.Sequential(embedding, linear)
    model.load_state_dict({name: tensors[key] for key, name in names.items() if name in standard}, strict=False)
    backbone: PreTrainedModel = model
    return backbone


def _take(
    files: CheckpointFiles, tensors: _Tensors, fits: Callable[[tuple[int, ...]], bool], wanted: str
) -> torch.Tensor:
    """Remove and return the only tensor of a shape."""
    found = [key for key, tensor in tensors.items() if fits(tuple(tensor.shape))]
    if len(found) != 1:
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        raise CheckpointError(
            f"{files.name} is a bert_hash model, which needs exactly one additional tensor of shape {wanted}, but its "
            f"additional tensors are {shapes}: pass trust_remote_code=True to run the model's own code"
        )
    return tensors.pop(found[0])


def _check_complete(files: CheckpointFiles, folder: str, missing: Collection[str]) -> None:
    if missing:
        raise CheckpointError(
            f"the weights in {files.path(folder)} lack {len(missing)} of the model's tensors, such as "
            f"{min(missing)!r}, which would be random: download the checkpoint again"
        )


def _check_shapes(files: CheckpointFiles, folder: str, mismatched: Collection[tuple[str, Any, Any]]) -> None:
    if mismatched:
        name, found, needed = min(mismatched)
        raise CheckpointError(
            f"the weights in {files.path(folder)} have {name!r} with shape {tuple(found)}, but config.json requires "
            f"{tuple(needed)}, so they belong to different models: download both again"
        )


def _check_used(files: CheckpointFiles, folder: str, leftover: Collection[str]) -> None:
    if leftover:
        raise CheckpointError(
            f"the weights in {files.path(folder)} have {len(leftover)} tensors that the model does not use, such as "
            f"{min(leftover)!r}, so config.json and weights belong to different models: download both again"
        )


def _check_no_projection(
    files: CheckpointFiles, folder: str, leftover: Collection[str], tensors: _Tensors, config: PretrainedConfig
) -> None:
    """Raise if an unused tensor could be the projection from hidden states to token vectors."""
    for name in sorted(leftover):
        shape = tuple(tensors[name].shape)
        could_be = len(shape) == 2 and shape[1] == config.hidden_size and shape[0] != config.vocab_size
        if could_be and not name.startswith(_HEADS):
            raise CheckpointError(
                f"the weights in {files.path(folder)} have {name!r} of shape {shape}, which looks like a projection to "
                "token vectors, but no settings describe it: download the checkpoint's settings again (for Stanford's "
                "ColBERT, artifact.metadata and a config.json with architectures=['HF_ColBERT'])"
            )


def is_pooler(name: str) -> bool:
    """Return whether a tensor belongs to the pooler, which does not affect token vectors."""
    return "pooler" in name.split(".")


def _may_be_unused(name: str) -> bool:
    return is_pooler(name) or name.endswith("position_ids")


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Suppress transformers' reports of missing tensors and unknown model types; this library raises errors instead."""
    verbosity, bar = _logging.get_verbosity(), _logging.is_progress_bar_enabled()
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()
    try:
        yield
    finally:
        _logging.set_verbosity(verbosity)
        if bar:
            _logging.enable_progress_bar()
