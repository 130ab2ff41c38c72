"""Encodes texts with a model that another library has loaded."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NoReturn, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.warned import Warned
from colbert_qdrant.config.checks import require_int
from colbert_qdrant.encoders.base import check_texts
from colbert_qdrant.encoders.digests import json_digest, settings_digest, tokenizer_digest, weights_digest
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.tokens import TokenEmbeddings

Side: TypeAlias = Literal["query", "document"]

_ERRORS: Final[dict[Side, type[InvalidQueryError | InvalidDocumentError]]] = {
    "query": InvalidQueryError,
    "document": InvalidDocumentError,
}
_LOCKS: Final[WeakKeyDictionary[Any, threading.Lock]] = WeakKeyDictionary()
"""One lock per model, shared by all its encoders, because every call sets the length of its tokenizer."""


class _Wrapper(ABC):
    """Base class of the encoders for both libraries.

    It relies on the model's own members only, so that neither library has to be installed.
    """

    _type: ClassVar[str]
    _members: ClassVar[tuple[str, ...]]
    _remedy: ClassVar[str]

    def __init__(self, model: Any, *, batch_size: int = 32) -> None:
        require_int("batch_size", batch_size, minimum=1)
        if isinstance(model, type) or not all(hasattr(model, name) for name in self._members):
            raise self._refusal(model)
        backend = model.get_backend() if hasattr(model, "get_backend") else "torch"
        if backend != "torch":
            raise ConfigurationError(
                f"the weights of a model with backend={backend!r} cannot be read, so a collection could not "
                "distinguish it from another model: load it with backend='torch'"
            )
        self._model = model
        self._batch_size = batch_size
        self._lock = _LOCKS.setdefault(model, threading.Lock())
        self._warned = Warned()
        self._dim = self._measure_dim()

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""
        return self._dim

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode queries: one matrix per text, in order.

        Raises:
            InvalidQueryError: If a text is not a string, or the model keeps no token of it.
        """
        return self._encode(texts, "query")

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode documents: one matrix per text, in order.

        Raises:
            InvalidDocumentError: If a text is not a string, or the model keeps no token of it.
        """
        return self._encode(texts, "document")

    @property
    def document_length(self) -> int:
        """Maximum number of tokens of a document that the tokenizer returns.

        Raises:
            ConfigurationError: If the tokens cannot be counted.
        """
        return self._counting[1]

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Count the tokens of documents, including special tokens, before they are truncated.

        Raises:
            ConfigurationError: If the model has a slow tokenizer, a chat template or routers.
            InvalidDocumentError: If a text is not a string.
        """
        texts, (backend, _) = check_texts(texts, InvalidDocumentError), self._counting
        prompt = self._prompt("document")
        prepared = [self._prepare(prompt + text) for text in texts]
        return np.fromiter(map(len, backend.encode_batch_fast(prepared)), np.int64, len(prepared))

    def fingerprint(self) -> dict[str, Any]:
        """Return digests of the weights, tokenizer and settings, which determine the vectors.

        It is computed once, and does not depend on where the model was loaded from. It differs for a model in half
        precision, whose weights are rounded. It can differ for another release of the library with other settings.
        """
        return dict(self._fingerprint)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} holds a model of another library, which cannot be pickled: load the model in the process that "
            "uses it, or use ColbertEncoder.from_pretrained, which loads it again when it is unpickled"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, dim={self.dim})"

    @abstractmethod
    def _matrices(self, texts: list[str], side: Side) -> Sequence[NDArray[Any]]:
        """Encode with the library; never called by two threads at once."""

    @abstractmethod
    def _prompt(self, side: Side) -> str:
        """Return the text that the library prepends to a text."""

    @abstractmethod
    def _prepare(self, text: str) -> str:
        """Return a text, including its prompt, as the library passes it to the tokenizer."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return the settings besides weights, prompts, modules and tokenizers that determine the vectors."""

    def _refusal(self, model: Any) -> ConfigurationError:
        kind = model if isinstance(model, type) else type(model)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        what = f"the class {name}" if kind is model else f"an object of type {name}"
        return ConfigurationError(f"{type(self).__name__} cannot encode with {what}: {self._remedy}")

    def _measure_dim(self) -> int:
        """Return the dimensions of a vector; this also checks that the model returns token vectors."""
        try:
            with self._lock:
                matrix = np.asarray(self._matrices(["a"], "document")[0])
        except (TypeError, ValueError) as error:
            raise self._refusal(self._model) from error
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise self._refusal(self._model)
        return int(matrix.shape[1])

    def _encode(self, texts: Sequence[str], side: Side) -> TokenEmbeddings:
        texts = check_texts(texts, _ERRORS[side])
        if not texts:
            return TokenEmbeddings.from_matrices([], dim=self.dim)
        with self._lock:
            matrices = self._matrices(texts, side)
            truncated = self._find_truncated(texts, side)
        lengths = [len(matrix) for matrix in matrices]
        if 0 in lengths:
            number = lengths.index(0)
            raise _ERRORS[side](
                f"the model keeps no token of text {number} ({texts[number]!r:.80}): leave the text out, or load the "
                "model with a shorter skiplist"
            )
        values = np.concatenate([np.asarray(matrix, np.float32) for matrix in matrices])
        tokens = TokenEmbeddings(values, lengths, truncated=truncated)
        self._warned.of_truncated_texts(side, tokens, remedy=f"raise the model's {side} length, or shorten them")
        return tokens

    def _find_truncated(self, texts: list[str], side: Side) -> list[bool] | None:
        """Return which texts were truncated, by tokenizing them again with the library's length."""
        backend = self._backend
        if backend is None or backend.truncation is None:
            return None
        length, padding = backend.truncation["max_length"], backend.padding
        prompt = self._prompt(side)
        backend.no_padding()
        try:
            encodings = backend.encode_batch_fast([self._prepare(prompt + text) for text in texts])
        finally:
            if padding is not None:
                backend.enable_padding(**padding)
        # check the length first, because reading `overflowing` copies it
        return [len(encoding) >= length and bool(encoding.overflowing) for encoding in encodings]

    @cached_property
    def _backend(self) -> Any:
        """The Rust tokenizer, or ``None`` if the library may pass other texts to it."""
        has_chat_template = "message" in getattr(self._model, "modalities", ())
        has_routes = hasattr(self._model[0], "sub_modules")
        return None if has_chat_template or has_routes else getattr(self._model.tokenizer, "backend_tokenizer", None)

    @cached_property
    def _counting(self) -> tuple[Any, int]:
        """A copy of the tokenizer that does not truncate, and the length at which the library truncates documents."""
        backend = self._backend
        if backend is None:
            raise ConfigurationError(
                f"{self!r} cannot count tokens, because of a slow tokenizer, a chat template or routers: load the "
                "checkpoint with ColbertEncoder.from_pretrained"
            )
        with self._lock:
            self._matrices(["a"], "document")  # which sets the length
            copied = type(backend).from_str(backend.to_str())
        length = copied.truncation["max_length"] if copied.truncation else np.iinfo(np.int64).max
        copied.no_truncation()
        copied.no_padding()
        return copied, int(length)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        model = self._model
        settings = {
            **self._settings(),
            "prompts": [self._prompt("query"), self._prompt("document")],
            "modules": [
                [name, type(module).__name__, _without_defaults(module.get_config_dict())]
                for name, module in model.named_modules()
                if hasattr(module, "get_config_dict")
            ],
            "configs": [settings_digest(config) for config in self._parts("config") if hasattr(config, "to_diff_dict")],
            "sides": [_sides(tokenizer) for tokenizer in self._parts("tokenizer")],
        }
        return {
            "type": self._type,
            "name": self._name,
            "weights": weights_digest(model.state_dict()),
            "tokenizer": json_digest({"all": [tokenizer_digest(tokenizer) for tokenizer in self._parts("tokenizer")]}),
            "settings": json_digest(settings),
            "dim": self.dim,
        }

    def _parts(self, name: str) -> list[Any]:
        """Return the distinct values of an attribute over all nested modules."""
        found = (getattr(module, name, None) for module in self._model.modules())
        return list({id(part): part for part in found if part is not None}.values())

    @property
    def _name(self) -> str:
        """A label: the name on the Hub, or the name of the folder."""
        names = (str(getattr(config, "_name_or_path", None) or "") for config in self._parts("config"))
        name = next(filter(None, names), type(self._model).__name__)
        return Path(name).name if Path(name).is_dir() or Path(name).is_absolute() else name


