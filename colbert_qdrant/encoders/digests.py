"""Computes digests of models and tokenizers, equal for equal vectors in any storage format."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABELS: Final = {"_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version"}
"""Entries of a model's config that do not affect its vectors."""

_PER_CALL: Final = {"version", "truncation", "padding"}
"""Entries of a tokenizer that are set for every call."""

_ROLES: Final = ("bos_token", "cls_token", "eos_token", "mask_token", "sep_token", "truncation_side", "unk_token")
"""The tokens that expand queries or are left out, and the side that is truncated. The padding token is missing, because
it does not affect vectors, and PyLate saves ``[MASK]`` there."""


def weights_digest(state: Mapping[str, Any]) -> str:
    """Return a digest of tensors and their names, without the pooler, which is random if the checkpoint lacks it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if "pooler" in name.split("."):
            continue
        array = np.ascontiguousarray(tensor.float().cpu().numpy())
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return f"sha256:{digest.hexdigest()}"


def settings_digest(config: Any) -> str:
    """Return the digest of a transformers config."""
    return json_digest({key: value for key, value in config.to_diff_dict().items() if key not in _LABELS})


def tokenizer_digest(tokenizer: Any) -> str:
    """Return the digest of the settings that determine the tokens of a text and their roles."""
    roles = {role: getattr(tokenizer, role) for role in _ROLES}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json_digest({"type": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab(), "roles": roles})
    settings: dict[str, Any] = json.loads(backend.to_str())
    return json_digest({**{key: value for key, value in settings.items() if key not in _PER_CALL}, "roles": roles})


def json_digest(value: Any) -> str:
    """Return the digest of a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
