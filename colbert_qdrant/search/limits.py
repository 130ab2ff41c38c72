"""Checks requests against the limits of strict mode before they are sent.

``strict_mode_config`` sets the limits (https://qdrant.tech/documentation/operations/administration). Servers have it
since 1.13, and Qdrant Cloud sets it by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, get_args

import numpy as np
from pydantic import BaseModel
from qdrant_client import models

from colbert_qdrant.config.names import same_path
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.documents import Document
    from colbert_qdrant.vectors import Vector

_LIFT: Final = "or lift it with client.update_collection(name, strict_mode_config=…)"
_CONDITIONS: Final = get_args(models.Condition)
_ORDERED: Final[dict[str, str]] = {
    models.PayloadSchemaType.INTEGER: "numbers",
    models.PayloadSchemaType.FLOAT: "numbers",
    models.PayloadSchemaType.DATETIME: "times",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a collection; ``None`` means no limit.

    Attributes:
        query_limit: Maximum number of points that a search, a stage of it, or a page may request.
        hnsw_ef: Maximum ``hnsw_ef``.
        oversampling: Maximum oversampling.
        exact: Whether vectors without a graph may be searched.
        search_batch, upsert_batch: Maximum number of queries, and of points, per request. The lower of the batch limit
            and the rate limit applies.
        rows: Maximum number of token vectors per document.
        sparse_lengths: Maximum number of values in a document's sparse vector, by vector name.
        conditions: Maximum number of conditions in a filter.
        condition_size: Maximum number of values, including ids, in one condition.
        unindexed_reads, unindexed_writes: Whether filters may use payload keys without an index.
        conditional_writes: Whether every write may have two conditions on payload keys without an index.
        indexed: Payload keys with an index.
        texts: Payload keys with a full-text index.
        unspaced: Payload keys whose index splits texts without spaces between words.
        ordered: Payload keys with an index of ``"numbers"`` or ``"times"``, each with its kind.
    """

    query_limit: int | None = None
    hnsw_ef: int | None = None
    oversampling: float | None = None
    exact: bool = True
    search_batch: int | None = None
    upsert_batch: int | None = None
    rows: int | None = None
    sparse_lengths: tuple[tuple[str, int], ...] = ()
    conditions: int | None = None
    condition_size: int | None = None
    unindexed_reads: bool = True
    unindexed_writes: bool = True
    conditional_writes: bool = True
    indexed: frozenset[str] = field(default=frozenset())
    texts: frozenset[str] = field(default=frozenset())
    unspaced: frozenset[str] = field(default=frozenset())
    ordered: frozenset[tuple[str, str]] = field(default=frozenset())

    @classmethod
    def of(cls, info: models.CollectionInfo, token_vector: str) -> Self:
        """Read the limits from the description of a collection."""
        strict = info.config.strict_mode_config
        kinds = {same_path(key): index.data_type for key, index in info.payload_schema.items()}
        texts = frozenset(key for key, kind in kinds.items() if kind == models.PayloadSchemaType.TEXT)
        unspaced = frozenset(
            same_path(key)
            for key, index in info.payload_schema.items()
            if getattr(index.params, "tokenizer", None) == models.TokenizerType.MULTILINGUAL
        )
        ordered = frozenset((key, _ORDERED[kind]) for key, kind in kinds.items() if kind in _ORDERED)
        if strict is None or not strict.enabled:
            return cls(texts=texts, unspaced=unspaced, ordered=ordered)
        vectors: Any = strict.multivector_config or {}
        rows = vectors.get(token_vector)
        sparse = [(name, each.max_length) for name, each in (strict.sparse_config or {}).items()]
        return cls(
            query_limit=strict.max_query_limit,
            hnsw_ef=strict.search_max_hnsw_ef,
            oversampling=strict.search_max_oversampling,
            exact=strict.search_allow_exact is not False,
            search_batch=_lowest(strict.search_max_batchsize, strict.read_rate_limit),
            upsert_batch=_lowest(strict.upsert_max_batchsize, strict.write_rate_limit),
            rows=None if rows is None else rows.max_vectors,
            sparse_lengths=tuple((name, length) for name, length in sparse if length is not None),
            conditions=strict.filter_max_conditions,
            condition_size=strict.condition_max_size,
            unindexed_reads=strict.unindexed_filtering_retrieve is not False,
            unindexed_writes=strict.unindexed_filtering_update is not False,
            conditional_writes=strict.unindexed_filtering_update is not False
            and strict.write_rate_limit is None  # this limit counts conditions
            and (strict.filter_max_conditions is None or strict.filter_max_conditions >= 2),
            indexed=frozenset(kinds),
            texts=texts,
            unspaced=unspaced,
            ordered=ordered,
        )

    def check_query_limit(self, **asked: int) -> None:
        """Check how many points a search requests.

        Raises:
            ConfigurationError: If a number exceeds ``max_query_limit``.
        """
        for name, value in asked.items():
            if self.query_limit is not None and value > self.query_limit:
                raise ConfigurationError(
                    f"{name}={value} exceeds the limit of the server's strict mode (max_query_limit="
                    f"{self.query_limit}): ask for fewer, {_LIFT}"
                )

    def check_exact(self) -> None:
        """Check that MaxSim over every document is allowed.

        Raises:
            ConfigurationError: If exact searches are forbidden.
        """
        if not self.exact:
            raise ConfigurationError(
                "the server's strict mode forbids exact searches (search_allow_exact=False): use mode='two-stage' on a "
                f"fitted collection, {_LIFT}"
            )

    def check_params(self, params: models.SearchParams | None) -> None:
        """Check the parameters of a search.

        Raises:
            ConfigurationError: If ``hnsw_ef``, oversampling or ``exact`` is not allowed.
        """
        if params is None:
            return
        oversampling = None if params.quantization is None else params.quantization.oversampling
        for name, value, limit, setting in (
            ("hnsw_ef", params.hnsw_ef, self.hnsw_ef, "search_max_hnsw_ef"),
            ("quantization.oversampling", oversampling, self.oversampling, "search_max_oversampling"),
        ):
            if value is not None and limit is not None and value > limit:
                raise ConfigurationError(
                    f"params.{name}={value} exceeds the limit of the server's strict mode ({setting}={limit}): lower "
                    f"it, {_LIFT}"
                )
        if params.exact and not self.exact:
            raise ConfigurationError(
                "the server's strict mode forbids exact searches (search_allow_exact=False): omit params.exact, "
                f"{_LIFT}"
            )

    def check_formula(self, formula: models.FormulaQuery) -> None:
        """Check that a formula uses indexed payload keys only, if the server requires that.

        Raises:
            ConfigurationError: If a key has no index; the error names all such keys.
        """
        if not self.unindexed_reads:
            self._check_indexed(formula_keys(formula.formula), "formulas")

    def check_groups(self, by: str, *, points: int) -> None:
        """Check that hits may be grouped by a payload key.

        Raises:
            ConfigurationError: If the key has no index, or the groups have too many points.
        """
        self.check_query_limit(**{"limit × group_size": points})
        if not self.unindexed_reads:
            self._check_indexed([by], "groups")

    def check_filter(self, filter: models.Filter | None, *, writes: bool = False) -> None:
        """Check the keys and the size of a filter.

        Raises:
            ConfigurationError: If a key without an index is not allowed; the error names all such keys. Also if the
                filter has too many conditions, or a condition has too many values.
        """
        if not (self.unindexed_writes if writes else self.unindexed_reads):
            self._check_indexed(filter_keys(filter), "filters")
        conditions = list(conditions_of(filter))
        size = max(map(_size_of, conditions), default=0)
        for count, of, limit, setting in (
            (len(conditions), "conditions", self.conditions, "filter_max_conditions"),
            (size, "values in one condition", self.condition_size, "condition_max_size"),
        ):
            if limit is not None and count > limit:
                raise ConfigurationError(
                    f"the filter has {count} {of}, but the server's strict mode allows {limit} ({setting}): use fewer, "
                    f"split the request, {_LIFT}"
                )

    def _check_indexed(self, keys: Iterable[str], kind: str) -> None:
        indexed = {key.replace("[]", "") for key in self.indexed}  # older servers report nested keys without "[]"
        missing = sorted({key for key in keys if key.replace("[]", "") not in indexed})
        if missing:
            raise ConfigurationError(
                f"the server's strict mode allows {kind} only on indexed payload keys, and {missing} have no index: "
                f"create one with client.create_payload_index(name, {missing[0]!r}, …), or create the collection with "
                "CollectionConfig(payload_indexes={…})"
            )

    def check_words(self, keys: frozenset[str]) -> None:
        """Check that ``match`` is used only on payload keys with a full-text index.

        Raises:
            ConfigurationError: If a key has no such index; the error names the first such key.
        """
        missing = sorted(keys - self.texts)
        if missing:
            raise ConfigurationError(
                f"where: {missing[0]!r} 'match' searches for words, and this server needs an index of type 'text' for "
                f"that (without it, it matches substrings): create one with client.create_payload_index(name, "
                f"{missing[0]!r}, models.PayloadSchemaType.TEXT), or create the collection with "
                f"CollectionConfig(payload_indexes={{{missing[0]!r}: 'text'}})"
            )

    def check_unspaced(self, keys: frozenset[str]) -> None:
        """Check that the index of a key can split texts without spaces, if ``match`` searches for such words.

        Raises:
            ConfigurationError: If a key has no such index; the error names the first such key.
        """
        missing = sorted(keys - self.unspaced)
        if missing:
            raise ConfigurationError(
                f"where: {missing[0]!r} 'match' searches for words of a language without spaces, and only an index "
                "with the multilingual tokenizer finds such words: replace the key's index with "
                f"client.create_payload_index(name, {missing[0]!r}, models.TextIndexParams(type='text', "
                "tokenizer='multilingual', lowercase=True))"
            )

    def check_compared(self, keys: frozenset[tuple[str, str]], indexes: Mapping[str, str]) -> None:
        """Check that a filter compares numbers and times only where the index has the same kind.

        Args:
            keys: Each payload key, with ``"numbers"`` or ``"times"`` that it is compared with.
            indexes: The indexes in the collection's settings, and their types.

        Raises:
            ConfigurationError: If the kinds differ: engines would read a time as its microseconds since 1970.
        """
        own = {key: _ORDERED[kind] for key, kind in indexes.items() if kind in _ORDERED}
        kinds = own | dict(self.ordered)
        for key, kind in sorted(keys):
            if kinds.get(key, kind) != kind:
                raise ConfigurationError(
                    f"where: {key!r} is compared with {kind}, but its index is for {kinds[key]}, and the engine would "
                    f"read a time as a number of microseconds: compare with {kinds[key]}, or delete the index with "
                    f"client.delete_payload_index(name, {key!r})"
                )

    def check_tokens(self, documents: Sequence[Document], lengths: NDArray[np.int64]) -> None:
        """Check the number of token vectors of documents.

        Raises:
            InvalidDocumentError: If a document has too many; the error names the first such document.
        """
        if self.rows is None or not (lengths > self.rows).any():
            return
        first = int(np.argmax(lengths > self.rows))
        raise InvalidDocumentError(
            f"document {documents[first].id!r} has {lengths[first]} token vectors, but the server's strict mode allows "
            f"{self.rows} (multivector_config): shorten it, pool its vectors with the encoder's pool_factor, {_LIFT}"
        )

    def check_sizes(self, document: Document, tokens: int, vectors: Mapping[str, Vector]) -> None:
        """Check the number of token vectors of a document, and the number of values in its sparse vectors.

        Raises:
            InvalidDocumentError: If a number exceeds its limit; the error names the document.
        """
        self.check_tokens([document], np.array([tokens]))
        for name, most in self.sparse_lengths:
            vector = vectors.get(name)
            if isinstance(vector, SparseVector) and vector.indices.size > most:
                raise InvalidDocumentError(
                    f"document {document.id!r} has {vector.indices.size} values in its sparse vector {name!r}, "
                    f"but the server's strict mode allows {most} (sparse_config): shorten it, {_LIFT}"
                )


