"""Digests of what decides the vectors of an encoder: equal for equal models, wherever and however they are stored."""

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
"""Which tokens fill queries up, which are left out, and which end is cut. Not the padding token: it changes no vector,
and PyLate saves ``[MASK]`` there."""


def weights_digest(state: Mapping[str, Any]) -> str:
    """A digest of tensors and their names, without the pooler: that is random where a checkpoint has none."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if "pooler" in name.split("."):
            continue
        array = np.ascontiguousarray(tensor.float().cpu().numpy())
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return f"sha256:{digest.hexdigest()}"


def settings_digest(config: Any) -> str:
    """A digest of a transformers config."""
    return json_digest({key: value for key, value in config.to_diff_dict().items() if key not in _LABELS})


def tokenizer_digest(tokenizer: Any) -> str:
    """A digest of all that decides the tokens of a text, and what they are taken for."""
    roles = {role: getattr(tokenizer, role) for role in _ROLES}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json_digest({"type": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab(), "roles": roles})
    settings: dict[str, Any] = json.loads(backend.to_str())
    return json_digest({**{key: value for key, value in settings.items() if key not in _PER_CALL}, "roles": roles})


def json_digest(value: Mapping[str, Any]) -> str:
    """A digest of JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
