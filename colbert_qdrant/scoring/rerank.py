"""Reranks texts with a late-interaction model behind any retriever, without a database."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias, cast, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.values import plain
from colbert_qdrant._support.warned import Warned
from colbert_qdrant.config.checks import require_bool, require_int
from colbert_qdrant.encoders.base import LateInteractionEncoder, require_encoder, require_text
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.shown import holds, shown
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

Queries: TypeAlias = list[str] | tuple[str, ...]
"""Several queries. Other sequences are excluded, because a string is also a sequence of strings."""

Ranking: TypeAlias = list[tuple[int, float]]
"""``(index, score)`` by descending score; ties by index."""

_CHUNK_TEXTS: Final = 256
"""Texts encoded at a time: their token vectors are dropped as soon as they are scored."""


class ColbertReranker:
    """Ranks texts for a query by MaxSim with a late-interaction model.

    It is a drop-in replacement for txtai's ``Similarity(lateencode=True)``. Texts are encoded in chunks, and only
    their scores are kept, so memory does not grow with the token vectors of a long list.

    Args:
        encoder: The model.
        normalize: Divide scores by the number of query tokens, as txtai does: the mean of the best matches instead of
            their sum. The order is the same.
        device: The device to score on, as for `maxsim`; the encoder has its own device.

    Example:
        >>> from colbert_qdrant import ColbertEncoder
        >>> def best(path, query, texts):
        ...     reranker = ColbertReranker(ColbertEncoder.from_pretrained(path))
        ...     return [texts[index] for index, score in reranker(query, texts, limit=3)]
    """

    def __init__(self, encoder: LateInteractionEncoder, *, normalize: bool = False, device: str | None = None) -> None:
        require_encoder(encoder, "encode_queries", "encode_documents")
        normalize = plain(normalize)
        require_bool("normalize", normalize)
        self.encoder = encoder
        self.normalize = normalize
        self.device = device
        self._warned = Warned()

    @overload
    def __call__(self, query: str, texts: Iterable[str] | TokenEmbeddings, *, limit: int | None = None) -> Ranking: ...
    @overload
    def __call__(
        self, query: Queries, texts: Iterable[str] | TokenEmbeddings, *, limit: int | None = None
    ) -> list[Ranking]: ...
    def __call__(
        self, query: str | Queries, texts: Iterable[str] | TokenEmbeddings, *, limit: int | None = None
    ) -> Ranking | list[Ranking]:
        """Rank texts for one query or several.

        Args:
            query: A text, or a list of texts; with a list, ``texts`` are encoded only once.
            texts: Any iterable of texts, or the token embeddings of documents.
            limit: Maximum number of results per query; by default all.

        Returns:
            ``(index, score)`` by descending score, ties by index, where the index is the position in ``texts``; for a
            list of queries, a list of such lists.

        Raises:
            InvalidQueryError: If a query is empty or not a string.
            InvalidDocumentError: If an item of ``texts`` is not a string.
            ConfigurationError: If ``texts`` is a single string, or ``limit`` is less than 1.
        """
        limit = plain(limit)
        if limit is not None:
            require_int("limit", limit, minimum=1)
        if isinstance(texts, str):
            raise ConfigurationError(f"texts is a single string, {shown(texts, 80)}: pass a list of texts")
        if isinstance(texts, bytes | Mapping) or not holds(lambda: (iter(texts), True)):
            raise ConfigurationError(f"texts must be a list of texts, got {type(texts).__name__} {shown(texts)}")
        queries = _queries(query)
        _check_queries(queries)
        scores = self._scores(queries, texts) if queries else np.empty((0, 0), np.float32)
        rankings = [_ranking(row, limit) for row in scores]
        return rankings[0] if isinstance(query, str) else rankings

    def _scores(self, queries: list[str], texts: Iterable[str] | TokenEmbeddings) -> NDArray[np.float32]:
        tokens = self.encoder.encode_queries(queries)
        require_tokens("queries", tokens)
        self._warned.of_truncated_queries(type(self).__name__, tokens)
        parts = [np.empty((len(queries), 0), np.float32)]
        if isinstance(texts, TokenEmbeddings):
            parts.append(maxsim(tokens, texts, device=self.device))
        else:
            cut: list[int] = []
            count = 0
            for chunk in _chunks(texts):
                documents = self.encoder.encode_documents(chunk)
                parts.append(maxsim(tokens, documents, device=self.device))
                cut += [count + int(place) for place in np.flatnonzero(documents.truncated)]
                count += len(chunk)
            self._warned.of_truncated_documents(type(self).__name__, cut, among=count)
        scores = np.concatenate(parts, axis=1)
        if self.normalize:
            scores /= tokens.lengths[:, None]
        return scores


@runtime_checkable
class Searchable(Protocol):
    """An object with ``search(query, limit=…)``, such as a `ColbertCollection` or txtai's ``Embeddings``."""

    @property
    def search(self) -> Callable[..., Iterable[Any]]:
        """Find the best items for a query."""


