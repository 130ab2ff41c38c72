"""Reads checkpoints of PyLate, which add settings of PyLate to the modules of sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.encoders.checkpoint.modules import (
    MODULES,
    PUNCTUATION,
    SETTINGS,
    backbone_folder,
    dense_spec,
    kind_of,
    modules_of,
    prompt_of,
    transformer_settings,
    unknown_module_error,
)
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout
from colbert_qdrant.encoders.checkpoint.spec import IDENTITY, CheckpointSpec, QueryExpansion, Side
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_NAME: Final = "pylate"
_KEYS: Final = {
    *("query_prefix", "document_prefix", "query_length", "document_length", "do_query_expansion"),
    *("attend_to_expansion_tokens", "skiplist_words"),
}


def _detect(files: CheckpointFiles) -> bool:
    settings = files.settings(SETTINGS)
    is_module = any(module["type"].startswith("pylate.") for module in modules_of(files))
    return is_module or settings.get("model_type") == "ColBERT" or bool(_KEYS & set(settings))


def _read(files: CheckpointFiles) -> CheckpointSpec:
    settings = files.settings(SETTINGS)

    def value(key: str, default: Any) -> Any:
        found = settings.get(key)
        return default if found is None else found

    for module in modules_of(files)[1:]:
        if kind_of(module) not in {"Dense", "Normalize", "Pooling"}:  # PyLate ignores the last two
            raise unknown_module_error(files, module, "in a checkpoint of PyLate")
    dense = tuple(
        dense_spec(files, module["path"], activation=IDENTITY)
        for module in modules_of(files)
        if kind_of(module) == "Dense"
    )
    if not dense:
        raise CheckpointError(
            f"{files.path(MODULES)} lists no Dense module, so the projection to token vectors would be random: "
            "download the checkpoint again, or train the model first"
        )
    default_prompt = prompt_of(settings, settings.get("default_prompt_name"))
    length = value("query_length", 32)
    expansion = (
        QueryExpansion(length=length, attend=bool(settings.get("attend_to_expansion_tokens")))
        if settings.get("do_query_expansion") is not False
        else None
    )
    return CheckpointSpec(
        layout=_NAME,
        backbone=backbone_folder(files),
        dense=dense,
        query=Side(
            length=length,
            prefix=value("query_prefix", "[Q] ") or None,
            prompt=prompt_of(settings, "query") or default_prompt,
            expansion=expansion,
        ),
        document=Side(
            length=value("document_length", 180),
            prefix=value("document_prefix", "[D] ") or None,
            prompt=prompt_of(settings, "document") or default_prompt,
            skiplist=tuple(value("skiplist_words", PUNCTUATION)),
        ),
        strip=True,
        lowercase="text" if transformer_settings(files).get("do_lower_case") else None,
    )


PYLATE: Final = CheckpointLayout(name=_NAME, settings=SETTINGS, detect=_detect, read=_read)