def _lowest(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def conditions_of(condition: Any) -> Iterator[Any]:
    """Return all conditions of a filter that are not filters themselves: servers count these."""
    if isinstance(condition, models.NestedCondition):
        yield from conditions_of(condition.nested.filter)
    elif isinstance(condition, models.Filter):
        several = condition.min_should
        for each in (condition.must, condition.must_not, condition.should, several and several.conditions):
            for one in each if isinstance(each, list) else [each] if each else []:
                yield from conditions_of(one)
    elif condition is not None:
        yield condition


def _size_of(condition: Any) -> int:
    """Count the values of a condition as servers do."""
    match = getattr(condition, "match", None)
    return len(
        getattr(condition, "has_id", None) or getattr(match, "any", None) or getattr(match, "except_", None) or []
    )


def formula_keys(expression: Any) -> Iterator[str]:
    """Return the payload keys of a formula or a part of one."""
    if isinstance(expression, str):
        if not expression.startswith("$"):
            yield expression
    elif isinstance(expression, list):
        for each in expression:
            yield from formula_keys(each)
    elif isinstance(expression, models.DatetimeKeyExpression):
        yield expression.datetime_key
    elif isinstance(expression, models.GeoDistanceParams):
        yield expression.to
    elif isinstance(expression, _CONDITIONS):
        yield from filter_keys(expression)
    elif isinstance(expression, BaseModel) and not isinstance(expression, models.DatetimeExpression):
        for _, each in expression:
            yield from formula_keys(each)


def filter_keys(condition: Any, prefix: str = "") -> Iterator[str]:
    """Return the payload keys of a filter or a part of one, with paths for the keys of nested objects."""
    if isinstance(condition, list):
        for each in condition:
            yield from filter_keys(each, prefix)
    if not isinstance(condition, BaseModel):
        return
    nested = getattr(condition, "nested", None)
    if nested is not None:
        yield from filter_keys(nested.filter, f"{prefix}{nested.key.removesuffix('[]')}[].")
        return
    key = getattr(condition, "key", None)
    if isinstance(key, str):
        yield prefix + key
        return
    for name in type(condition).model_fields:
        yield from filter_keys(getattr(condition, name), prefix)
