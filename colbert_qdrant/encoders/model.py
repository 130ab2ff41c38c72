"""Token ids → token vectors: batches by number of tokens, through the transformer and its projections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from colbert_qdrant.encoders.checkpoint.load import Checkpoint
    from colbert_qdrant.encoders.tokenizing import TokenizedTexts

BATCH_TOKENS: Final = {"cpu": 2_048, "cuda": 65_536}
"""Tokens that go through the model together: on a CPU few enough for the caches, on a GPU enough to fill it."""

_DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TokenModel:
    """The neural part of an encoder, on its device.

    Args:
        checkpoint: Transformer and projections, in float32.
        device: A torch device; ``"auto"`` takes a GPU if there is one.
        dtype: What the model computes in.
        batch_tokens: Tokens, padding included, that go through the model together; by default what suits the device.
        compile: Compile the model with ``torch.compile``.

    Raises:
        ConfigurationError: The dtype is unknown, or there is no such device.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str, dtype: str, batch_tokens: int | None, compile: bool
    ) -> None:
        if dtype not in _DTYPES:
            raise ConfigurationError(f"dtype={dtype!r}: use one of {', '.join(map(repr, _DTYPES))}")
        self.dim = checkpoint.dim
        self.device = _device(device)
        self._normalize = checkpoint.spec.normalize
        self._padding = checkpoint.tokenizer.pad_token_id or 0
        self._head = checkpoint.head.to(self.device, _DTYPES[dtype])
        backbone = checkpoint.backbone.to(self.device, _DTYPES[dtype])  # type: ignore[arg-type]
        self._backbone: Any = torch.compile(backbone, dynamic=True) if compile else backbone
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(self.device.type, BATCH_TOKENS["cuda"])

    def __call__(self, tokenized: TokenizedTexts) -> NDArray[np.float32]:
        """Encode.

        Returns:
            float32, shape ``(tokens kept, dim)``, in the order of the texts.
        """
        starts = np.cumsum(tokenized.lengths) - tokenized.lengths
        place = np.cumsum(tokenized.kept) - 1
        values = np.empty((place[-1] + 1, self.dim), np.float32)
        pending: tuple[NDArray[np.int64], torch.Tensor] | None = None
        with torch.inference_mode():
            for windows in pack(tokenized.lengths, self._batch_tokens):
                launched = self._launch(tokenized, starts, windows)
                if pending is not None:  # a GPU is already busy with the next batch while the last one is fetched
                    values[place[pending[0]]] = pending[1].cpu().numpy()
                pending = launched
            if pending is not None:
                values[place[pending[0]]] = pending[1].cpu().numpy()
        return values

    def _launch(
        self, tokenized: TokenizedTexts, starts: NDArray[np.int64], windows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], torch.Tensor]:
        """Start a batch; returns which of the flat positions its rows belong to, and the rows."""
        lengths = tokenized.lengths[windows]
        column = np.arange(lengths.max())
        real = column < lengths[:, None]
        flat = np.minimum(starts[windows][:, None] + column, len(tokenized.ids) - 1)
        ids = np.where(real, tokenized.ids[flat], self._padding)
        attention = (column < tokenized.attended[windows][:, None]).astype(np.int64)
        kept = real & tokenized.kept[flat]
        hidden: torch.Tensor = self._backbone(
            input_ids=self._send(ids), attention_mask=self._send(attention)
        ).last_hidden_state
        rows = hidden.flatten(0, 1).index_select(0, self._send(np.flatnonzero(kept)))
        rows = self._head(rows).float()
        if self._normalize:
            rows = torch.nn.functional.normalize(rows, dim=-1)
        return flat[kept], rows

    def _send(self, array: NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def pack(lengths: NDArray[np.int64], max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Put rows of similar length together, so that a batch with its padding has at most ``max_tokens``.

    Args:
        lengths: Tokens of each row.
        max_tokens: Size of a batch; a single longer row goes alone.

    Yields:
        Row numbers, the longest rows first: if memory does not suffice, it shows at once.

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
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"device={name!r}: not a torch device such as 'cpu' or 'cuda:0'") from error
