"""Strict mode, as a server of version 1.19 has it: what it refuses, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults.server import Answer, failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def refusal(strict: Mapping[str, Any], indexed: Mapping[str, Any], rest: str, body: dict[str, Any]) -> Answer | None:
    """Return what a request about points is refused with; ``None``: it is allowed.

    Args:
        strict: The limits.
        indexed: The payload keys with an index.
        rest: The path after the collection's name.
        body: The request.
    """
    if not strict.get("enabled", True):
        return None
    if rest in _WRITES and _cost(body) > strict.get("write_rate_limit", 10**9):
        return over_budget("Write")
    said = next(_problems(strict, indexed, rest, body), None)
    return None if said is None else failing(400, f"Bad request: {said}")


_WRITES = (
    "points",
    "points/vectors",
    "points/delete",
    "points/vectors/delete",
    "points/payload",
    "points/payload/delete",
)


def _cost(body: dict[str, Any]) -> int:
    """What a write costs: each point, and as many as there may be where a filter does not name them."""
    if "ids" in body:
        return 0  # a read
    if "points" in body:
        return len(body["points"] or [])
    named = [each["has_id"] for each in _conditions(body["filter"]) if "has_id" in each]
    return min(map(len, named), default=1_000)


def over_budget(kind: str) -> Answer:
    """What a request is answered with that costs more than a minute allows; there is no ``Retry-After``."""
    return failing(
        429,
        f"Rate limiting exceeded: {kind} rate limit exceeded, request larger than rate limiter capacity, please try to "
        "split your request",
    )


def _problems(strict: Mapping[str, Any], indexed: Mapping[str, Any], rest: str, body: dict[str, Any]) -> Iterator[str]:
    if rest == "points/query/batch":
        yield from _exceeded(strict, "search_max_batchsize", len(body["searches"]), "search batch size")
    if rest in ("points", "points/vectors") and "points" in body:
        word = "upsert limit" if rest == "points" else "update limit"
        yield from _exceeded(strict, "upsert_max_batchsize", len(body["points"]), word)
        for point in body["points"]:
            yield from _vectors(strict, point["vector"])
    if rest == "points/count":
        yield from _exact(strict, exact=body.get("exact", True))
    for part in _parts(body):
        if "group_by" in part:
            size = part.get("limit", 10) * part.get("group_size", 3)
            yield from _exceeded(strict, "max_query_limit", size, "limit")
        elif rest != "points/count" and "limit" in part:
            yield from _exceeded(strict, "max_query_limit", part["limit"], "limit")
        params = part.get("params") or {}
        yield from _exceeded(strict, "search_max_hnsw_ef", params.get("hnsw_ef"), "hnsw_ef")
        oversampling = (params.get("quantization") or {}).get("oversampling")
        yield from _exceeded(strict, "search_max_oversampling", oversampling, "oversampling")
        yield from _exact(strict, exact=params.get("exact"))
        reads = not rest.endswith(("delete", "payload"))
        allowed = strict.get("unindexed_filtering_retrieve" if reads else "unindexed_filtering_update")
        yield from _filter(strict, indexed if allowed is False else None, part.get("filter"))


def _parts(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A request with all of its searches, and their prefetches."""
    yield request
    inner = request.get("prefetch") or []
    for each in [*request.get("searches", []), *(inner if isinstance(inner, list) else [inner])]:
        yield from _parts(each)


def _exceeded(strict: Mapping[str, Any], name: str, value: Any, word: str) -> Iterator[str]:
    limit = strict.get(name)
    if limit is not None and value is not None and value > limit:
        yield f'Limit exceeded {value} > {limit} for "{word}". Help: Reduce the "{word}" parameter to or below {limit}.'


def _exact(strict: Mapping[str, Any], *, exact: Any) -> Iterator[str]:
    if exact and strict.get("search_allow_exact") is False:
        yield "Exact search disabled!. Help: Set exact=false."


def _vectors(strict: Mapping[str, Any], vectors: Any) -> Iterator[str]:
    for name, limits in (strict.get("multivector_config") or {}).items():
        rows = len(vectors.get(name, []))
        if rows > limits["max_vectors"]:
            most = limits["max_vectors"]
            yield f"Multivector '{name}' has a limit of {most} vectors, but {rows} were provided!"
    for name, limits in (strict.get("sparse_config") or {}).items():
        length = len(vectors.get(name, {}).get("indices", []))
        if length > limits["max_length"]:
            most = limits["max_length"]
            yield f"Sparse vector '{name}' has a limit of {most} indices, but {length} were provided!"


def _filter(strict: Mapping[str, Any], indexed: Mapping[str, Any] | None, filter: Any) -> Iterator[str]:
    conditions = list(_conditions(filter))
    for key in (each.get("key") for each in conditions if indexed is not None):
        if key is not None and key not in (indexed or {}):
            yield (
                f'Index required but not found for "{key}" of one of the following types: [integer]. Help: Create an '
                "index for this key or use a different filter."
            )
    most, size = strict.get("filter_max_conditions"), strict.get("condition_max_size")
    if most is not None and len(conditions) > most:
        yield (
            f"Filter condition limit reached ({len(conditions)} > {most}). Help: Reduce the amount of conditions of "
            "your filter."
        )
    largest = max(map(_size, conditions), default=0)
    if size is not None and largest > size:
        yield f"Condition size limit reached ({largest} > {size}). Help: Reduce the size of your condition."


def _conditions(filter: Any) -> Iterator[dict[str, Any]]:
    """All conditions of a filter that are not filters themselves."""
    if not filter:
        return
    for kind in ("must", "must_not", "should", "min_should"):
        found: Any = filter.get(kind) or []
        found = found["conditions"] if kind == "min_should" and found else found
        for each in found if isinstance(found, list) else [found]:
            if "nested" in each:
                yield from _conditions(each["nested"]["filter"])
            elif {"must", "must_not", "should", "min_should"} & each.keys():
                yield from _conditions(each)
            else:
                yield each


def _size(condition: dict[str, Any]) -> int:
    match = condition.get("match") or {}
    return len(condition.get("has_id") or match.get("any") or match.get("except") or [])
