"""What the tests of the encoder compare with: transformers, one sequence at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from colbert_qdrant import ColbertEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHTS = "model.safetensors"


def load(path: Path | str, **arguments: Any) -> ColbertEncoder:
    defaults: dict[str, Any] = {"device": "cpu", "local_files_only": True}
    return ColbertEncoder.from_pretrained(path, **(defaults | arguments))


def tokenizer_of(path: Path) -> Any:
    return AutoTokenizer.from_pretrained(path, local_files_only=True)


def model_of(path: Path) -> Any:
    return AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()


def hidden_states(model: Any, ids: Sequence[int], *, attended: int | None = None) -> NDArray[np.float32]:
    """Last hidden states of one sequence, whose first tokens alone are attended to."""
    mask = torch.arange(len(ids)) < (len(ids) if attended is None else attended)
    with torch.no_grad():
        output = model(input_ids=torch.tensor([ids]), attention_mask=mask[None].long())
    states: NDArray[np.float32] = output.last_hidden_state[0].numpy()
    return states


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def assert_same(
    actual: Iterable[NDArray[np.float32]], expected: Iterable[NDArray[np.float32]], *, atol: float = 1e-5
) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; those set to ``...`` are removed."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}), encoding="utf-8")


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], Any], *, file: str = WEIGHTS) -> None:
    """Change the tensors of a file in place."""
    tensors = load_file(path / file)
    change(tensors)
    save_file(tensors, path / file, metadata={"format": "pt"})


def without_name(encoder: ColbertEncoder) -> dict[str, Any]:
    fingerprint = encoder.fingerprint()
    assert fingerprint.pop("name")
    return fingerprint
