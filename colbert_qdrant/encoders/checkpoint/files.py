"""Reads the files of a checkpoint, from a folder on disk or a snapshot of a model on the Hugging Face hub."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any, Final

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file

from colbert_qdrant.config.checks import require_bool, require_instance
from colbert_qdrant.errors import CheckpointError, ConfigurationError

_SAFETENSORS: Final = "model.safetensors"
_PICKLED: Final = "pytorch_model.bin"
_SETTINGS: Final = ("*.json", "*.txt", "*.model", "*.metadata", "*colbert*.pt", "*linear*.pt", "*proj*.pt")
"""The last three are projections in files of their own, which are small, and are refused rather than left out."""

_IGNORED: Final = ("onnx/*", "openvino/*", "checkpoint-*/*", "runs/*", "*.onnx")
_COMMIT: Final = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Reads the files of one checkpoint, whose ``name`` is as the user gave it.

    The other two say how the code of another repository is fetched, where the checkpoint names one.
    """

    name: str
    folder: Path
    token: str | bool | None = field(default=None, repr=False)
    local_files_only: bool = True

    def path(self, file: str) -> Path:
        """Return the path of a file; raise `CheckpointError` if the name leads out of the checkpoint's folder."""
        parts = PurePosixPath(file)
        if parts.is_absolute() or ".." in parts.parts or set(file) & {"\\", ":"}:
            raise CheckpointError(f"{self.name}: the file name {file!r} leads out of the checkpoint: do not trust it")
        return self.folder / parts

    def source(self, revision: str | None) -> dict[str, str | None]:
        """Return the name and revision that the same files are found by again: of a model on the hub, its commit."""
        if self.name == str(self.folder):
            return {"name_or_path": str(self.folder.absolute()), "revision": revision}
        commit = self.folder.name if _COMMIT.fullmatch(self.folder.name) else revision
        return {"name_or_path": self.name, "revision": commit}

    def json(self, file: str) -> Any:
        """Return the content of a JSON file, ``None`` if there is none; raise `CheckpointError` if it is not JSON."""
        path = self.path(file)
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not valid JSON ({error}): download the file again") from error

    def settings(self, file: str) -> dict[str, Any]:
        """Return the object in a JSON file, empty if there is no file; raise `CheckpointError` for other content."""
        content = self.json(file)
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise CheckpointError(f"{self.path(file)} must hold a JSON object: download the file again")
        return content

    def tensors(self, subfolder: str = "") -> dict[str, torch.Tensor]:
        """Return the weights in a folder, by name, as they are stored.

        Safetensors are preferred. An old ``pytorch_model.bin`` is read with ``weights_only=True``: nothing else in
        it is ever unpickled.

        Raises:
            CheckpointError: There are no weights, a file cannot be read, or a tensor is quantised.
        """
        prefix = f"{subfolder}/" if subfolder else ""
        for file in (_SAFETENSORS, _PICKLED):
            if self.path(prefix + file).is_file():
                return _read(self.path(prefix + file))
            shards = self._shards(f"{prefix}{file}.index.json")
            if shards:
                return {name: tensor for shard in shards for name, tensor in _read(self.path(prefix + shard)).items()}
        raise CheckpointError(
            f"{self.path(subfolder)} has no weights ({_SAFETENSORS} or {_PICKLED}): get the checkpoint's files again"
        )

    def _shards(self, file: str) -> list[str]:
        """Return the files that an index names for weights in several files; none if there is no such index."""
        index = self.settings(file)
        shards = index.get("weight_map") if index else {}
        if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
            raise CheckpointError(f"{self.path(file)} must give a file for every tensor: download it again")
        return sorted(set(shards.values()))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # no folder can have such a name
        return False


def open_checkpoint(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
) -> CheckpointFiles:
    """Find a checkpoint's folder, or download the model from the hub, with Python files if ``trust_remote_code``.

    Parameters are those of `ColbertEncoder.from_pretrained`.

    Raises:
        CheckpointError: There is no such folder, and no such model within reach.
    """
    require_instance("name_or_path", name_or_path, (str, PathLike), "a folder, or a name on the Hugging Face hub")
    require_instance("revision", revision, (str, NoneType), "a branch, a tag or a commit")
    if not isinstance(token, str | bool | None):  # it is not shown
        raise ConfigurationError("token must be a string, True, False or None")
    require_bool("local_files_only", local_files_only)
    require_bool("trust_remote_code", trust_remote_code)
    name = str(name_or_path)
    if not name:
        raise CheckpointError("the checkpoint's name is empty: give a folder, or a name on the Hugging Face hub")
    folder = Path(name)
    if _is_folder(folder):
        return CheckpointFiles(name=str(folder), folder=folder, token=token, local_files_only=local_files_only)
    if name.startswith("~"):
        raise CheckpointError(f"{name!r} begins with ~, which only shells read: expand it with Path(…).expanduser()")
    if "://" in name:
        raise CheckpointError("the checkpoint is named by a URL: give its name on the hub alone, as 'owner/name'")
    if trust_remote_code and not (revision and _COMMIT.fullmatch(revision)):
        warnings.warn(
            f"trust_remote_code=True runs the code of {name!r} as it is today: pass the commit that you have read as "
            "revision=…",
            stacklevel=3,
        )
    return CheckpointFiles(
        name=name,
        folder=_download(
            name, revision=revision, token=token, local_files_only=local_files_only, code=trust_remote_code
        ),
        token=token,
        local_files_only=local_files_only,
    )


def _download(name: str, *, revision: str | None, token: str | bool | None, local_files_only: bool, code: bool) -> Path:
    def fetch(*patterns: str) -> Path:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                token=token,
                local_files_only=local_files_only,
                allow_patterns=list(patterns),
                ignore_patterns=list(_IGNORED),
            )
        )

    try:
        folder = fetch(*_SETTINGS, "*.safetensors", *(["*.py"] if code else []))
        if not all(any((folder / holder).glob("*.safetensors")) for holder in _folders_of_weights(folder)):
            fetch("*.bin")
    except Exception as error:
        raise CheckpointError(
            f"{name!r} is no folder, and cannot be had from the Hugging Face hub ({type(error).__name__}: {error}); "
            "give a folder with config.json, weights and tokenizer, or check name, revision, token and network"
        ) from error
    return folder


def _folders_of_weights(folder: Path) -> set[str]:
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return {module["path"] for module in modules if module["type"].endswith(("Transformer", "Dense"))} or {""}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {""}  # whoever reads the file next says what is wrong with it


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {error}): it is damaged or incomplete; download it again"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise CheckpointError(f"{path} does not hold tensors by name: get the checkpoint's files again")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or not _is_readable(tensor):
            raise CheckpointError(
                f"{path}: tensor {name!r} is {getattr(tensor, 'dtype', type(tensor).__name__)}, not float32, float16 "
                "or bfloat16: quantised checkpoints are not supported; take the original one"
            )
    return tensors


def _is_readable(tensor: torch.Tensor) -> bool:
    # whole numbers are positions that old versions of transformers saved beside the weights
    return tensor.dtype in {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64}
