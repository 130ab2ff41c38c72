"""Brings the model to a state in which a recorded answer is possible.

A recording of exchanges of different shape leaves out those of a shape that was there before; collections that they
made, and points that they wrote, show in the requests and answers that follow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.server.replay import filled, length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.replay import Client, Exchange

    Body = dict[str, Any]

_PATH: Final = re.compile(r"/collections/([^/?]+)")
_INFO: Final = ("hnsw_config", "quantization_config", "metadata", "strict_mode_config")


def prepare(exchange: Exchange, client: Client) -> None:
    """Makes the collection that an exchange is about anew, with the points of its answer."""
    found = _PATH.match(exchange.path)
    assert found is not None, exchange
    name = found[1]
    if name == "aliases":
        for action in exchange.request["actions"]:
            client.send("DELETE", f"/collections/{next(iter(action.values()))['alias_name']}")
        return
    client.send("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": name}}]})
    client.send("DELETE", f"/collections/{name}")
    result = exchange.response.get("result")
    if isinstance(result, dict) and "config" in result:
        _create_like(name, result, client)
        return
    client.send("PUT", f"/collections/{name}", _layout(exchange))
    if "No point with id" not in exchange.error:
        points = list(_points(exchange))
        answer = client.send("PUT", f"/collections/{name}/points", {"points": points})
        assert answer.status == 200, answer.response


def _create_like(name: str, info: Body, client: Client) -> None:
    config = filled(info["config"])
    settings = {key: config[key] for key in _INFO if config.get(key)}
    client.send("PUT", f"/collections/{name}", {**config["params"], **settings})
    for key, schema in info["payload_schema"].items():
        body = {"field_name": key, "field_schema": schema.get("params") or schema["data_type"]}
        client.send("PUT", f"/collections/{name}/index", body)


def _layout(exchange: Exchange) -> Body:
    """The vectors of a collection in which an exchange could be."""
    dense: Body = {}
    sparse: Body = {}
    for name, vector in _vectors(exchange):
        if isinstance(vector, dict):
            sparse[name] = {}
        elif isinstance(vector[0], list):
            multi = {"multivector_config": {"comparator": "max_sim"}}
            dense[name] = {"size": length(vector[0]), "distance": "Dot", **multi}
        else:
            dense.setdefault(name, {"size": length(vector), "distance": "Dot"})
    unnamed = dense.pop("", None)
    return {"vectors": unnamed if unnamed and not dense else dense, "sparse_vectors": sparse}


def _vectors(exchange: Exchange) -> Iterator[tuple[str, Any]]:
    """The vectors in a request and its answer, by name."""
    for each in _dicts(exchange.request), _dicts(exchange.response):
        for part in each:
            vector, query = part.get("vector"), part.get("query")
            if isinstance(vector, dict):
                yield from vector.items()
            elif isinstance(vector, list) and "id" in part:
                yield "", vector
            elif isinstance(vector, list):  # of names, to be deleted
                yield from ((name, [0.0]) for name in vector)
            wanted = part.get("with_vector")
            yield from ((name, [0.0]) for name in wanted) if isinstance(wanted, list) else ()
            held = [each["has_vector"] for each in part.get("must") or [] if "has_vector" in each]
            yield from ((name, [0.0]) for name in held)
            query = query.get("nearest", query) if isinstance(query, dict) else query
            if isinstance(query, list) or (isinstance(query, dict) and query.keys() & {"indices", "text"}):
                yield part.get("using", ""), query


def _points(exchange: Exchange) -> Iterator[Body]:
    """The points that an answer has, or a request changes; each is found by all of its vectors."""
    queried = {name: _larger(filled(vector)) for name, vector in _vectors(exchange)}
    changed = exchange.request or {}
    found = [part for part in _dicts(filled(exchange.response)) if "id" in part and "hits" not in part]
    ids = [*filled(changed.get("points") or []), *filled(changed.get("ids") or []), *found]
    asked = [id for part in _dicts(changed) for id in filled(part.get("has_id") or [])] if found else []
    ids += [{**found[0], "id": id} for id in asked]
    result = exchange.response["result"]
    if isinstance(result, dict) and result.get("next_page_offset") is not None:
        ids.append(result["next_page_offset"])
    for each in ids if result else ():
        point = each if isinstance(each, dict) else {"id": each}
        vector = point.get("vector") or {}
        named = vector if isinstance(vector, dict) else {"": vector}
        vectors = queried if "score" in point or not named else {**queried, **named}
        yield {
            "id": point["id"],
            "vector": vectors[""] if vectors.keys() == {""} else vectors,
            "payload": point.get("payload") or {},
        }


def _larger(vector: Any) -> Any:
    """A vector whose score with the other is beyond any threshold."""
    if isinstance(vector, list):
        return [_larger(each) for each in vector]
    if isinstance(vector, dict):
        return {**vector, "values": _larger(vector["values"])} if "values" in vector else vector
    return 16.0 * vector


def _dicts(value: Any) -> Iterator[Body]:
    """All objects in JSON."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(each)
