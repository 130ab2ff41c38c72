"""Strict mode: the limits of a collection, and what a server says where a request breaks one."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.server.filters import conditions
from tests.server.queries import levels
from tests.server.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MINUTE: Final = 60.0


@dataclass
class Limits:
    """The strict mode of one collection.

    Attributes:
        config: The setting, as it was sent.
        left: What is left of each rate limit, and when that was reckoned.
    """

    config: dict[str, Any] = field(default_factory=dict)
    left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def change(self, config: Mapping[str, Any]) -> None:
        self.config |= config
        self.left.clear()

    def limit(self, name: str) -> Any:
        return self.config.get(name) if self.config.get("enabled") else None

    def check_read(self, body: Mapping[str, Any], *, timeout: int | None = None, indexed: Iterable[str] = ()) -> None:
        """One that reads: a query, a count, a scroll."""
        for each in levels(dict(body)):
            self._at_most("max_query_limit", each.get("limit"), "limit")
            params = each.get("params") or {}
            self._at_most("search_max_hnsw_ef", params.get("hnsw_ef"), "hnsw_ef")
            self._at_most(
                "search_max_oversampling", (params.get("quantization") or {}).get("oversampling"), "oversampling"
            )
            if (params.get("exact") or each.get("exact")) and self.limit("search_allow_exact") is False:
                raise bad_request("Exact search disabled!. Help: Set exact=false.")
            self._check_filter(each.get("filter"), "unindexed_filtering_retrieve", indexed)
        self._at_most("max_timeout", timeout, "timeout")
        self._spend("read", 1)

    def check_batch(self, size: int) -> None:
        self._at_most("search_max_batchsize", size, "search batch size")

    def check_update(self, wanted: Any, cost: int = 1, *, indexed: Iterable[str] = ()) -> None:
        """One that changes points that a filter chooses, or ids."""
        self._check_filter(wanted, "unindexed_filtering_update", indexed)
        self._spend("write", cost)

    def check_upsert(self, points: Sequence[Mapping[str, Any]]) -> None:
        self._at_most("upsert_max_batchsize", len(points), "upsert limit")
        for point in points:
            vectors = point.get("vector")
            for name, value in (vectors if isinstance(vectors, dict) else {"": vectors}).items():
                self._check_vector(name, value)
        self._spend("write", len(points))

    def check_indexes(self, indexed: Iterable[str], key: str) -> None:
        most, others = self.limit("max_payload_index_count"), set(indexed) - {key}
        if most is not None and len(others) >= most:
            raise bad_request(
                f"Collection already has the maximum number of payload indices ({most}). Help: Please delete an "
                "existing index before creating a new one."
            )

    def _at_most(self, name: str, value: float | None, of: str) -> None:
        most = self.limit(name)
        if most is not None and value is not None and value > most:
            raise bad_request(
                f'Limit exceeded {value} > {most} for "{of}". Help: Reduce the "{of}" parameter to or below {most}.'
            )

    def _check_filter(self, wanted: Any, unindexed: str, indexed: Iterable[str]) -> None:
        found = list(conditions(wanted or {}))
        most, size = self.limit("filter_max_conditions"), self.limit("condition_max_size")
        if most is not None and len(found) > most:
            text = f"Filter condition limit reached ({len(found)} > {most}). Help: Reduce the amount of conditions of"
            raise bad_request(f"{text} your filter.")
        for each in found:
            match = each.get("match") or {}
            length = len(each.get("has_id") or match.get("any") or match.get("except") or ())
            if size is not None and length > size:
                text = f"Condition size limit reached ({length} > {size}). Help: Reduce the size of your condition."
                raise bad_request(text)
            if self.limit(unindexed) is False and "key" in each and each["key"] not in indexed:
                raise bad_request(
                    f'Index required but not found for "{each["key"]}" of one of the following types: '
                    f"[{_index_for(each)}]. Help: Create an index for this key or use a different filter."
                )

    def _check_vector(self, name: str, value: Any) -> None:
        rows = (self.limit("multivector_config") or {}).get(name, {}).get("max_vectors")
        if rows is not None and isinstance(value, list) and len(value) > rows and isinstance(value[0], list):
            text = f"Multivector '{name}' has a limit of {rows} vectors, but {len(value)} were provided!"
            raise bad_request(text)
        length = (self.limit("sparse_config") or {}).get(name, {}).get("max_length")
        if length is not None and isinstance(value, dict) and len(value.get("indices", ())) > length:
            text = f"Sparse vector '{name}' has a limit of {length} indices, but {len(value['indices'])} were provided!"
            raise bad_request(text)

    def _spend(self, kind: str, cost: int) -> None:
        rate = self.limit(f"{kind}_rate_limit")
        if rate is None:
            return
        said = f"Rate limiting exceeded: {kind.capitalize()} rate limit exceeded"
        if cost > rate:
            text = "request larger than rate limiter capacity, please try to split your request"
            raise RefusedError(429, f"{said}, {text}")
        now = time.monotonic()
        left, before = self.left.get(kind, (float(rate), now))
        left = min(float(rate), left + (now - before) * rate / MINUTE)
        if left < cost:
            wait = math.ceil((cost - left) * MINUTE / rate)
            tokens = f"Operation requires {cost} tokens but only {left:.1f} were available"
            raise RefusedError(429, f"{said}: {tokens}. Retry after {wait}s", retry_after=wait)
        self.left[kind] = (left - cost, now)


def _index_for(condition: Mapping[str, Any]) -> str:
    """The type of index that a condition needs."""
    match = condition.get("match")
    if match is None:
        return "integer, float" if "range" in condition else "keyword"
    value = next(iter(match.values()))
    first = value[0] if isinstance(value, list) and value else value
    if "text" in match:
        return "text"
    return {bool: "bool", int: "integer"}.get(type(first), "keyword")
