"""Checks requests against the limits of strict mode before they are sent.

The limits are those of ``strict_mode_config`` (https://qdrant.tech/documentation/operations/administration), which
servers have since 1.13 and Qdrant Cloud sets by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from pydantic import BaseModel
from qdrant_client import models

from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.documents import Document

_LIFT: Final = "or lift it with client.update_collection(name, strict_mode_config=…)"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a collection; ``None`` for no limit.

    Attributes:
        query_limit: Most points that a search, each stage of it, or a page may ask for.
        hnsw_ef: Highest ``hnsw_ef``.
        oversampling: Highest oversampling.
        exact: Whether vectors without a graph may be searched.
        search_batch, upsert_batch: Most queries, and most points, of one request.
        rows: Most token vectors of a document.
        condition_size: Most values, ids among them, of one condition of a filter.
        unindexed_reads, unindexed_writes: Whether filters may be on payload keys without an index.
        indexed: Payload keys with an index.
        texts: Payload keys with an index of words.
    """

    query_limit: int | None = None
    hnsw_ef: int | None = None
    oversampling: float | None = None
    exact: bool = True
    search_batch: int | None = None
    upsert_batch: int | None = None
    rows: int | None = None
    condition_size: int | None = None
    unindexed_reads: bool = True
    unindexed_writes: bool = True
    indexed: frozenset[str] = field(default=frozenset())
    texts: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, info: models.CollectionInfo, token_vector: str) -> Self:
        """Read the limits from the description of a collection."""
        strict = info.config.strict_mode_config
        kinds = {key: index.data_type for key, index in info.payload_schema.items()}
        texts = frozenset(key for key, kind in kinds.items() if kind == models.PayloadSchemaType.TEXT)
        if strict is None or not strict.enabled:
            return cls(texts=texts)
        vectors: Any = strict.multivector_config or {}
        rows = vectors.get(token_vector)
        return cls(
            query_limit=strict.max_query_limit,
            hnsw_ef=strict.search_max_hnsw_ef,
            oversampling=strict.search_max_oversampling,
            exact=strict.search_allow_exact is not False,
            search_batch=strict.search_max_batchsize,
            upsert_batch=strict.upsert_max_batchsize,
            rows=None if rows is None else rows.max_vectors,
            condition_size=strict.condition_max_size,
            unindexed_reads=strict.unindexed_filtering_retrieve is not False,
            unindexed_writes=strict.unindexed_filtering_update is not False,
            indexed=frozenset(info.payload_schema),
            texts=texts,
        )

    def check_query_limit(self, **asked: int) -> None:
        """Raise if a search asks for more points than allowed.

        Raises:
            ConfigurationError: A number exceeds ``max_query_limit``.
        """
        for name, value in asked.items():
            if self.query_limit is not None and value > self.query_limit:
                raise ConfigurationError(
                    f"{name}={value} is more than the server's strict mode allows (max_query_limit="
                    f"{self.query_limit}): ask for fewer, {_LIFT}"
                )

    def check_exact(self) -> None:
        """Raise if MaxSim over every document is not allowed.

        Raises:
            ConfigurationError: Exact searches are forbidden.
        """
        if not self.exact:
            raise ConfigurationError(
                "the server's strict mode forbids exact searches (search_allow_exact=False): use mode='two-stage' in a "
                f"collection that is fitted, {_LIFT}"
            )

    def check_groups(self, by: str, *, points: int) -> None:
        """Raise if hits may not be grouped by a payload key.

        Raises:
            ConfigurationError: The key has no index, or the groups have too many points.
        """
        self.check_query_limit(**{"limit × group_size": points})
        self.check_filter(models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key=by))]))

    def check_filter(self, filter: models.Filter | None, *, writes: bool = False) -> None:
        """Raise if a filter is on a payload key without an index, where that is not allowed.

        Raises:
            ConfigurationError: A key has no index; the error names all such keys.
        """
        if self.unindexed_writes if writes else self.unindexed_reads:
            return
        indexed = {key.replace("[]", "") for key in self.indexed}  # older servers have keys of nested objects without
        missing = sorted({key for key in filter_keys(filter) if key.replace("[]", "") not in indexed})
        if missing:
            raise ConfigurationError(
                f"the server's strict mode allows filters on payload keys with an index only, and {missing} have none: "
                f"create them with client.create_payload_index(name, {missing[0]!r}, …), or a collection with "
                "CollectionConfig(payload_indexes={…})"
            )

    def check_words(self, keys: frozenset[str]) -> None:
        """Raise if words are looked for under payload keys without an index of words.

        Raises:
            ConfigurationError: A key has no such index; the error names the first one.
        """
        missing = sorted(keys - self.texts)
        if missing:
            raise ConfigurationError(
                f"where: {missing[0]!r} 'match' looks for words, for which this server needs an index of type 'text': "
                f"without one it looks for a part of the text. Create it with client.create_payload_index(name, "
                f"{missing[0]!r}, models.PayloadSchemaType.TEXT), or a collection with "
                f"CollectionConfig(payload_indexes={{{missing[0]!r}: 'text'}})"
            )

    def check_tokens(self, documents: Sequence[Document], lengths: NDArray[np.int64]) -> None:
        """Raise if a document has more token vectors than allowed.

        Raises:
            InvalidDocumentError: A document has too many; the error names the first one.
        """
        if self.rows is None or not (lengths > self.rows).any():
            return
        first = int(np.argmax(lengths > self.rows))
        raise InvalidDocumentError(
            f"document {documents[first].id!r} has {lengths[first]} token vectors, and the server's strict mode allows "
            f"{self.rows} (multivector_config): shorten it, have the encoder pool them (pool_factor), {_LIFT}"
        )


def filter_keys(condition: Any, prefix: str = "") -> Iterator[str]:
    """Return the payload keys of a filter or a part of one; those of nested objects as paths."""
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