class SentenceTransformersEncoder(_Wrapper):
    """Encodes texts with a loaded `MultiVectorEncoder` of Sentence Transformers.

    The vectors are those of its ``encode_query`` and ``encode_document``, in float32. Encoding is thread-safe, also
    with several encoders for one model, as long as no other code uses the model at the same time.

    The library truncates long texts silently. To set `TokenEmbeddings.truncated`, this class tokenizes texts a second
    time, which takes about 0.2 ms for a passage. It cannot do this with slow tokenizers, chat templates or routers.

    Args:
        model: The model, of Sentence Transformers 6 or later. Do not change it afterwards.
        batch_size: The number of texts that go through the model together.

    Raises:
        ConfigurationError: If the model is not a `MultiVectorEncoder`, or has a backend other than torch.
    """

    _type = "sentence-transformers"
    _members = ("encode_query", "encode_document", "preprocess", "prompts", "tokenizer", "named_modules", "state_dict")
    _remedy = (
        "pass a loaded sentence_transformers.MultiVectorEncoder (release 6 or later), which has one vector per token. "
        "Or load the checkpoint with ColbertEncoder.from_pretrained. A model of PyLate goes into PylateEncoder"
    )
    _prompt_names: Final[dict[Side, tuple[str, ...]]] = {
        "query": ("query",),
        "document": ("document", "passage", "corpus"),
    }

    def _matrices(self, texts: list[str], side: Side) -> Sequence[NDArray[Any]]:
        encode = self._model.encode_query if side == "query" else self._model.encode_document
        matrices: Sequence[NDArray[Any]] = encode(
            texts, batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True
        )
        return matrices

    def _prompt(self, side: Side) -> str:
        prompts = self._model.prompts
        default = getattr(self._model, "default_prompt_name", None)
        name = next((name for name in self._prompt_names[side] if name in prompts), default)
        return prompts.get(name) or ""

    def _prepare(self, text: str) -> str:
        return text

    def _settings(self) -> dict[str, Any]:
        return {"longest": getattr(self._model, "max_seq_length", None)}


