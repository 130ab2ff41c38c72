"""Tells the layouts of checkpoints apart, and reads each into a `CheckpointSpec`.

Stanford's ColBERT, PyLate and sentence-transformers save the same kind of model in three ways. Values that a file does
not give are those that the library which wrote it falls back to.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.encoders.checkpoint.spec import (
    IDENTITY,
    CheckpointSpec,
    DenseSpec,
    Layout,
    Pooling,
    QueryExpansion,
    Side,
)
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

MODULES: Final = "modules.json"
SETTINGS: Final = "config_sentence_transformers.json"
TRANSFORMER_SETTINGS: Final = "sentence_bert_config.json"
STANFORD_SETTINGS: Final = "artifact.metadata"

_PUNCTUATION: Final = tuple(string.punctuation)
_PYLATE_KEYS: Final = {
    *("query_prefix", "document_prefix", "query_length", "document_length", "do_query_expansion"),
    *("attend_to_expansion_tokens", "skiplist_words"),
}


def detect(files: CheckpointFiles) -> Layout:
    """The layout of a checkpoint.

    Stanford's is looked for first: some of its checkpoints also have a ``modules.json`` that leaves the projection out.

    Raises:
        CheckpointError: There is no ``config.json``.
    """
    settings = files.settings(SETTINGS)
    backbone = _backbone_folder(files)
    config = files.settings(f"{backbone}/config.json" if backbone else "config.json")
    if not config:
        raise CheckpointError(
            f"{files.path(backbone)} has no config.json: give a folder with config.json, weights and tokenizer"
        )
    if "HF_ColBERT" in (config.get("architectures") or []) or files.path(STANFORD_SETTINGS).is_file():
        return "stanford"
    if settings.get("model_type") == "MultiVectorEncoder":
        return "sentence-transformers"
    is_pylates = any(module["type"].startswith("pylate.") for module in _modules(files))
    if is_pylates or settings.get("model_type") == "ColBERT" or _PYLATE_KEYS & set(settings):
        return "pylate"
    return "plain"


def read_spec(files: CheckpointFiles) -> CheckpointSpec:
    """Read what a checkpoint says of itself.

    Raises:
        CheckpointError: A file is missing or broken, or asks for something that is not known here.
    """
    layout = detect(files)
    try:
        return _READERS[layout](files)
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{files.path(_SETTINGS_OF[layout])}, or a file that it goes with, has a value that cannot be "
            f"({type(error).__name__}: {error}): get the checkpoint's settings again"
        ) from error


def _read_stanford(files: CheckpointFiles) -> CheckpointSpec:
    metadata = files.settings(STANFORD_SETTINGS)
    length = metadata.get("query_maxlen") or 32
    attend = bool(metadata.get("attend_to_mask_tokens"))
    return CheckpointSpec(
        layout="stanford",
        backbone=_backbone_folder(files),
        query=Side(
            length=length,
            prefix=metadata.get("query_token_id") or "[unused0]",
            expansion=QueryExpansion(length=length, attend=attend),
        ),
        document=Side(
            length=metadata.get("doc_maxlen") or 220,
            prefix=metadata.get("doc_token_id") or "[unused1]",
            skiplist=_PUNCTUATION if metadata.get("mask_punctuation", True) else (),
        ),
        strip=True,
    )


def _read_pylate(files: CheckpointFiles) -> CheckpointSpec:
    settings = files.settings(SETTINGS)

    def value(key: str, default: Any) -> Any:
        found = settings.get(key)
        return default if found is None else found

    for module in _modules(files)[1:]:
        if _kind(module) not in {"Dense", "Normalize", "Pooling"}:  # of which PyLate leaves out the last two
            raise _unknown(files, module, "in a checkpoint of PyLate")
    dense = tuple(
        _dense(files, module["path"], activation=IDENTITY) for module in _modules(files) if _kind(module) == "Dense"
    )
    if not dense:
        raise CheckpointError(
            f"{files.path(MODULES)} lists no Dense module: the projection to token vectors is missing, and would be "
            "random; get the checkpoint's files again, or train the model first"
        )
    default_prompt = _prompt(settings, settings.get("default_prompt_name"))
    length = value("query_length", 32)
    expansion = (
        QueryExpansion(length=length, attend=bool(settings.get("attend_to_expansion_tokens")))
        if settings.get("do_query_expansion") is not False
        else None
    )
    return CheckpointSpec(
        layout="pylate",
        backbone=_backbone_folder(files),
        dense=dense,
        query=Side(
            length=length,
            prefix=value("query_prefix", "[Q] ") or None,
            prompt=_prompt(settings, "query") or default_prompt,
            expansion=expansion,
        ),
        document=Side(
            length=value("document_length", 180),
            prefix=value("document_prefix", "[D] ") or None,
            prompt=_prompt(settings, "document") or default_prompt,
            skiplist=tuple(value("skiplist_words", _PUNCTUATION)),
        ),
        strip=True,
        lowercase="text" if _transformer_settings(files).get("do_lower_case") else None,
    )


def _read_sentence_transformers(files: CheckpointFiles) -> CheckpointSpec:
    settings, transformer = files.settings(SETTINGS), _transformer_settings(files)
    for key in ("processing_kwargs", "model_kwargs", "model_args", "config_kwargs", "config_args", "processor_kwargs"):
        if transformer.get(key):
            raise CheckpointError(
                f"{files.path(TRANSFORMER_SETTINGS)}: {key}={transformer[key]} is not supported; wrap the model with "
                "SentenceTransformersEncoder instead"
            )
    dense: list[DenseSpec] = []
    mask: Mapping[str, Any] = {}
    normalize = False
    poolings: dict[str, Pooling] = {}
    for module, config in _modules_on_tokens(files):
        kind = _kind(module)
        if poolings or (normalize and kind == "Dense"):
            raise _unknown(files, module, "after what comes before it")
        if (
            kind in {"Dense", "Normalize"}
            and config.get("module_input_name", "sentence_embedding") != "token_embeddings"
        ):
            raise _unknown(files, module, "on sentence embeddings")
        if kind == "Dense":
            dense.append(_dense(files, module["path"], activation="torch.nn.modules.activation.Tanh"))
        elif kind == "MultiVectorMask":
            mask = config
        elif kind == "Normalize":
            normalize = True
        elif kind == "HierarchicalTokenPooling":
            poolings = _poolings(config)
        else:
            raise _unknown(files, module, "here")
    expansion = transformer.get("query_expansion")
    skiplist, tasks = tuple(mask.get("skiplist_words") or ()), mask.get("skiplist_tasks") or ["document"]
    return CheckpointSpec(
        layout="sentence-transformers",
        backbone=_backbone_folder(files),
        dense=tuple(dense),
        query=Side(
            length=_query_length(files, transformer),
            prompt=_prompt(settings, "query"),
            expansion=QueryExpansion(**expansion) if expansion else None,
            skiplist=skiplist if "query" in tasks else (),
            pooling=poolings.get("query"),
        ),
        document=Side(
            length=transformer.get("document_length") or _longest(files, transformer),
            prompt=_prompt(settings, "document"),
            skiplist=skiplist if "document" in tasks else (),
            keep_only=tuple(mask.get("keep_only_token_ids") or ()),
            pooling=poolings.get("document"),
        ),
        normalize=normalize,
        lowercase="tokenizer" if transformer.get("do_lower_case") else None,
    )


def _read_plain(files: CheckpointFiles) -> CheckpointSpec:
    longest = _longest(files, {})
    return CheckpointSpec(
        layout="plain",
        backbone=_backbone_folder(files),
        query=Side(length=min(64, longest), skip_special=True),
        document=Side(length=min(256, longest), skip_special=True, skip_punctuation=True),
    )


_READERS: Final[dict[Layout, Callable[[CheckpointFiles], CheckpointSpec]]] = {
    "stanford": _read_stanford,
    "pylate": _read_pylate,
    "sentence-transformers": _read_sentence_transformers,
    "plain": _read_plain,
}
_SETTINGS_OF: Final[dict[Layout, str]] = {
    "stanford": STANFORD_SETTINGS,
    "pylate": SETTINGS,
    "sentence-transformers": TRANSFORMER_SETTINGS,
    "plain": "config.json",
}


def _modules(files: CheckpointFiles) -> Sequence[dict[str, str]]:
    modules = files.json(MODULES)
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(
        isinstance(each, dict)
        and isinstance(each.get("path"), str)
        and isinstance(each.get("type"), str)
        and isinstance(each.get("idx", 0), int)
        for each in modules
    ):
        raise CheckpointError(f"{files.path(MODULES)} must list modules with path and type: download the file again")
    ordered: list[dict[str, str]] = sorted(modules, key=lambda module: module.get("idx", 0))
    return ordered


def _modules_on_tokens(files: CheckpointFiles) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """What comes after the transformer of a `MultiVectorEncoder`, with its settings."""
    modules = _modules(files)
    if not modules or _kind(modules[0]) != "Transformer":
        raise CheckpointError(
            f"{files.path(MODULES)} must begin with a Transformer module: without it, projections and normalisation "
            "would be left out; get the file again"
        )
    for module in modules[1:]:
        config = files.settings(f"{module['path']}/config.json")
        if not config and _kind(module) in {"Dense", "HierarchicalTokenPooling", "MultiVectorMask"}:
            raise CheckpointError(f"{files.path(module['path'])}/config.json is missing or empty: get the file again")
        yield module, config


def _kind(module: Mapping[str, str]) -> str:
    """``Dense`` of ``pylate.models.Dense.Dense``, whichever library and version wrote it."""
    return module["type"].rpartition(".")[2]


def _unknown(files: CheckpointFiles, module: Mapping[str, str], where: str) -> CheckpointError:
    return CheckpointError(
        f"{files.path(MODULES)}: module {module['type']!r} is not supported {where}; wrap the model with "
        "SentenceTransformersEncoder instead"
    )


def _backbone_folder(files: CheckpointFiles) -> str:
    modules = _modules(files)
    return modules[0]["path"] if modules and _kind(modules[0]) == "Transformer" else ""


def _transformer_settings(files: CheckpointFiles) -> dict[str, Any]:
    folder = _backbone_folder(files)
    return files.settings(f"{folder}/{TRANSFORMER_SETTINGS}" if folder else TRANSFORMER_SETTINGS)


def _dense(files: CheckpointFiles, folder: str, *, activation: str) -> DenseSpec:
    config = files.settings(f"{folder}/config.json")
    try:
        sizes = [config[key] for key in ("in_features", "out_features")]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise CheckpointError(
                f"{files.path(folder)}/config.json: in_features and out_features are numbers of dimensions, got "
                f"{sizes}: download it again"
            )
        return DenseSpec(
            folder=folder,
            in_features=config["in_features"],
            out_features=config["out_features"],
            bias=config.get("bias", True),
            activation=str(config.get("activation_function") or activation),
            residual=config.get("use_residual", False),
        )
    except KeyError as error:
        raise CheckpointError(
            f"{files.path(folder)}/config.json lacks {error}: the Dense module cannot be built; download it again"
        ) from error


def _poolings(config: Mapping[str, Any]) -> dict[str, Pooling]:
    pooling = Pooling(
        factor=config.get("pool_factor", 1.0),
        protected=config.get("num_protected_tokens", 1),
        normalize=config.get("normalize_embeddings", False),
    )
    return dict.fromkeys(config.get("tasks") or ["document"], pooling)


def _prompt(settings: Mapping[str, Any], side: str | None) -> str:
    return (settings.get("prompts") or {}).get(side) or ""


def _query_length(files: CheckpointFiles, transformer: Mapping[str, Any]) -> int:
    expansion = transformer.get("query_expansion") or {}
    if expansion.get("strategy") == "fixed":
        return int(expansion["length"])
    return int(transformer.get("query_length") or _longest(files, transformer))


def _longest(files: CheckpointFiles, transformer: Mapping[str, Any]) -> int:
    """Most tokens that the tokenizer and the model take, where no file says how long a text may be."""
    folder = _backbone_folder(files)
    prefix = f"{folder}/" if folder else ""
    limits = [
        transformer.get("max_seq_length"),
        files.settings(f"{prefix}tokenizer_config.json").get("model_max_length"),
        files.settings(f"{prefix}config.json").get("max_position_embeddings"),
    ]
    return int(min(limit for limit in [*limits, 8192] if limit))
