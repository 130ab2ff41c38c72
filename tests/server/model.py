"""All collections and aliases of the model, and its table of routes."""

from __future__ import annotations

import re
import shutil
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from tests.server.collection import Collection
from tests.server.refusals import RefusedError, bad_request, no_collection, no_variant, not_found, wrong_input
from tests.server.settings import check_creation, check_name, merged
from tests.server.snapshots import described, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Body = dict[str, Any]

    Handler = Callable[["Model", str, "Query", Any], Any]

VERSION: Final = {"title": "qdrant - vector search engine", "version": "1.19.0", "commit": "v1190"}
_INDEXES: Final = frozenset({"keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid"})


class Query(dict[str, str]):
    """The parameters behind the question mark."""

    @property
    def wait(self) -> bool:
        return self.get("wait") == "true"

    @property
    def timeout(self) -> int | None:
        value = self.get("timeout")
        if value == "0":
            text = "invalid value: integer `0`, expected a nonzero u64"
            raise RefusedError(400, f"Deserialize error in query parameters: {text}")
        return None if value is None else int(value)


class NoRouteError(Exception):
    """There is nothing at a path."""


class Model:
    """A server that is one node.

    Attributes:
        collections, aliases, snapshots: What there is.
    """

    def __init__(self, folder: Path) -> None:
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.snapshots: dict[tuple[str, str], bytes] = {}
        self._folder = folder
        self._made = 0
        self._guard = RLock()

    def close(self) -> None:
        for name in list(self.collections):
            self.delete(name)

    def answer(self, method: str, path: str, query: Query, body: Any) -> Any:
        """The result of a request; raises `RefusedError`, and `NoRouteError` where there is no such route."""
        for wanted, pattern, handler in ROUTES:
            found = re.fullmatch(pattern, path) if wanted == method else None
            if found:
                with self._guard:
                    return handler(self, *map(unquote, found.groups()), query, body)
        raise NoRouteError(path)

    def find(self, name: str) -> Collection:
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise no_collection(name)
        return self.collections[name]

    def exists(self, name: str) -> Body:
        return {"exists": self.aliases.get(name, name) in self.collections}

    def create(self, name: str, body: Body) -> bool:
        check_name(name)
        check_creation(body)
        if name in self.collections:
            raise wrong_input(f"Collection `{name}` already exists!", 409)
        if name in self.aliases:
            raise wrong_input(f"Can't create collection with name {name}. Alias with the same name already exists")
        self.collections[name] = Collection(self.new_folder(), body)
        return True

    def new_folder(self) -> Path:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir(parents=True)
        return folder

    def change(self, name: str, body: Body) -> bool:
        collection = self.find(name)
        collection.config = merged(collection.config, body)
        collection.limits.change(body.get("strict_mode_config") or {})
        return True

    def delete(self, name: str) -> bool:
        collection = self.collections.pop(name, None)
        if collection is None:
            return False
        collection.close()
        shutil.rmtree(collection.folder)
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
        return True

    def change_aliases(self, actions: list[Body]) -> bool:
        changed = dict(self.aliases)
        for action in actions:
            [(kind, of)] = action.items()
            if kind == "create_alias":
                if of["collection_name"] not in self.collections:
                    raise no_collection(of["collection_name"])
                if of["alias_name"] in self.collections:
                    raise wrong_input(f"Collection `{of['alias_name']}` already exists!", 409)
                changed[of["alias_name"]] = of["collection_name"]
            elif kind == "delete_alias":
                changed.pop(of["alias_name"], None)
            else:
                if of["old_alias_name"] not in changed:
                    raise not_found(f"Alias {of['old_alias_name']} does not exists!")
                changed[of["new_alias_name"]] = changed.pop(of["old_alias_name"])
        self.aliases = changed
        return True

    def list_aliases(self, of: str | None = None) -> Body:
        found = [(alias, target) for alias, target in sorted(self.aliases.items()) if of in (None, target)]
        return {"aliases": [{"alias_name": alias, "collection_name": target} for alias, target in found]}


