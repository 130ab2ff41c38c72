"""Token embeddings from any Hugging Face encoder: its last hidden states."""

from __future__ import annotations

import hashlib
import json
import string
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from colbert_qdrant.errors import CheckpointError, ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SUBWORD_MARKERS: Final = ("##", "▁", "Ġ")
_LABELS: Final = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Entries of a model's config that change no vector."""

_NO_LENGTH_LIMIT: Final = 10**9
"""Tokenizers without a limit of their own say a number above this."""


class TransformerTokenEncoder:
    """Uses the last hidden states of an encoder model, normalised to unit length, as token vectors.

    A stand-in for ColBERT checkpoints: any encoder works, though one that was not trained for late interaction
    ranks worse. Special tokens and tokens of nothing but punctuation are dropped from documents; queries keep
    their punctuation and lose only the special tokens. A text of which nothing would be left keeps its
    punctuation, or else everything, so that every text has at least one vector.

    Made with `from_pretrained`. Encoding is safe from several threads.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        query_length: int,
        document_length: int,
        batch_size: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()
        self._name = name
        self.query_length = query_length
        self.document_length = document_length
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        query_length: int = 64,
        document_length: int = 256,
        batch_size: int = 32,
        device: str = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model and its tokenizer.

        Args:
            name_or_path: A folder, or a name on the Hugging Face hub.
            query_length: Tokens of a query, special tokens included, beyond which it is truncated.
            document_length: The same of a document.
            batch_size: Texts that go through the model together.
            device: A torch device such as ``"cpu"`` or ``"cuda:0"``; ``"auto"`` takes a GPU if there is one.
            revision: Branch, tag or commit on the hub.
            local_files_only: Never ask the hub.

        Raises:
            CheckpointError: There is no such model, or its files cannot be read.
            ConfigurationError: A length is more than the model can take.
        """
        import torch  # noqa: PLC0415
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

        source = {"revision": revision, "local_files_only": local_files_only}
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(name_or_path), **source)
            model, loading = AutoModel.from_pretrained(
                str(name_or_path), dtype=torch.float32, output_loading_info=True, **source
            )
        except Exception as error:
            raise CheckpointError(
                f"cannot load an encoder model from {str(name_or_path)!r} ({type(error).__name__}: {error}); give a "
                "folder with config.json, weights and tokenizer, or a model's name on the Hugging Face hub"
            ) from error
        missing = sorted(key for key in loading["missing_keys"] if not _is_pooler(key))
        if missing:
            raise CheckpointError(
                f"the weights in {str(name_or_path)!r} lack {len(missing)} of the model's tensors, such as "
                f"{missing[0]!r}: they would be random; get the checkpoint's files again"
            )
        _check_lengths(model, tokenizer, query_length=query_length, document_length=document_length)
        if batch_size < 1:
            raise ConfigurationError(f"batch_size must be at least 1, got {batch_size}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(
            model.to(device).eval(),
            tokenizer,
            name=Path(name_or_path).name,
            query_length=query_length,
            document_length=document_length,
            batch_size=batch_size,
        )

    @property
    def dim(self) -> int:
        """Dimensions of a token vector: the model's hidden size."""
        return int(self._model.config.hidden_size)

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode queries.

        Args:
            texts: Queries; longer ones are truncated to ``query_length`` tokens.

        Returns:
            One matrix of unit vectors per text, in their order.

        Raises:
            InvalidQueryError: A text is empty.
        """
        _check_texts(texts, InvalidQueryError)
        return self._encode(texts, self.query_length, [self._special_ids])

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode documents.

        Args:
            texts: Documents; longer ones are truncated to ``document_length`` tokens.

        Returns:
            One matrix of unit vectors per text, in their order.

        Raises:
            InvalidDocumentError: A text is empty.
        """
        _check_texts(texts, InvalidDocumentError)
        return self._encode(texts, self.document_length, [self._skipped_ids, self._special_ids])

    def fingerprint(self) -> dict[str, Any]:
        """Digests of weights, model settings and tokenizer, dimensions and lengths: the same for a copy elsewhere."""
        return {
            "type": "transformer",
            "name": self._name,
            **self._digests,
            "dim": self.dim,
            "query_length": self.query_length,
            "document_length": self.document_length,
        }

    def _encode(self, texts: Sequence[str], length: int, dropped: Sequence[NDArray[np.int64]]) -> TokenEmbeddings:
        """Encode in batches of similar length, and put the rows that are kept where they belong.

        ``dropped`` are the sets of token ids to leave out: the first that leaves anything counts.
        """
        if not texts:
            return TokenEmbeddings.from_matrices([], dim=self.dim)
        with self._tokenizing:
            encodings = self._tokenizer(list(texts), truncation=True, max_length=length, padding=False)["input_ids"]
        ids = [np.asarray(encoding, np.int64) for encoding in encodings]
        kept = [_kept(row, dropped) for row in ids]
        lengths = np.array([mask.sum() for mask in kept])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = np.empty((offsets[-1], self.dim), np.float32)
        longest_first = np.argsort([-len(row) for row in ids], kind="stable")
        for start in range(0, len(texts), self.batch_size):
            batch = longest_first[start : start + self.batch_size]
            rows = self._forward([ids[number] for number in batch], [kept[number] for number in batch])
            for number, matrix in zip(batch, np.split(rows, np.cumsum(lengths[batch])[:-1]), strict=True):
                values[offsets[number] : offsets[number + 1]] = matrix
        return TokenEmbeddings(values, lengths)

    def _forward(self, ids: Sequence[NDArray[np.int64]], kept: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
        """Unit vectors of the tokens that are kept, text after text."""
        import torch  # noqa: PLC0415

        padding = self._tokenizer.pad_token_id or 0
        input_ids = _padded(ids, padding)
        attention = _padded([np.ones(len(row), np.int64) for row in ids], 0)
        mask = torch.from_numpy(_padded(kept, fill=False))
        device = self._model.device
        with torch.inference_mode():
            hidden: torch.Tensor = self._model(
                input_ids=torch.from_numpy(input_ids).to(device),
                attention_mask=torch.from_numpy(attention).to(device),
            ).last_hidden_state
            rows = torch.nn.functional.normalize(hidden[mask.to(device)], dim=-1)
            array: NDArray[np.float32] = rows.float().cpu().numpy()
        return array

    @cached_property
    def _special_ids(self) -> NDArray[np.int64]:
        return np.array(sorted(set(self._tokenizer.all_special_ids)), np.int64)

    @cached_property
    def _skipped_ids(self) -> NDArray[np.int64]:
        """Special tokens, and tokens of nothing but punctuation."""
        punctuation = [id for token, id in self._tokenizer.get_vocab().items() if _is_punctuation(token)]
        return np.union1d(self._special_ids, np.array(punctuation, np.int64))

    @cached_property
    def _digests(self) -> dict[str, str]:
        weights = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            if _is_pooler(name):
                continue  # random where a checkpoint has none, and no part of the last hidden states
            array = np.ascontiguousarray(tensor.cpu().numpy())
            weights.update(f"{name} {array.dtype} {array.shape}\n".encode())
            weights.update(array.data)
        settings = self._model.config.to_diff_dict()
        return {
            "weights": f"sha256:{weights.hexdigest()}",
            "settings": _digest({key: value for key, value in settings.items() if key not in _LABELS}),
            "tokenizer": _digest(_tokenizer_settings(self._tokenizer)),
        }


def _check_texts(texts: Sequence[str], error: type[InvalidQueryError | InvalidDocumentError]) -> None:
    if isinstance(texts, str):
        raise ConfigurationError("expected a list of texts, got one string: put it into a list")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise error(f"text {number} is empty ({text!r}): there is nothing to encode")


def _check_lengths(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **lengths: int) -> None:
    limits = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length]
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding: int | None = getattr(positions, "padding_idx", None)
    if limits[0] is not None and padding is not None:
        limits[0] -= padding + 1  # RoBERTa counts its positions from there
    longest = min((limit for limit in limits if limit is not None and limit < _NO_LENGTH_LIMIT), default=None)
    shortest = tokenizer.num_special_tokens_to_add() + 1
    for name, length in lengths.items():
        if length < shortest or (longest is not None and length > longest):
            raise ConfigurationError(f"{name}={length}: this model takes from {shortest} to {longest} tokens")


def _is_pooler(name: str) -> bool:
    return "pooler" in name.split(".")


def _tokenizer_settings(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """All that decides the tokens of a text; truncation and padding are set anew for every call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return {"type": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    settings: dict[str, Any] = json.loads(backend.to_str())
    return {key: value for key, value in settings.items() if key not in {"version", "truncation", "padding"}}


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _kept(ids: NDArray[np.int64], dropped: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    for drop in dropped:
        mask = ~np.isin(ids, drop)
        if mask.any():
            return mask
    return np.ones(len(ids), np.bool_)


def _padded(rows: Sequence[NDArray[Any]], fill: int | Literal[False]) -> NDArray[Any]:
    padded = np.full((len(rows), max(map(len, rows))), fill, rows[0].dtype)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _is_punctuation(token: str) -> bool:
    for marker in _SUBWORD_MARKERS:
        token = token.removeprefix(marker) or token
    return bool(token) and all(character in string.punctuation for character in token)