class Reranker:
    """Retrieves extra items with one model, and reranks them with another.

    It is a drop-in replacement for txtai's ``Reranker``.

    Args:
        retriever: An object with ``search(query, limit=…)``, or a callable ``(query, limit)``. It returns items: texts,
            mappings with the key ``"text"``, or objects with the attribute ``text`` such as `SearchHit`.
        reranker: A `ColbertReranker`, or any callable ``(query, texts)`` that returns pairs ``(index, score)``.

    Example:
        >>> def retriever(query, limit):
        ...     return ["red", "green", "blue green"][:limit]
        >>> def shared_words(query, texts):
        ...     return [(i, len({*query.split()} & {*text.split()})) for i, text in enumerate(texts)]
        >>> Reranker(retriever, shared_words)("blue green", limit=2)
        [{'text': 'blue green', 'score': 2}, {'text': 'green', 'score': 1}]
    """

    def __init__(
        self,
        retriever: Searchable | Callable[..., Iterable[Any]],
        reranker: Callable[[str, list[str]], Iterable[tuple[int, float]]],
    ) -> None:
        if isinstance(retriever, type) or not (callable(retriever) or hasattr(retriever, "search")):
            raise ConfigurationError(
                "retriever must be an object with search(query, limit=…) or a function, got "
                f"{type(retriever).__name__} {shown(retriever)}"
            )
        if isinstance(reranker, type) or not callable(reranker):
            raise ConfigurationError(
                f"reranker must be a ColbertReranker or a function, got {type(reranker).__name__} {shown(reranker)}"
            )
        self.retriever = retriever
        self.reranker = reranker

    @overload
    def __call__(self, query: str, limit: int = 3, factor: int = 10, **kwargs: Any) -> list[Any]: ...
    @overload
    def __call__(self, query: Queries, limit: int = 3, factor: int = 10, **kwargs: Any) -> list[list[Any]]: ...
    def __call__(
        self, query: str | Queries, limit: int = 3, factor: int = 10, **kwargs: Any
    ) -> list[Any] | list[list[Any]]:
        """Retrieve and rerank, for one query or several.

        Args:
            query: A text, or a list of texts.
            limit: Maximum number of results per query.
            factor: ``limit × factor`` items are retrieved and reranked.
            **kwargs: Arguments that are passed on to the retriever.

        Returns:
            The retriever's items by descending score, ties in the retriever's order; for a list of queries, a list of
            such lists. Items are never changed in place. A mapping is returned as a ``dict`` with ``"score"`` set. An
            object with a ``score`` is returned as a copy with the new score, an object without one unchanged. A text
            becomes ``{"text": …, "score": …}``.

        Raises:
            InvalidQueryError: If a query is empty or not a string.
            InvalidDocumentError: If the retriever returned an item without text.
            ConfigurationError: If ``limit`` or ``factor`` is less than 1.
        """
        limit, factor = plain(limit), plain(factor)
        require_int("limit", limit, minimum=1)
        require_int("factor", factor, minimum=1)
        queries = _queries(query)
        _check_queries(queries)
        results = [self._rerank(text, limit, self._retrieve(text, limit * factor, kwargs)) for text in queries]
        return results[0] if isinstance(query, str) else results

    def _retrieve(self, query: str, limit: int, kwargs: dict[str, Any]) -> list[Any]:
        if isinstance(self.retriever, Searchable):
            found = self.retriever.search(query, limit=limit, **kwargs)
        else:
            found = self.retriever(query, limit, **kwargs)
        return _returned("retriever", found)

    def _rerank(self, query: str, limit: int, items: list[Any]) -> list[Any]:
        if not items:
            return []
        texts = [_text(number, item) for number, item in enumerate(items)]
        best_first = sorted(_returned("reranker", self.reranker(query, texts)), key=lambda pair: (-pair[1], pair[0]))
        return [_with_score(items[index], score) for index, score in best_first[:limit]]


def _returned(name: str, found: Any) -> list[Any]:
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        raise ConfigurationError(f"the {name} returned {type(found).__name__} {shown(found)}: it must return a list")
    return list(found)


def _queries(query: Any) -> list[str]:
    if not isinstance(query, str | list | tuple):
        raise InvalidQueryError(f"query must be a text or a list of texts, got {type(query).__name__} {shown(query)}")
    return [query] if isinstance(query, str) else list(query)


def _check_queries(queries: list[str]) -> None:
    for number, query in enumerate(queries):
        if not isinstance(query, str) or not query.strip():
            raise InvalidQueryError(f"query {number} is {shown(query, 80)}: pass a text that is not empty")
        require_text(f"query {number}", query, InvalidQueryError)


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    numbered = enumerate(texts)
    while chunk := list(islice(numbered, _CHUNK_TEXTS)):
        for number, text in chunk:
            if not isinstance(text, str):
                raise InvalidDocumentError(f"text {number} is {shown(text, 80)}: pass strings, or TokenEmbeddings")
        yield [text for _, text in chunk]


def _ranking(scores: NDArray[np.float32], limit: int | None) -> Ranking:
    order = np.argsort(-scores, kind="stable")[:limit]
    return list(zip(order.tolist(), scores[order].tolist(), strict=True))


def _text(number: int, item: Any) -> str:
    text = item.get("text") if isinstance(item, Mapping) else getattr(item, "text", item)
    if not isinstance(text, str):
        raise InvalidDocumentError(
            f"the retriever's item {number} has no text ({shown(item, 80)}): return texts, mappings with the key "
            "'text' or objects with the attribute 'text', and have the search return its stored content"
        )
    return text


def _with_score(item: Any, score: float) -> Any:
    if isinstance(item, str):
        return {"text": item, "score": score}
    if isinstance(item, Mapping):
        return {**item, "score": score}
    if not hasattr(item, "score"):
        return item
    if dataclasses.is_dataclass(item):
        return dataclasses.replace(cast("Any", item), score=score)
    twin = copy.copy(item)
    twin.score = score
    return twin
