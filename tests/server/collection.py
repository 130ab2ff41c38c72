"""One collection of the model: a shard of the embedded engine, and what a server keeps beside it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import qdrant_edge as edge
from pydantic import TypeAdapter
from qdrant_client import models
from qdrant_client.http.models import QueryResponse

from colbert_qdrant.config.names import same_path
from colbert_qdrant.edge.groups import GroupSearch
from colbert_qdrant.edge.params import edge_config, stored_params
from colbert_qdrant.edge.payload_index import edge_schema
from colbert_qdrant.edge.vector_changes import creation_operation
from tests.server.filters import check_path, engine_filter
from tests.server.limits import Limits
from tests.server.queries import engine_request, order, unset_variable, with_payload, with_vector
from tests.server.refusals import RefusedError, bad_format, engine_says, not_found, too_small, wrong_input
from tests.server.settings import settings, vector_params
from tests.server.vectors import check_fits, named_vectors, point_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Body = dict[str, Any]

OPERATION: Final = edge.UpdateOperation
_MODES: Final = {
    "upsert": edge.UpdateMode.Upsert,
    "insert_only": edge.UpdateMode.InsertOnly,
    "update_only": edge.UpdateMode.UpdateOnly,
}
_SCHEMA: TypeAdapter[models.PayloadSchemaParams] = TypeAdapter(models.PayloadSchemaParams)
_MOST_LEVELS: Final = 127
_PANIC: Final = (
    'panicked with message "called `Result::unwrap()` on an `Err` value: Error(\\"recursion limit exceeded\\", '
    'line: 1, column: 770)"'
)


class Collection:
    """One collection. Every method takes JSON and gives what is the result of an answer.

    Attributes:
        config: What it was created with, and what was changed of it.
        folder: Where it is kept.
        indexes: Payload key → the schema of its index.
        limits: Its strict mode.
    """

    def __init__(self, folder: Path, config: Body) -> None:
        self.config = config
        self.folder = folder
        self.indexes: dict[str, Any] = {}
        self.limits = Limits(dict(config.get("strict_mode_config") or {}))
        self._operations = 0
        self._unreadable: set[int | str] = set()
        known = {name: config[name] for name in _FOR_ENGINE if config.get(name)}
        optimizers = known.get("optimizers_config") or {}
        known["optimizers_config"] = {"default_segment_number": 2} | {
            name: value for name, value in optimizers.items() if name in _OPTIMIZERS and value
        }
        if not (known.get("vectors") or known.get("sparse_vectors")):
            known["sparse_vectors"] = {"none": {}}  # which the engine wants and nobody sees
        made = edge_config(stored_params(known))
        self._shard = edge.EdgeShard.create(str(folder), made)

    def close(self) -> None:
        self._shard.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The files are not in use meanwhile."""
        self._shard.close()
        yield
        self._shard = edge.EdgeShard.load(str(self.folder))

    def done(self, *, wait: bool) -> Body:
        """What every write is answered with."""
        self._operations += 1
        return {"operation_id": self._operations, "status": "completed" if wait else "acknowledged"}

    def info(self) -> Body:
        shard = self._shard.info()
        schemas = {same_path(key): schema for key, schema in self.indexes.items()}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": shard.indexed_vectors_count,
            "points_count": shard.points_count,
            "segments_count": shard.segments_count,
            "config": settings(self.config, self.limits.config),
            "payload_schema": {
                name: _described(schemas[same_path(name)], index.points) for name, index in shard.payload_schema.items()
            },
            "update_queue": {"length": 0},
        }

    # Vectors and indexes

    def add_vector(self, name: str, body: Body) -> None:
        kind, params = ("vectors", body["dense"]) if "dense" in body else ("sparse_vectors", body["sparse"])
        params = {key: value for key, value in params.items() if key in _OF_ADDED}
        vectors = vector_params(self.config) if kind == "vectors" else dict(self.config.get(kind) or {})
        if name in vectors:
            return
        self.config[kind] = vectors | {name: params}
        with engine_says():
            self._shard.update(creation_operation(self.config, name))

    def remove_vector(self, name: str) -> None:
        for kind in ("vectors", "sparse_vectors"):
            vectors = vector_params(self.config) if kind == "vectors" else dict(self.config.get(kind) or {})
            if vectors.pop(name, None) is not None:
                self.config[kind] = vectors
                with engine_says():
                    self._shard.update(OPERATION.delete_vector_name(name))

    def add_index(self, key: str, schema: Any) -> None:
        self.limits.check_indexes(self.indexes, key)
        made = edge_schema(schema if isinstance(schema, str) else _SCHEMA.validate_python(schema))
        with engine_says():
            self._shard.update(OPERATION.create_field_index(key, made))
        self.indexes[key] = schema

    def remove_index(self, key: str) -> None:
        if self.indexes.pop(key, None) is not None:
            self._shard.update(OPERATION.delete_field_index(key))

    # Writing

    def upsert(self, body: Body) -> None:
        points = _points(body)
        made = []
        for number, each in enumerate(points):
            id, payload = point_id(each["id"]), each.get("payload")
            if not isinstance(payload, dict | None):
                raise bad_format("invalid type: sequence, expected a map", position="")
            made.append(edge.Point(id, named_vectors(each.get("vector"), f"points[{number}]"), payload))
        self.limits.check_upsert(points)
        self._check_vectors(made)
        condition = self._filter(body.get("update_filter"))
        mode = _MODES[body.get("update_mode") or "upsert"]
        self._unreadable -= {each.id for each in made}
        with engine_says():
            self._shard.update(OPERATION.upsert_points(made, condition, mode))

    def update_vectors(self, body: Body) -> None:
        changes = [
            edge.PointVectors(point_id(each["id"]), named_vectors(each["vector"], f"points[{number}]"))
            for number, each in enumerate(body["points"])
        ]
        self.limits.check_update(None, len(changes))
        self._check_vectors(changes)
        with engine_says():
            self._shard.update(OPERATION.update_vectors(changes, self._filter(body.get("update_filter"))))

    def delete_vectors(self, body: Body) -> None:
        self._select(body, OPERATION.delete_vectors, OPERATION.delete_vectors_by_filter, body["vector"])

    def set_payload(self, body: Body) -> None:
        key = body.get("key")
        if key is not None:
            check_path(key)
            if key.count(".") + 1 > _MOST_LEVELS:
                self._unreadable.update(body.get("points") or ())
                raise RefusedError(500, f"Service internal error: task 1 {_PANIC}")
        self._select(body, OPERATION.set_payload, OPERATION.set_payload_by_filter, body["payload"], key)

    def overwrite_payload(self, body: Body) -> None:
        self._unreadable.difference_update(body.get("points") or ())
        self._select(body, OPERATION.overwrite_payload, OPERATION.overwrite_payload_by_filter, body["payload"])

    def delete_payload(self, body: Body) -> None:
        self._select(body, OPERATION.delete_payload, OPERATION.delete_payload_by_filter, body["keys"])

    def clear_payload(self, body: Body) -> None:
        self._select(body, OPERATION.clear_payload, OPERATION.clear_payload_by_filter)

    def delete(self, body: Body) -> None:
        self._select(body, OPERATION.delete_points, OPERATION.delete_points_by_filter)

    # Reading

    def query(self, body: Body, *, timeout: int | None = None) -> Body:
        return self.query_batch([body], timeout=timeout)[0]

    def query_batch(self, searches: list[Body], *, timeout: int | None = None) -> list[Body]:
        self.limits.check_batch(len(searches))
        for each in searches:
            self.limits.check_read(each, timeout=timeout, indexed=self.indexes)
        found = zip(searches, self._search(searches), strict=True)
        return [
            {"points": [_record(point, bare=not body.get("with_vector")) for point in points]} for body, points in found
        ]

    def query_groups(self, body: Body, *, timeout: int | None = None) -> Body:
        self.limits.check_read(body, timeout=timeout, indexed=self.indexes)
        fields = models.QueryRequest.model_fields
        request = models.QueryRequest(**{name: value for name, value in body.items() if name in fields})
        request.with_payload = with_payload(body.get("with_payload"), default=False)
        request.with_vector = with_vector(body.get("with_vector"))
        size, most = body.get("group_size") or 3, body.get("limit") or 10
        with engine_says():
            found = GroupSearch(_Source(self), request, group_by=body["group_by"], limit=most, group_size=size)
            groups = found.result().groups
        return {"groups": [{"hits": [_plain(hit) for hit in each.hits], "id": each.id} for each in groups]}

    def scroll(self, body: Body, *, timeout: int | None = None) -> Body:
        if body.get("limit") == 0:
            raise too_small("scroll_request.limit", 0, 1)
        self.limits.check_read(body, timeout=timeout, indexed=self.indexes)
        with engine_says():
            records, offset = self._shard.scroll(
                edge.ScrollRequest(
                    offset=body.get("offset"),
                    limit=body.get("limit") or 10,
                    filter=self._filter(body.get("filter")),
                    with_payload=with_payload(body.get("with_payload"), default=True),
                    with_vector=with_vector(body.get("with_vector")),
                    order_by=order(body["order_by"]) if body.get("order_by") else None,
                )
            )
        self._check_readable([each.id for each in records])
        return {"points": [_record(each) for each in records], "next_page_offset": _id(offset)}

    def retrieve(self, body: Body) -> list[Body]:
        self.limits.check_read({})
        ids = [point_id(each) for each in body["ids"]]
        self._check_readable(ids)
        return [_record(each) for each in self._records(ids, body)]

    def count(self, body: Body, *, timeout: int | None = None) -> Body:
        exact = body.get("exact", True)
        self.limits.check_read({**body, "exact": exact}, timeout=timeout, indexed=self.indexes)
        with engine_says():
            request = edge.CountRequest(exact=exact, filter=self._filter(body.get("filter")))
            return {"count": self._shard.count(request)}

    def facet(self, body: Body) -> Body:
        request = edge.FacetRequest(
            body["key"], body.get("limit") or 10, body.get("exact", False), self._filter(body.get("filter"))
        )
        with engine_says():
            return {"hits": [{"value": hit.value, "count": hit.count} for hit in self._shard.facet(request).hits]}

    # Inside

    def _search(self, searches: list[Body]) -> list[list[edge.ScoredPoint]]:
        with engine_says():
            requests = [engine_request(each, self._vector_of, self._filter) for each in searches]
            try:
                return self._shard.query_batch(edge.QueryBatchRequest(requests))
            except Exception as error:
                unset = next(filter(None, map(unset_variable, searches)), None)
                if unset is None or "cancelled" not in str(error):
                    raise
                text = f"Expected number value for {unset} in the payload and/or in the formula defaults. Error: "
                raise wrong_input(f"{text}No value found in a payload nor defaults") from error

    def _filter(self, wanted: Body | None) -> edge.Filter | None:
        words = {key for key, schema in self.indexes.items() if _kind(schema) == "text"}
        return engine_filter(wanted, words)

    def _records(self, ids: Sequence[int | str], body: Body) -> list[edge.Record]:
        payload = with_payload(body.get("with_payload"), default=False)
        return self._shard.retrieve(list(ids), payload, with_vector(body.get("with_vector")))

    def _vector_of(self, id: Any, name: str) -> Any:
        found = self._records([point_id(id)], {"with_payload": False, "with_vector": True})
        if not found:
            raise not_found(f"No point with id {id} found")
        vectors = found[0].vector
        return vectors[name] if isinstance(vectors, dict) else vectors

    def _check_vectors(self, points: Sequence[Any]) -> None:
        dense, sparse = vector_params(self.config), self.config.get("sparse_vectors") or {}
        for point in points:
            vectors = point.vector
            for name, value in (vectors if isinstance(vectors, dict) else {"": vectors}).items():
                check_fits(name, value, dense, sparse)

    def _check_readable(self, ids: Sequence[Any]) -> None:
        if self._unreadable.intersection(ids):
            said = f"Service internal error: task 1 {_PANIC}"
            raise RefusedError(500, f"Service internal error: 1 of 1 read operations failed:\n  {said}")

    def _select(self, body: Body, by_ids: Callable[..., Any], by_filter: Callable[..., Any], *arguments: Any) -> None:
        wanted, ids = body.get("filter"), body.get("points")
        self.limits.check_update(wanted, 1 if ids is None else len(ids), indexed=self.indexes)
        with engine_says():
            if ids is None:
                self._shard.update(by_filter(self._filter(wanted), *arguments))
            else:
                self._shard.update(by_ids([point_id(each) for each in ids], *arguments))


