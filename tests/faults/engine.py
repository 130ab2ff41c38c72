"""A stub of a server with any collections, kept by the client's local mode, that fails as it is told to."""

from __future__ import annotations

import os
import signal
from copy import deepcopy
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models
from qdrant_client.local.local_collection import LocalCollection

from tests.faults.server import Answer, FaultyServer, failing, result_of
from tests.faults.strict import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdrant_client.local.qdrant_local import QdrantLocal


class EngineServer(FaultyServer):
    """Answers as a server would, except where ``fault`` says something else.

    Attributes:
        fault: What a request is answered with, by method, path and body; ``None``: rightly. What is ``stored`` is done.
        log: Method, path and body of every request.
        version, read_only: As in the base class.
        status: What collections say of themselves, asked one after another; ``"green"`` after these.
        asleep: Whether collections are grey, as after a restart, until their optimizers are asked to go on.
        strict, graphs, quantizations, params, configs: Settings of collections that local mode has not.
        indexes: Payload indexes, by collection and key.
        optimizers: Settings of optimizers that were changed, by collection.
        victim: Gives the process that is killed by the request of number ``deadly``.
        deadly: The request, and whether it is done first; ``None``: nobody is killed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[str, str, Any], Answer | None] = lambda method, path, body: None
        self.log: list[tuple[str, str, Any]] = []
        self.status: list[str] = []
        self.asleep = False
        self.strict: dict[str, dict[str, Any]] = {}
        self.graphs: dict[str, dict[str, Any]] = {}
        self.quantizations: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.params: dict[str, dict[str, Any]] = {}
        self.indexes: dict[str, dict[str, Any]] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        self.optimizers: dict[str, dict[str, Any]] = {}
        self.victim: Callable[[], int | None] = lambda: None
        self.deadly: tuple[int, bool] | None = None
        self.raw = QdrantClient(":memory:", force_disable_check_same_thread=True)
        self._guard = RLock()

    @property
    def local(self) -> QdrantLocal:
        """Where everything is kept."""
        return cast("QdrantLocal", self.raw._client)

    def answer(self, method: str, path: str, body: dict[str, Any], size: int) -> Answer:
        """What to say to a request."""
        with self._guard:
            self.log.append((method, path, body))
            number, done = self.deadly or (0, False)
            if number == len(self.log) and not done:
                return self._kill()
            answer = self.fault(method, path, body)
            if answer is None or answer.stored:
                right = self._rightly(method, path, body)
                answer = answer or right
            return self._kill() if number == len(self.log) else answer

    def _kill(self) -> Answer:
        pid = self.victim()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.deadly = None
        return Answer(cut=0)

    def _rightly(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        if path == "/":
            return result_of({"title": "qdrant", "version": self.version}, bare=True)
        reading = method == "GET" or path.endswith(("/points", "/scroll", "/count", "/query", "/batch", "/groups"))
        if self.read_only and not (reading and method in ("GET", "POST")):
            return failing(403, "Forbidden: only read access")
        refused = self._refused(path, body)
        if refused is not None:
            return refused
        try:
            return result_of(to_jsonable_python(self._of_all(method, path, body)))
        except KeyError as error:
            return failing(404, f"Not found: {error}")
        except ValueError as error:
            said = str(error)
            status = 404 if "not found" in said or "oes not exist" in said else 409 if "already exists" in said else 400
            return failing(status, said)

    def _refused(self, path: str, body: dict[str, Any]) -> Answer | None:
        name, _, rest = path.removeprefix("/collections/").partition("/")
        name = self.local.aliases.get(name, name)
        return refusal(self.strict.get(name, {}), self.indexes.get(name, {}), rest, body)

    def _of_all(self, method: str, path: str, body: dict[str, Any]) -> Any:
        whole: dict[str, Callable[[], Any]] = {
            "/aliases": self.local.get_aliases,
            "/collections": self.local.get_collections,
            "/collections/aliases": lambda: self.local.update_collection_aliases(
                models.ChangeAliasesOperation(**body).actions
            ),
        }
        if path in whole:
            return whole[path]()
        name, _, rest = path.removeprefix("/collections/").partition("/")
        if rest == "exists":
            return {"exists": self.local.collection_exists(name)}
        if rest == "":
            return self.of_collection(method, name, body)
        name = self.local.aliases.get(name, name)
        if rest == "index":
            self.indexes[name][body["field_name"]] = body["field_schema"]
            return _done()
        if rest.startswith("vectors/"):
            return self.of_vector(method, name, rest.removeprefix("vectors/"), body)
        return self._of_points(method, name, rest, body)

    def of_collection(self, method: str, name: str, body: dict[str, Any]) -> Any:
        """Make, change, delete or describe a collection."""
        if method == "PUT":
            new = models.CreateCollection(**body)
            self.local.create_collection(name, new.vectors, new.sparse_vectors)
            self.indexes[name], self.metadata[name] = {}, (body.get("metadata") or {}) if self._has(16) else {}
            self.params[name] = {key: body[key] for key in OF_SHARDS if body.get(key) is not None}
            return True
        if method == "DELETE":
            return self.local.delete_collection(name)
        if method == "PATCH":
            if name not in self.local.collections:
                raise KeyError(name)
            if self._has(16):
                merged = {**self.metadata[name], **(body.get("metadata") or {})}
                self.metadata[name] = {key: value for key, value in merged.items() if value is not None}
            self.optimizers.setdefault(name, {}).update(body.get("optimizers_config") or {})
            if "optimizers_config" in body and self.asleep:
                self.asleep, self.status = False, ["yellow", "yellow"]
            if body.get("strict_mode_config"):
                self.strict[name] = body["strict_mode_config"]
            return True
        return self.described(self.local.aliases.get(name, name))

    def described(self, name: str) -> dict[str, Any]:
        """What a server says about a collection."""
        info = self.local.get_collection(name).model_dump(mode="json", exclude_none=True)
        info["status"] = "grey" if self.asleep else self.status.pop(0) if self.status else "green"
        config = info["config"]
        config["metadata"] = self.metadata[name] if self._has(16) else None
        config["params"] |= {"shard_number": 1, "replication_factor": 1, **self.params.get(name, {})}
        config["optimizer_config"] |= self.optimizers.get(name, {})
        config["hnsw_config"] |= self.graphs.get(name, {})
        config |= self.configs.get(name, {})
        config["quantization_config"] = self.quantizations.get(name)
        config["strict_mode_config"] = self.strict.get(name)
        info["payload_schema"] = {key: _index(schema) for key, schema in self.indexes[name].items()}
        return info

    def of_vector(self, method: str, name: str, vector: str, body: dict[str, Any]) -> Any:
        """Add or remove a vector: local mode cannot, so a collection is made anew with all of its points."""
        old = self.local.collections[name]
        vectors: Any = dict(old.config.vectors) if isinstance(old.config.vectors, dict) else {"": old.config.vectors}
        records = old.scroll(limit=10**6, with_vectors=True)[0]
        points = [models.PointStruct(id=each.id, payload=each.payload, vector=_named(each.vector)) for each in records]
        if method == "PUT":
            if vector in vectors:
                raise ValueError(f"vector {vector} already exists")
            vectors[vector] = models.VectorParams(**body["dense"])
        else:
            if vector not in vectors:
                raise ValueError(f"Wrong input: Not existing vector name error: {vector}")
            del vectors[vector]
            for point in points:
                cast("dict[str, Any]", point.vector).pop(vector, None)
        settings = old.config.model_copy(update={"vectors": vectors})
        new = LocalCollection(settings, force_disable_check_same_thread=True)
        new.upsert(points)
        self.local.collections[name] = new
        return _done()

    def _of_points(self, method: str, name: str, rest: str, body: dict[str, Any]) -> Any:
        local: Any = self.local
        answers: dict[tuple[str, str], Callable[[], Any]] = {
            ("PUT", "points"): lambda: _upsert(local, name, models.PointsList(**body)),
            ("PUT", "points/vectors"): lambda: _update_vectors(local, name, models.UpdateVectors(**body)),
            ("POST", "points"): lambda: local.retrieve(name, body["ids"], body["with_payload"], body["with_vector"]),
            ("POST", "points/scroll"): lambda: _scroll(local, name, models.ScrollRequest(**body)),
            ("POST", "points/count"): lambda: local.count(name, models.CountRequest(**body).filter),
            ("POST", "points/query"): lambda: local.query_batch_points(name, [models.QueryRequest(**body)])[0],
            ("POST", "points/query/groups"): lambda: _groups(local, name, models.QueryGroupsRequest(**body)),
            ("POST", "points/query/batch"): lambda: local.query_batch_points(
                name, models.QueryRequestBatch(**body).searches
            ),
            ("POST", "points/delete"): lambda: local.delete(
                name, models.PointIdsList(**body) if "points" in body else models.FilterSelector(**body)
            ),
            ("POST", "points/payload"): lambda: local.set_payload(
                name, body["payload"], _filter(body), body.get("key")
            ),
            ("POST", "points/payload/delete"): lambda: local.delete_payload(name, body["keys"], _filter(body)),
            ("POST", "points/vectors/delete"): lambda: _delete_vectors(local, name, models.DeleteVectors(**body)),
        }
        return answers[method, rest]()

    def _has(self, minor: int) -> bool:
        return int(self.version.split(".")[1]) >= minor


OF_SHARDS = ("shard_number", "replication_factor", "write_consistency_factor", "sharding_method")


def _scroll(local: Any, name: str, page: models.ScrollRequest) -> dict[str, Any]:
    records, offset = local.scroll(
        name, page.filter, page.limit or 10, None, page.offset, page.with_payload, page.with_vector or False
    )
    return {"points": records, "next_page_offset": offset}


def _update_vectors(local: Any, name: str, change: models.UpdateVectors) -> Any:
    return local.update_vectors(name, change.points, update_filter=change.update_filter)


def _groups(local: Any, name: str, asked: models.QueryGroupsRequest) -> Any:
    wanted = {field: getattr(asked, field) for field in ("query", "using", "prefetch", "limit", "group_size")}
    return local.query_points_groups(name, asked.group_by, query_filter=asked.filter, **wanted)


def _upsert(local: Any, name: str, change: models.PointsList) -> Any:
    return local.upsert(name, change.points, update_filter=change.update_filter)


def _delete_vectors(local: Any, name: str, change: models.DeleteVectors) -> Any:
    return local.delete_vectors(name, change.vector, change.points or change.filter)


def _filter(body: dict[str, Any]) -> models.Filter:
    return models.Filter(**body["filter"])


def _done() -> dict[str, Any]:
    return {"operation_id": 1, "status": "completed"}


def _index(schema: Any) -> dict[str, Any]:
    if isinstance(schema, str):
        return {"data_type": schema, "points": 0}
    return {"data_type": schema["type"], "params": deepcopy(schema), "points": 0}


def _named(vector: Any) -> dict[str, Any]:
    if vector is None:
        return {}
    return dict(vector) if isinstance(vector, dict) else {"": vector}
