"""Computes token vectors from token ids, in batches of texts of similar length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from colbert_qdrant._support.devices import require_device
from colbert_qdrant._support.workers import Workers
from colbert_qdrant.errors import CheckpointError, ConfigurationError
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.encoders.checkpoint.loaded import Checkpoint
    from colbert_qdrant.encoders.tokenizing import TokenizedTexts

BATCH_TOKENS: Final = {"cpu": 2_048, "cuda": 65_536}
"""Tokens that go through the model together: few enough for the caches of a CPU, or enough to fill a GPU."""

_MAX_WORKERS: Final = 8
"""Batches that run at once on a CPU; more would only compete for its caches."""

_DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TokenModel:
    """The neural part of an encoder, on its device.

    Up to ``batch_tokens`` tokens, including padding, go through the model together. The default depends on the device.

    Raises:
        ConfigurationError: If the dtype is unknown, or torch does not have the device.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str, dtype: str, batch_tokens: int | None, compile: bool
    ) -> None:
        if dtype not in _DTYPES:
            raise ConfigurationError(f"dtype={shown(dtype)}: use one of {', '.join(map(repr, _DTYPES))}")
        self.dim = checkpoint.dim
        self.device = _device(device)
        self._normalize = checkpoint.spec.normalize
        # not the tokenizer's padding token: PyLate saves [MASK] there, which RoBERTa would count as a position
        self._padding = getattr(checkpoint.backbone.config, "pad_token_id", None) or 0
        self._rows: int | None = getattr(checkpoint.backbone.config, "vocab_size", None)
        self._head = checkpoint.head.to(self.device, _DTYPES[dtype])
        backbone = checkpoint.backbone.to(self.device, _DTYPES[dtype])  # type: ignore[arg-type]
        self._backbone: Any = torch.compile(backbone, dynamic=True) if compile else backbone
        self._shares_cores = self.device.type == "cpu" and not compile and torch.get_num_threads() > 1
        self._workers = Workers(_MAX_WORKERS)
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(self.device.type, BATCH_TOKENS["cpu"])

    def __call__(self, tokenized: TokenizedTexts) -> NDArray[np.float32]:
        """Compute the token vectors of texts, in order: float32, shape ``(tokens kept, dim)``.

        Raises:
            CheckpointError: If the model has no embedding for a token.
        """
        if self._rows is not None and tokenized.ids.max(initial=0) >= self._rows:
            raise CheckpointError(
                f"a text has the token id {tokenized.ids.max()}, but the weights have embeddings for only {self._rows} "
                "tokens, so tokenizer and weights belong to different models: download both again"
            )
        values = np.empty((tokenized.kept.sum(), self.dim), np.float32)
        batches = list(pack(tokenized.lengths, self._batch_tokens))
        if self._shares_cores and len(batches) > 1:
            self._run_in_threads(tokenized, batches, values)
        else:
            self._run_in_turn(tokenized, batches, values)
        return values

    def _run_in_turn(
        self, tokenized: TokenizedTexts, batches: Sequence[NDArray[np.int64]], values: NDArray[np.float32]
    ) -> None:
        """Fetch the rows of a batch after the next batch has started, so that a GPU never waits."""
        pending: tuple[NDArray[np.int64], torch.Tensor] | None = None
        for windows in batches:
            launched = self._launch(tokenized, windows)
            if pending is not None:
                values[pending[0]] = pending[1].cpu().numpy()
            pending = launched
        if pending is not None:
            values[pending[0]] = pending[1].cpu().numpy()

    def _run_in_threads(
        self, tokenized: TokenizedTexts, batches: Sequence[NDArray[np.int64]], values: NDArray[np.float32]
    ) -> None:
        """Run several batches at once, each on few cores, because a small model cannot keep all cores busy with one."""

        def run(windows: NDArray[np.int64]) -> None:
            result_rows, vectors = self._launch(tokenized, windows)
            values[result_rows] = vectors.numpy()

        self._workers.run(run, batches)

    @torch.inference_mode()
    def _launch(self, tokenized: TokenizedTexts, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], torch.Tensor]:
        """Start a batch; return the rows of the result that it fills, and their vectors."""
        lengths = tokenized.lengths[windows]
        column = np.arange(lengths.max())
        real = column < lengths[:, None]
        flat = np.minimum(tokenized.starts[windows][:, None] + column, len(tokenized.ids) - 1)
        ids = np.where(real, tokenized.ids[flat], self._padding)
        attention = (column < tokenized.attended[windows][:, None]).astype(np.int64)
        kept = real & tokenized.kept[flat]
        hidden: torch.Tensor = self._backbone(
            input_ids=self._send(ids), attention_mask=self._send(attention)
        ).last_hidden_state
        rows = hidden.flatten(0, 1).index_select(0, self._send(np.flatnonzero(kept)))
        rows = self._head(rows).float()
        if self._normalize:
            rows = torch.nn.functional.normalize(rows, dim=-1, out=rows)
        return tokenized.result_rows[flat[kept]], rows

    def _send(self, array: NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def pack(lengths: NDArray[np.int64], max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Group rows of similar length into batches of at most ``max_tokens``, including padding.

    A row longer than that forms its own batch.

    Yields:
        Row numbers, starting with the longest rows, so that a lack of memory shows at once.

    Example:
        >>> [batch.tolist() for batch in pack(np.array([2, 9, 3, 8]), 10)]
        [[1], [3], [2, 0]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, int(max_tokens // lengths[order[start]]))
        yield order[start:stop]
        start = stop


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(require_device(name, remedy="use 'cpu' or 'auto'"))