class PylateEncoder(_Wrapper):
    """Encodes texts with a loaded `ColBERT` model of PyLate.

    The vectors are those of its ``encode``, in float32. The prompts ``"query"`` and ``"document"`` that were saved with
    the model are used; PyLate itself ignores them unless each call names them. Encoding is thread-safe, also with
    several encoders for one model, as long as no other code uses the model at the same time.

    PyLate truncates long texts silently. To set `TokenEmbeddings.truncated`, this class tokenizes texts a second time,
    which takes about 0.2 ms for a passage. It cannot do this with slow tokenizers.

    Args:
        model: The model. Do not change it afterwards.
        batch_size: The number of texts that go through the model together.

    Raises:
        ConfigurationError: If the model is not a `ColBERT` model, or has a backend other than torch.
    """

    _type = "pylate"
    _members = ("encode", "query_length", "document_length", "skiplist", "tokenizer", "named_modules", "state_dict")
    _remedy = (
        "pass a loaded pylate.models.ColBERT. Or load the checkpoint with ColbertEncoder.from_pretrained. A "
        "MultiVectorEncoder of Sentence Transformers goes into SentenceTransformersEncoder"
    )
    _attributes: Final = (
        "query_length",
        "document_length",
        "query_prefix",
        "document_prefix",
        "query_prefix_id",
        "document_prefix_id",
        "do_query_expansion",
        "attend_to_expansion_tokens",
    )

    def _matrices(self, texts: list[str], side: Side) -> Sequence[NDArray[Any]]:
        matrices: Sequence[NDArray[Any]] = self._model.encode(
            texts,
            prompt_name=side if self._model.prompts.get(side) else None,
            batch_size=self._batch_size,
            is_query=side == "query",
            show_progress_bar=False,
        )
        return matrices

    def _prompt(self, side: Side) -> str:
        prompts = self._model.prompts
        return prompts.get(side) or prompts.get(self._model.default_prompt_name) or ""

    def _prepare(self, text: str) -> str:
        text = text.strip()
        return text.lower() if getattr(self._model[0], "do_lower_case", False) else text

    def _settings(self) -> dict[str, Any]:
        return {
            **{name: getattr(self._model, name, None) for name in self._attributes},
            "skiplist": sorted(map(str, set(self._model.skiplist))),
            # PyLate expands queries with this token
            "pad_token_id": self._model.tokenizer.pad_token_id,
        }


def _without_defaults(config: Any) -> Any:
    """Return a module's settings as JSON values, without those that are off or empty.

    A release that only adds a setting then changes no fingerprint. PyLate sets ``max_seq_length`` with every call, so
    that setting is left out, too.
    """
    if isinstance(config, dict):
        kept = {str(key): _without_defaults(value) for key, value in config.items() if key != "max_seq_length"}
        return {key: value for key, value in kept.items() if value or (value == 0 and value is not False)}
    return [_without_defaults(value) for value in config] if isinstance(config, list | tuple) else config


def _sides(tokenizer: Any) -> dict[str, Any]:
    """Return the settings of a tokenizer that only some code paths of the library use."""
    return {name: getattr(tokenizer, name, None) for name in ("padding_side", "truncation_side", "chat_template")}