_FOR_ENGINE: Final = ("vectors", "sparse_vectors", "hnsw_config", "optimizers_config", "quantization_config")
_OPTIMIZERS: Final = frozenset({"default_segment_number", "indexing_threshold", "max_segment_size"})
_OF_ADDED: Final = frozenset({"size", "distance", "multivector_config", "datatype", "modifier"})


class _Source:
    """What a search for groups asks."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def query_batch(self, operation: str, requests: Sequence[models.QueryRequest]) -> list[Any]:
        bodies = [each.model_dump(mode="json", exclude_none=True, by_alias=True) for each in requests]
        answers = self._collection._search(bodies)
        made = models.ScoredPoint.model_construct
        return [
            QueryResponse.model_construct(
                points=[made(id=_id(p.id), version=p.version, score=p.score, payload=p.payload) for p in points]
            )
            for points in answers
        ]

    def retrieve(self, ids: Sequence[Any], *, with_payload: Any, with_vectors: Any) -> list[models.Record]:
        shard = self._collection._shard
        records = shard.retrieve(list(ids), with_payload, with_vectors)
        made = models.Record.model_construct
        return [made(id=_id(each.id), payload=each.payload, vector=_vectors(each.vector)) for each in records]


def _points(body: Body) -> list[Body]:
    if "batch" not in body:
        return list(body["points"])
    batch = body["batch"]
    vectors, payloads = batch["vectors"], batch.get("payloads") or [None] * len(batch["ids"])
    if isinstance(vectors, dict):
        vectors = [{name: rows[i] for name, rows in vectors.items()} for i in range(len(batch["ids"]))]
    together = zip(batch["ids"], vectors, payloads, strict=True)
    return [{"id": id, "vector": vector, "payload": payload} for id, vector, payload in together]


def _kind(schema: Any) -> str:
    kind: str = schema if isinstance(schema, str) else schema["type"]
    return kind


def _described(schema: Any, points: int) -> Body:
    params = {} if isinstance(schema, str) else {"params": schema}
    return {"data_type": _kind(schema), **params, "points": points}


def _id(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else str(value)


def _record(value: edge.Record | edge.ScoredPoint, *, bare: bool = False) -> Body:
    made: Body = {"id": _id(value.id)}
    if isinstance(value, edge.ScoredPoint):
        made |= {"version": value.version, "score": _number(value.score)}
    vector = None if bare else _vectors(value.vector)  # MMR brings them unasked
    parts = {"payload": value.payload, "vector": vector, "order_value": value.order_value}
    return made | {name: part for name, part in parts.items() if part is not None}


def _plain(hit: models.ScoredPoint) -> Body:
    made = {"id": hit.id, "version": hit.version, "score": _number(hit.score)}
    return made | {name: part for name in ("payload", "vector") if (part := getattr(hit, name)) is not None}


def _vectors(value: Any) -> Any:
    return {name: _vector(each) for name, each in value.items()} if isinstance(value, dict) else _vector(value)


def _vector(value: Any) -> Any:
    if isinstance(value, edge.SparseVector):
        return {"indices": value.indices, "values": [_number(each) for each in value.values]}
    if not value:
        return value
    if isinstance(value[0], list):
        return [_vector(row) for row in value]
    return [float(each) for each in np.asarray(value, np.float32).astype(str)]


def _number(value: float) -> float:
    """A 32-bit number with the fewest digits, as a server writes it."""
    return float(str(np.float32(value)))
