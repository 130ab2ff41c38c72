"""Reads the files of a checkpoint, from a folder or a snapshot of a model on the Hugging Face Hub."""

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
"""The last three patterns match small files with a separate projection, which are refused instead of ignored."""

_IGNORED: Final = ("onnx/*", "openvino/*", "checkpoint-*/*", "runs/*", "*.onnx")
_COMMIT: Final = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Reads the files of one checkpoint.

    Args:
        name: The name or path that the user passed.
        folder: The folder of the files.
        token: The access token for code in other repositories, if the checkpoint names any.
        local_files_only: Whether such code is read from local files only.
    """

    name: str
    folder: Path
    token: str | bool | None = field(default=None, repr=False)
    local_files_only: bool = True

    def path(self, file: str) -> Path:
        """Return the path of a file.

        Raises:
            CheckpointError: If the path is outside of the checkpoint's folder.
        """
        parts = PurePosixPath(file)
        if parts.is_absolute() or ".." in parts.parts or set(file) & {"\\", ":"}:
            raise CheckpointError(
                f"{self.name} names the file {file!r}, which leads out of the checkpoint: do not use this checkpoint"
            )
        return self.folder / parts

    def source(self, revision: str | None) -> dict[str, str | None]:
        """Return the name and revision that load the same files again; for a model on the Hub, its commit."""
        if self.name == str(self.folder):
            return {"name_or_path": str(self.folder.absolute()), "revision": revision}
        commit = self.folder.name if _COMMIT.fullmatch(self.folder.name) else revision
        return {"name_or_path": self.name, "revision": commit}

    def json(self, file: str) -> Any:
        """Return the content of a JSON file, or ``None`` if the file is missing.

        Raises:
            CheckpointError: If the file is not valid JSON.
        """
        path = self.path(file)
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not valid JSON ({error}): download the file again") from error

    def settings(self, file: str) -> dict[str, Any]:
        """Return the object in a JSON file, or an empty dict if the file is missing.

        Raises:
            CheckpointError: If the file does not contain a JSON object.
        """
        content = self.json(file)
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise CheckpointError(f"{self.path(file)} does not contain a JSON object: download the file again")
        return content

    def tensors(self, subfolder: str = "") -> dict[str, torch.Tensor]:
        """Return the weights in a folder, by name, in their stored dtype.

        Safetensors are preferred. An old ``pytorch_model.bin`` is read with ``weights_only=True``, so nothing else in
        it is ever unpickled.

        Raises:
            CheckpointError: If there are no weights, a file cannot be read, or a tensor is quantized.
        """
        prefix = f"{subfolder}/" if subfolder else ""
        for file in (_SAFETENSORS, _PICKLED):
            if self.path(prefix + file).is_file():
                return _read(self.path(prefix + file))
            shards = self._shards(f"{prefix}{file}.index.json")
            if shards:
                return {name: tensor for shard in shards for name, tensor in _read(self.path(prefix + shard)).items()}
        raise CheckpointError(
            f"{self.path(subfolder)} has no weights ({_SAFETENSORS} or {_PICKLED}): download the checkpoint again"
        )

    def _shards(self, file: str) -> list[str]:
        """Return the shards that an index lists, or an empty list if the index is missing."""
        index = self.settings(file)
        shards = index.get("weight_map") if index else {}
        if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
            raise CheckpointError(f"{self.path(file)} does not list a file for every tensor: download it again")
        return sorted(set(shards.values()))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # the name is not a valid path
        return False


def open_checkpoint(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
) -> CheckpointFiles:
    """Find a checkpoint's folder, or download the model from the Hub, with Python files if ``trust_remote_code``.

    The parameters are those of `ColbertEncoder.from_pretrained`.

    Raises:
        CheckpointError: If neither the folder nor the model exists, or the model cannot be downloaded.
    """
    require_instance("name_or_path", name_or_path, (str, PathLike), "a folder, or a name on the Hugging Face Hub")
    require_instance("revision", revision, (str, NoneType), "a branch, a tag or a commit")
    if not isinstance(token, str | bool | None):  # the message does not show it
        raise ConfigurationError("token has an invalid type: pass a string, True, False or None")
    require_bool("local_files_only", local_files_only)
    require_bool("trust_remote_code", trust_remote_code)
    name = str(name_or_path)
    if not name:
        raise CheckpointError("the checkpoint's name is empty: pass a folder, or a name on the Hugging Face Hub")
    folder = Path(name)
    if _is_folder(folder):
        return CheckpointFiles(name=str(folder), folder=folder, token=token, local_files_only=local_files_only)
    if name.startswith("~"):
        raise CheckpointError(f"{name!r} begins with ~, which only shells expand: use Path(…).expanduser()")
    if "://" in name:
        raise CheckpointError("the checkpoint's name is a URL: pass only its name on the Hub, such as 'owner/name'")
    if trust_remote_code and not (revision and _COMMIT.fullmatch(revision)):
        warnings.warn(
            f"trust_remote_code=True runs the current code of {name!r}: read that code, and pass its commit as "
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
            f"{name!r} is not a folder, and cannot be downloaded from the Hugging Face Hub ({type(error).__name__}: "
            f"{error}): pass a folder with config.json, weights and tokenizer, or check name, revision, token and "
            "network"
        ) from error
    return folder


def _folders_of_weights(folder: Path) -> set[str]:
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return {module["path"] for module in modules if module["type"].endswith(("Transformer", "Dense"))} or {""}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {""}  # read_spec reports the error


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {error}), because it is damaged or incomplete: download "
            "it again"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise CheckpointError(f"{path} does not contain named tensors: download the checkpoint again")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or not _is_readable(tensor):
            raise CheckpointError(
                f"{path}: tensor {name!r} is {getattr(tensor, 'dtype', type(tensor).__name__)}, not float32, float16 "
                "or bfloat16, and quantized checkpoints are not supported: use the original checkpoint"
            )
    return tensors


def _is_readable(tensor: torch.Tensor) -> bool:
    # integers are positions that old versions of transformers saved with the weights
    return tensor.dtype in {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64}
