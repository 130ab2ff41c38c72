"""Defines `ColbertEncoder`, which encodes texts with a ColBERT checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.warned import Warned
from colbert_qdrant.encoders.base import check_texts
from colbert_qdrant.encoders.cache import EmbeddingCache
from colbert_qdrant.encoders.checkpoint.loaded import Checkpoint
from colbert_qdrant.encoders.checkpoint.spec import Side
from colbert_qdrant.encoders.digests import json_digest, settings_digest, tokenizer_digest, weights_digest
from colbert_qdrant.encoders.pooling import pool
from colbert_qdrant.encoders.settings import apply_changes, check_lengths, checked_encoder_settings, require_checkpoint
from colbert_qdrant.encoders.spans import LongTexts, TokenSpan
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from colbert_qdrant.encoders.tokenizing import SideTokenizer

Dtype = Literal["float32", "float16", "bfloat16"]
"""The number type that a model computes in."""

_VERSION: Final = 1
"""Raised whenever the same settings produce different vectors; stored collections and caches depend on it."""

_STREAM_TEXTS: Final = 1_024
"""Texts of a stream that are encoded together: enough to sort by length, but few enough for memory."""


class ColbertEncoder:
    """Encodes texts with a ColBERT checkpoint, exactly as the library that trained it does.

    It reads checkpoints of PyLate, Stanford's ColBERT and sentence-transformers' ``MultiVectorEncoder``. Any other
    encoder model works, too: its last hidden states are the token vectors. Special tokens are left out, and
    punctuation is left out of documents. Such a model ranks worse than one trained for late interaction.

    Two behaviors follow sentence-transformers instead of PyLate. Prompts that were saved with the model are always
    used. A skiplist word outside the vocabulary drops nothing; in PyLate, it drops every unknown token of a document.

    Make an encoder with `from_pretrained`. Encoding is thread-safe. A pickled encoder holds no weights: the process
    that unpickles it loads the same folder or commit again.

    Attributes:
        spec: The checkpoint's specification, with your settings applied.
        checkpoint: The loaded checkpoint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        dtype: Dtype = "float32",
        batch_size: int | None = None,
        query_length: int | None = None,
        document_length: int | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        prompts: Mapping[str, str] | None = None,
        pool_factor: float | None = None,
        long_documents: LongTexts = "truncate",
        cache: str | Path | None = None,
        compile: bool = False,
    ) -> None:
        from colbert_qdrant.encoders.model import TokenModel  # noqa: PLC0415
        from colbert_qdrant.encoders.tokenizing import SideTokenizer  # noqa: PLC0415

        require_checkpoint(checkpoint)
        (
            device,
            dtype,
            batch_size,
            query_length,
            document_length,
            query_prefix,
            document_prefix,
            prompts,
            pool_factor,
            long_documents,
            cache,
            compile,
        ) = checked_encoder_settings(
            {
                "device": device,
                "dtype": dtype,
                "batch_size": batch_size,
                "query_length": query_length,
                "document_length": document_length,
                "query_prefix": query_prefix,
                "document_prefix": document_prefix,
                "prompts": prompts,
                "pool_factor": pool_factor,
                "long_documents": long_documents,
                "cache": cache,
                "compile": compile,
            }
        ).values()
        spec = apply_changes(
            checkpoint.spec,
            query_length=query_length,
            document_length=document_length,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
            prompts=prompts or {},
            pool_factor=pool_factor,
        )
        check_lengths(checkpoint, spec)
        self.spec = spec
        self._name = checkpoint.name
        self._long_documents = long_documents
        self._dtype = str(dtype).removeprefix("torch.")
        self._queries = SideTokenizer(checkpoint.tokenizer, spec, spec.query)
        self._documents = SideTokenizer(checkpoint.tokenizer, spec, spec.document, long_texts=long_documents)
        self.checkpoint = checkpoint
        if self._dtype != "float32":
            self._digests  # noqa: B018  (of the stored weights, before they are converted)
        self._model = TokenModel(
            checkpoint,
            device=device,
            dtype=self._dtype,
            batch_tokens=batch_size and batch_size * spec.document.length,
            compile=compile,
        )
        self._cache = None if cache is None else EmbeddingCache(cache, encoder=self._cache_key())
        self._warned = Warned()
        self._source: dict[str, Any] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "float32",
        trust_remote_code: bool = False,
        token: str | bool | None = None,
        local_files_only: bool = False,
        batch_size: int | None = None,
        query_length: int | None = None,
        document_length: int | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        prompts: Mapping[str, str] | None = None,
        pool_factor: float | None = None,
        long_documents: LongTexts = "truncate",
        cache: str | Path | None = None,
        compile: bool = False,
    ) -> Self:
        """Load a checkpoint.

        Args:
            name_or_path: A folder, or a name on the Hugging Face Hub.
            revision: A branch, tag or commit on the Hub.
            device: A torch device such as ``"cpu"`` or ``"cuda:0"``; ``"auto"`` uses a GPU if there is one.
            dtype: The dtype that the model computes in. Vectors are always float32, so a collection that was filled
                in half precision can be searched in full precision.
            trust_remote_code: Whether to run the Python code that comes with the model. Read that code first, and pin
                its commit as ``revision``.
            token: An access token for the Hub; by default the one that ``hf auth login`` stored.
            local_files_only: Whether to use local files only, without a request to the Hub.
            batch_size: The number of full-length documents that go through the model together. Shorter documents form
                larger batches of the same number of tokens. The default depends on the device.
            query_length: The maximum number of tokens of a query, including special tokens. Longer queries are
                truncated. With query expansion, shorter queries are filled up to this length. The default is the
                checkpoint's.
            document_length: The maximum number of tokens of a document; longer documents are truncated or split. The
                default is the checkpoint's.
            query_prefix: A token of the vocabulary that is inserted after a query's first token. The default is the
                checkpoint's; ``""`` inserts no token.
            document_prefix: The same for documents.
            prompts: Texts to prepend to every ``"query"`` and ``"document"``. The default is the checkpoint's.
            pool_factor: The approximate number of a document's token vectors that are merged into one, by hierarchical
                clustering. The first token is never merged. Fewer vectors are stored and compared, but quality drops.
            long_documents: ``"truncate"`` cuts long documents, and counts and reports them. ``"split"`` encodes
                overlapping windows, whose tokens all belong to the one document.
            cache: A folder that caches token embeddings, for the next time the same text is encoded.
            compile: Whether to compile the model with ``torch.compile``: it starts slowly, and then runs faster.

        Raises:
            CheckpointError: If the checkpoint does not exist, or a file is missing, broken or inconsistent.
            ConfigurationError: If a parameter is out of range, or a length exceeds the model's maximum.
        """
        from colbert_qdrant.encoders.checkpoint.files import open_checkpoint  # noqa: PLC0415
        from colbert_qdrant.encoders.checkpoint.load import load_checkpoint  # noqa: PLC0415

        settings: dict[str, Any] = {
            "device": device,
            "dtype": dtype,
            "batch_size": batch_size,
            "query_length": query_length,
            "document_length": document_length,
            "query_prefix": query_prefix,
            "document_prefix": document_prefix,
            "prompts": prompts,
            "pool_factor": pool_factor,
            "long_documents": long_documents,
            "cache": cache,
            "compile": compile,
        }
        settings = checked_encoder_settings(settings)
        files = open_checkpoint(
            name_or_path,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            trust_remote_code=trust_remote_code,
        )
        encoder = cls(load_checkpoint(files, trust_remote_code=trust_remote_code), **settings)
        encoder._source = {
            **files.source(revision),
            "trust_remote_code": trust_remote_code,
            "local_files_only": local_files_only,
            **settings,
        }
        return encoder

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""
        return self._model.dim

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode queries.

        Args:
            texts: The queries. An empty query has the vectors of its special tokens.

        Returns:
            One matrix per text, in order.

        Raises:
            InvalidQueryError: If a text is not a string.
        """
        return self._encode(check_texts(texts, InvalidQueryError), "query", self._queries, self.spec.query)

    @overload
    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings: ...
    @overload
    def encode_documents(self, texts: Iterator[str]) -> Iterator[NDArray[np.float32]]: ...
    def encode_documents(self, texts: Sequence[str] | Iterator[str]) -> TokenEmbeddings | Iterator[NDArray[np.float32]]:
        """Encode documents.

        Args:
            texts: The documents. An empty document has the vectors of its special tokens. An iterator of any length is
                read lazily, at most 1,024 texts ahead.

        Returns:
            One matrix per text, in order: a batch for a sequence, and an iterator for an iterator.

        Raises:
            InvalidDocumentError: If a text is not a string.
        """
        if isinstance(texts, Iterator):
            return self._stream(texts)
        return self._encode(check_texts(texts, InvalidDocumentError), "document", self._documents, self.spec.document)

    def document_tokens(self, texts: Sequence[str]) -> list[list[TokenSpan]]:
        """Return the span of a document that each of its vectors represents.

        Args:
            texts: The documents.

        Returns:
            For each text, one span per row of its matrix from `encode_documents`, in the same order.

        Raises:
            ConfigurationError: If vectors are pooled, and so represent several spans, or if the tokenizer does not
                record positions.
        """
        if self.spec.document.pooling:
            raise ConfigurationError("pooled vectors represent several tokens each: load the encoder without pooling")
        return self._documents.spans(check_texts(texts, InvalidDocumentError))

    @property
    def document_length(self) -> int:
        """Maximum number of tokens of a document, including special tokens."""
        return self.spec.document.length

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Count the tokens of documents, including special tokens, before they are truncated or split.

        Raises:
            InvalidDocumentError: If a text is not a string.
        """
        return self._documents.count(check_texts(texts, InvalidDocumentError))

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings that determine the vectors, with digests of the weights, settings and tokenizer.

        A copy of the checkpoint in another folder or layout has the same fingerprint, and so has another ``dtype``.
        """
        return {
            "type": "colbert",
            "version": _VERSION,
            "name": self._name,
            **self._digests,
            "dim": self.dim,
            "query": self.spec.query.to_dict(),
            "document": self.spec.document.to_dict(),
            "long_documents": self._long_documents,
            "projections": self.checkpoint.projections,
            "code": self.checkpoint.code,
            "normalize": self.spec.normalize,
            "strip": self.spec.strip,
            "lowercase": self.spec.lowercase,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, layout={self.spec.layout!r}, dim={self.dim})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the source and the settings, but neither the weights nor the token for the Hub.

        Raises:
            TypeError: If the encoder was made from a checkpoint in memory.
        """
        if self._source is None:
            raise TypeError(
                f"{self!r} was made from a checkpoint in memory, which cannot be pickled: make it with "
                "ColbertEncoder.from_pretrained, which loads it again when it is unpickled"
            )
        return _load_again, (type(self), self._source)

    def _encode(self, texts: Sequence[str], name: str, tokenizer: SideTokenizer, side: Side) -> TokenEmbeddings:
        if not texts:
            return TokenEmbeddings.from_matrices([], dim=self.dim)

        def encode(texts: Sequence[str]) -> TokenEmbeddings:
            tokenized = tokenizer(texts)
            tokens = TokenEmbeddings(self._model(tokenized), tokenized.rows, truncated=tokenized.truncated)
            pooling = side.pooling
            if pooling is None:
                return tokens
            return pool(tokens, factor=pooling.factor, protected=pooling.protected, normalize=pooling.normalize)

        tokens = self._cache.encode(name, texts, encode) if self._cache else encode(texts)
        self._warned.of_truncated_texts(name, tokens, remedy=self._remedy(name, side))
        return tokens

    def _remedy(self, name: str, side: Side) -> str:
        """Return the remedies for texts that are too long."""
        longest = self.checkpoint.longest
        remedies = [] if longest is not None and side.length >= longest else [f"load it with a larger {name}_length"]
        remedies += ["load it with long_documents='split'"] if name == "document" else []
        return ", or ".join([*remedies, "shorten them"])

    def _stream(self, texts: Iterator[str]) -> Iterator[NDArray[np.float32]]:
        while chunk := list(islice(texts, _STREAM_TEXTS)):
            yield from self.encode_documents(chunk)

    @cached_property
    def _digests(self) -> dict[str, str]:
        checkpoint = self.checkpoint
        return {
            "weights": weights_digest(
                {**checkpoint.backbone.state_dict(), **checkpoint.head.state_dict(prefix="head.")}
            ),
            "settings": settings_digest(checkpoint.backbone.config),
            "tokenizer": tokenizer_digest(checkpoint.tokenizer),
        }

    def _cache_key(self) -> str:
        return json_digest({**self.fingerprint(), "name": None, "dtype": self._dtype})


def _load_again(kind: type[ColbertEncoder], source: dict[str, Any]) -> ColbertEncoder:
    return kind.from_pretrained(**source)
