"""Encodes texts with a ColBERT checkpoint: `ColbertEncoder`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Pooling, Side
from colbert_qdrant.encoders.digests import json_digest, settings_digest, tokenizer_digest, weights_digest
from colbert_qdrant.encoders.pooling import pool
from colbert_qdrant.encoders.settings import check_lengths, checked_encoder_settings, require_checkpoint
from colbert_qdrant.encoders.spans import LongTexts, TokenSpan
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from colbert_qdrant.encoders.tokenizing import SideTokenizer

Dtype = Literal["float32", "float16", "bfloat16"]
"""The number type that a model computes in."""

_VERSION: Final = 1
"""Raised when the same settings give other vectors than before: stored collections and caches depend on it."""

_STREAM_TEXTS: Final = 1_024
"""Texts of a stream that are encoded together: enough to sort by length, few enough to hold."""


class ColbertEncoder:
    """Encodes texts with a ColBERT checkpoint, as the library it was trained with does.

    Reads checkpoints of PyLate, Stanford's ColBERT and sentence-transformers' ``MultiVectorEncoder``. Any other encoder
    model works too, through its last hidden states: its queries lose their special tokens, its documents also tokens of
    nothing but punctuation, and it ranks worse than one that was trained for late interaction.

    Two things are as in sentence-transformers and not as in PyLate: prompts that were saved with the model are always
    used, and a skiplist word that is no token drops nothing (in PyLate, every unknown token of a document).

    An encoder is made with `from_pretrained`. Encoding is safe from several threads. A pickled encoder holds no
    weights: the process that unpickles it loads the same folder or commit again.

    Attributes:
        spec: The checkpoint's specification, with the changes that were asked for.
        checkpoint: The checkpoint as it was loaded.
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
        spec = _apply_changes(
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
            self._digests  # noqa: B018  (while the weights are as they are stored)
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
            name_or_path: A folder, or a name on the Hugging Face hub.
            revision: Branch, tag or commit on the hub.
            device: A torch device such as ``"cpu"`` or ``"cuda:0"``; ``"auto"`` takes a GPU if there is one.
            dtype: The number type that the model computes in; vectors are float32 in any case. Collections do not mind:
                one that was filled in half precision may be searched in full.
            trust_remote_code: Run Python code that comes with the model. Read it, and pin its commit as ``revision``.
            token: Access token for the hub; by default the one that ``hf auth login`` stored.
            local_files_only: Never ask the hub.
            batch_size: Documents of full length that go through the model together; of shorter ones as many as have
                the same number of tokens. By default what suits the device.
            query_length: Tokens of a query, special tokens included, beyond which it is truncated; with query expansion
                also those it is filled up to. By default the checkpoint's.
            document_length: Tokens of a document beyond which it is truncated or split.
            query_prefix: Token of the vocabulary that is inserted after a query's first; by default the checkpoint's,
                ``""`` for none.
            document_prefix: The same for a document.
            prompts: Texts that are put in front of every text, under ``"query"`` and ``"document"``; by default the
                checkpoint's.
            pool_factor: About how many token vectors of a document become one (hierarchical clustering, the first
                token protected). Fewer vectors are stored and compared, at some loss of quality.
            long_documents: ``"truncate"`` (counted, and reported), or ``"split"``: overlapping windows go through the
                model, and all of their tokens belong to the one document.
            cache: Folder in which token embeddings are kept for the next time the same text is encoded.
            compile: Compile the model with ``torch.compile``: slow to start, then faster.

        Raises:
            CheckpointError: There is no such checkpoint, or a file of it is missing, broken or does not fit.
            ConfigurationError: A parameter is out of range, or a length is more than the model can take.
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
            texts: Queries; an empty one gives the vectors of its special tokens.

        Returns:
            One matrix per text, in their order.

        Raises:
            InvalidQueryError: A text is not a string.
        """
        return self._encode(check_texts(texts, InvalidQueryError), "query", self._queries, self.spec.query)

    @overload
    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings: ...
    @overload
    def encode_documents(self, texts: Iterator[str]) -> Iterator[NDArray[np.float32]]: ...
    def encode_documents(self, texts: Sequence[str] | Iterator[str]) -> TokenEmbeddings | Iterator[NDArray[np.float32]]:
        """Encode documents.

        Args:
            texts: Documents; an empty one gives the vectors of its special tokens. An iterator of any length is read
                as its results are taken, some thousand texts ahead at most.

        Returns:
            One matrix per text, in their order: a batch for a sequence, an iterator for an iterator.

        Raises:
            InvalidDocumentError: A text is not a string.
        """
        if isinstance(texts, Iterator):
            return self._stream(texts)
        return self._encode(check_texts(texts, InvalidDocumentError), "document", self._documents, self.spec.document)

    def document_tokens(self, texts: Sequence[str]) -> list[list[TokenSpan]]:
        """Return the piece of a document that each of its vectors stands for.

        Args:
            texts: Documents.

        Returns:
            For each text one span per row of its matrix from `encode_documents`, in the same order.

        Raises:
            ConfigurationError: Vectors are pooled, and stand for several pieces each, or the tokenizer knows no
                positions.
        """
        if self.spec.document.pooling:
            raise ConfigurationError("pooled vectors stand for several tokens each: load the encoder without pooling")
        return self._documents.spans(check_texts(texts, InvalidDocumentError))

    def fingerprint(self) -> dict[str, Any]:
        """Return what decides the vectors: digests of weights, settings and tokenizer, and how texts are treated.

        It is the same for a copy of the checkpoint in another folder or layout, and with another ``dtype``.
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
        """Pickle the source and the settings; the weights, and the token for the hub, stay here.

        Raises:
            TypeError: The encoder was made of a checkpoint in memory.
        """
        if self._source is None:
            raise TypeError(
                f"{self!r} was made of a checkpoint in memory, which is not pickled: make it with "
                "ColbertEncoder.from_pretrained, whose encoders are loaded again where they are unpickled"
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
        """Say what is to be done about texts that are too long."""
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


def _apply_changes(
    spec: CheckpointSpec,
    *,
    query_length: int | None,
    document_length: int | None,
    query_prefix: str | None,
    document_prefix: str | None,
    prompts: Mapping[str, str],
    pool_factor: float | None,
) -> CheckpointSpec:
    """Return the checkpoint's specification with the changes that were asked for."""
    if unknown := set(prompts) - {"query", "document"}:
        raise ConfigurationError(f"prompts are for 'query' and 'document', not for {sorted(unknown)}")
    query, document = spec.query, spec.document
    if query_length is not None:
        expansion = query.expansion
        if expansion is not None and expansion.strategy == "fixed":
            expansion = replace(expansion, length=query_length)
        query = replace(query, length=query_length, expansion=expansion)
    if document_length is not None:
        document = replace(document, length=document_length)
    if query_prefix is not None:
        query = replace(query, prefix=query_prefix or None)
    if document_prefix is not None:
        document = replace(document, prefix=document_prefix or None)
    if pool_factor is not None:
        pooling = replace(document.pooling or Pooling(factor=1), factor=pool_factor)
        document = replace(document, pooling=pooling if pool_factor != 1 else None)
    return replace(
        spec,
        query=replace(query, prompt=prompts.get("query", query.prompt)),
        document=replace(document, prompt=prompts.get("document", document.prompt)),
    )