def _reads(name: str, *, timed: bool = True) -> Handler:
    """A route that asks a collection."""

    def handle(model: Model, collection: str, query: Query, body: Any) -> Any:
        timeout = query.timeout
        found = model.find(collection)
        _check_shard_key(found, body, bad_request)
        lookup = (body.get("lookup_from") or {}).get("collection")
        if lookup is not None and lookup not in model.collections:
            raise not_found(f"Collection {lookup} not found")
        return getattr(found, name)(body, **({"timeout": timeout} if timed else {}))

    return handle


def _writes(name: str) -> Handler:
    """A route that changes points."""

    def handle(model: Model, collection: str, query: Query, body: Any) -> Any:
        found = model.find(collection)
        if found.config.get("sharding_method") == "custom" and not body.get("shard_key"):
            raise wrong_input("Shard key not specified")
        _check_shard_key(found, body, wrong_input)
        getattr(found, name)(body)
        return found.done(wait=query.wait)

    return handle


def _check_shard_key(collection: Collection, body: Any, error: Callable[[str], RefusedError]) -> None:
    if body.get("shard_key"):  # there are none: making one takes a cluster
        raise error(f'Shard key "{body["shard_key"]}" not found')


def _update_many(model: Model, name: str, query: Query, body: Any) -> Any:
    collection, results = model.find(name), []
    for each in body["operations"]:
        [(kind, change)] = each.items()
        getattr(collection, kind)(change)
        results.append(collection.done(wait=query.wait))
    return results


def _query_many(model: Model, name: str, query: Query, body: Any) -> Any:
    return model.find(name).query_batch(body["searches"], timeout=query.timeout)


def _add_index(model: Model, name: str, query: Query, body: Any) -> Any:
    schema = body.get("field_schema")
    if (schema if isinstance(schema, str) else (schema or {}).get("type")) not in _INDEXES:
        raise no_variant("PayloadFieldSchema")
    collection = model.find(name)
    collection.add_index(body["field_name"], schema)
    return collection.done(wait=query.wait)


def _remove_index(model: Model, name: str, key: str, query: Query, body: Any) -> Any:
    collection = model.find(name)
    collection.remove_index(key)
    return collection.done(wait=query.wait)


def _change_vector(method: str) -> Callable[..., Any]:
    def handle(model: Model, name: str, vector: str, query: Query, body: Any) -> Any:
        collection = model.find(name)
        if method == "PUT":
            collection.add_vector(vector, body)
        else:
            collection.remove_vector(vector)
        return collection.done(wait=query.wait)

    return handle


def _standalone(model: Model, name: str, query: Query, body: Any) -> Any:
    raise RefusedError(405, "Qdrant is running in standalone mode")


def _old_search(model: Model, name: str, query: Query, body: Any) -> Any:
    vector = body["vector"]
    named = vector if isinstance(vector, dict) else {"name": "", "vector": vector}
    request = {**body, "query": named["vector"], "using": named["name"]}
    return model.find(name).query(request, timeout=query.timeout)["points"]


def _cluster(model: Model, name: str, query: Query, body: Any) -> Any:
    points = model.find(name).info()["points_count"]
    return {
        "peer_id": 1,
        "shard_count": 1,
        "local_shards": [{"shard_id": 0, "points_count": points, "state": "Active"}],
        "remote_shards": [],
        "shard_transfers": [],
    }


def _list_snapshots(model: Model, name: str, query: Query, body: Any) -> Any:
    model.find(name)
    return [described(each, data) for (of, each), data in model.snapshots.items() if of == name]


def _make_snapshot(model: Model, name: str, query: Query, body: Any) -> Any:
    data, called = packed(model.find(name)), f"{name}-{len(model.snapshots)}.snapshot"
    model.snapshots[name, called] = data
    return described(called, data)


