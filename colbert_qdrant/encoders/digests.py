"""Computes digests of what decides an encoder's vectors: equal for equal models, however they are stored."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABELS: Final = {"_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version"}
"""Entries of a model's config that change no vector."""

_PER_CALL: Final = {"version", "truncation", "padding"}
"""Entries of a tokenizer that are set anew for every call."""

_ROLES: Final = ("bos_token", "cls_token", "eos_token", "mask_token", "sep_token", "truncation_side", "unk_token")
"""The tokens that fill queries up or are left out, and the end that is cut. The padding token is not among them: it
changes no vector, and PyLate saves ``[MASK]`` there."""


def weights_digest(state: Mapping[str, Any]) -> str:
    """Return a digest of tensors and their names, without the pooler, which is random where a checkpoint has none."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if "pooler" in name.split("."):
            continue
        array = np.ascontiguousarray(tensor.float().cpu().numpy())
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return f"sha256:{digest.hexdigest()}"


def settings_digest(config: Any) -> str:
    """Return a digest of a transformers config."""
    return json_digest({key: value for key, value in config.to_diff_dict().items() if key not in _LABELS})


def tokenizer_digest(tokenizer: Any) -> str:
    """Return a digest of all that decides the tokens of a text, and what they are taken for."""
    roles = {role: getattr(tokenizer, role) for role in _ROLES}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json_digest({"type": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab(), "roles": roles})
    settings: dict[str, Any] = json.loads(backend.to_str())
    return json_digest({**{key: value for key, value in settings.items() if key not in _PER_CALL}, "roles": roles})


def json_digest(value: Mapping[str, Any]) -> str:
    """Return a digest of JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
