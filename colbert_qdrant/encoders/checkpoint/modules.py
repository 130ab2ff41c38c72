"""Reads the files that layouts have in common: the list of modules, and their settings."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.encoders.checkpoint.spec import DenseSpec
from colbert_qdrant.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

MODULES: Final = "modules.json"
SETTINGS: Final = "config_sentence_transformers.json"
TRANSFORMER_SETTINGS: Final = "sentence_bert_config.json"

PUNCTUATION: Final = tuple(string.punctuation)


def modules_of(files: CheckpointFiles) -> Sequence[dict[str, str]]:
    """Return the modules of a checkpoint in order, or an empty list if the checkpoint lists none.

    Raises:
        CheckpointError: If the list is invalid.
    """
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
        raise CheckpointError(
            f"{files.path(MODULES)} does not list modules with path and type: download the file again"
        )
    ordered: list[dict[str, str]] = sorted(modules, key=lambda module: module.get("idx", 0))
    return ordered


def kind_of(module: Mapping[str, str]) -> str:
    """Return the kind of a module from any library, such as ``Dense`` for ``pylate.models.Dense.Dense``."""
    return module["type"].rpartition(".")[2]


def unknown_module_error(files: CheckpointFiles, module: Mapping[str, str], where: str) -> CheckpointError:
    """Return the error for an unsupported module."""
    return CheckpointError(
        f"{files.path(MODULES)}: module {module['type']!r} is not supported {where}: wrap the loaded model with "
        "SentenceTransformersEncoder instead"
    )


def backbone_folder(files: CheckpointFiles) -> str:
    """Return the folder of the transformer inside a checkpoint."""
    modules = modules_of(files)
    return modules[0]["path"] if modules and kind_of(modules[0]) == "Transformer" else ""


def backbone_settings(files: CheckpointFiles) -> dict[str, Any]:
    """Return the transformer's ``config.json``, or an empty dict if the file is missing."""
    return files.settings(_in_backbone(files, "config.json"))


def transformer_settings(files: CheckpointFiles) -> dict[str, Any]:
    """Return sentence-transformers' settings of the transformer, or an empty dict if the file is missing."""
    return files.settings(_in_backbone(files, TRANSFORMER_SETTINGS))


def dense_spec(files: CheckpointFiles, folder: str, *, activation: str) -> DenseSpec:
    """Read the specification of the projection in a folder; ``activation`` is the default.

    Raises:
        CheckpointError: If the settings lack a size, or a size is not a positive integer.
    """
    config = files.settings(f"{folder}/config.json")
    try:
        sizes = [config[key] for key in ("in_features", "out_features")]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise CheckpointError(
                f"{files.path(folder)}/config.json: in_features and out_features must be positive integers, got "
                f"{sizes}: download the file again"
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
            f"{files.path(folder)}/config.json lacks {error}, which the Dense module needs: download the file again"
        ) from error


def prompt_of(settings: Mapping[str, Any], side: str | None) -> str:
    """Return the prompt for a side in the settings, or an empty string."""
    return (settings.get("prompts") or {}).get(side) or ""


def longest_text(files: CheckpointFiles, transformer: Mapping[str, Any]) -> int:
    """Return the maximum tokens of tokenizer and model, for a checkpoint without a text length."""
    limits = [
        transformer.get("max_seq_length"),
        files.settings(_in_backbone(files, "tokenizer_config.json")).get("model_max_length"),
        backbone_settings(files).get("max_position_embeddings"),
    ]
    return int(min(limit for limit in [*limits, 8192] if limit))


def _in_backbone(files: CheckpointFiles, file: str) -> str:
    folder = backbone_folder(files)
    return f"{folder}/{file}" if folder else file