def _get_snapshot(model: Model, name: str, snapshot: str, query: Query, body: Any) -> Any:
    if (name, snapshot) not in model.snapshots:
        raise not_found(f"Snapshot {snapshot} not found")
    return model.snapshots[name, snapshot]


def _delete_snapshot(model: Model, name: str, snapshot: str, query: Query, body: Any) -> Any:
    _get_snapshot(model, name, snapshot, query, body)
    del model.snapshots[name, snapshot]
    return True


def _upload_snapshot(model: Model, name: str, query: Query, body: Any) -> Any:
    model.delete(name)
    model.collections[name] = unpacked(body, model.new_folder())
    return True


_ONE: Final = "/collections/([^/]+)"
ROUTES: Final[tuple[tuple[str, str, Callable[..., Any]], ...]] = (
    ("GET", "/collections", lambda m, q, b: {"collections": [{"name": name} for name in m.collections]}),
    ("GET", "/aliases", lambda m, q, b: m.list_aliases()),
    ("POST", "/collections/aliases", lambda m, q, b: m.change_aliases(b["actions"])),
    ("GET", "/cluster", lambda m, q, b: {"status": "disabled"}),
    ("GET", _ONE, lambda m, name, q, b: m.find(name).info()),
    ("PUT", _ONE, lambda m, name, q, b: m.create(name, b)),
    ("PATCH", _ONE, lambda m, name, q, b: m.change(name, b)),
    ("DELETE", _ONE, lambda m, name, q, b: m.delete(name)),
    ("GET", f"{_ONE}/exists", lambda m, name, q, b: m.exists(name)),
    ("GET", f"{_ONE}/aliases", lambda m, name, q, b: m.list_aliases(name)),
    ("GET", f"{_ONE}/cluster", _cluster),
    ("GET", f"{_ONE}/snapshots", _list_snapshots),
    ("POST", f"{_ONE}/snapshots", _make_snapshot),
    ("POST", f"{_ONE}/snapshots/upload", _upload_snapshot),
    ("GET", f"{_ONE}/snapshots/(.+)", _get_snapshot),
    ("DELETE", f"{_ONE}/snapshots/(.+)", _delete_snapshot),
    ("GET", f"{_ONE}/shards", lambda m, name, q, b: {"shard_keys": []}),
    ("PUT", f"{_ONE}/shards", _standalone),
    ("POST", f"{_ONE}/shards/delete", _standalone),
    ("PUT", f"{_ONE}/index", _add_index),
    ("DELETE", f"{_ONE}/index/(.+)", _remove_index),
    ("PUT", f"{_ONE}/vectors/(.+)", _change_vector("PUT")),
    ("DELETE", f"{_ONE}/vectors/(.+)", _change_vector("DELETE")),
    ("PUT", f"{_ONE}/points", _writes("upsert")),
    ("PUT", f"{_ONE}/points/vectors", _writes("update_vectors")),
    ("POST", f"{_ONE}/points/vectors/delete", _writes("delete_vectors")),
    ("POST", f"{_ONE}/points/payload", _writes("set_payload")),
    ("PUT", f"{_ONE}/points/payload", _writes("overwrite_payload")),
    ("POST", f"{_ONE}/points/payload/delete", _writes("delete_payload")),
    ("POST", f"{_ONE}/points/payload/clear", _writes("clear_payload")),
    ("POST", f"{_ONE}/points/delete", _writes("delete")),
    ("POST", f"{_ONE}/points/batch", _update_many),
    ("POST", f"{_ONE}/points", _reads("retrieve", timed=False)),
    ("POST", f"{_ONE}/points/scroll", _reads("scroll")),
    ("POST", f"{_ONE}/points/count", _reads("count")),
    ("POST", f"{_ONE}/points/query", _reads("query")),
    ("POST", f"{_ONE}/points/query/batch", _query_many),
    ("POST", f"{_ONE}/points/query/groups", _reads("query_groups")),
    ("POST", f"{_ONE}/points/search", _old_search),
    ("POST", f"{_ONE}/facet", _reads("facet", timed=False)),
)
