"""The library takes what servers take and refuses what they refuse, on every engine, before anything is sent."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from qdrant_client import models

from colbert_qdrant import (
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    EdgeClient,
    EngineError,
    HnswConfig,
    LemurConfig,
    MuveraConfig,
    Rrf,
    attach,
)
from colbert_qdrant.points.fingerprint import Fingerprint
from colbert_qdrant.search.options import CheckedOptions, check_grouping
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdrant_client import QdrantClient

    from tests.faults.server import FaultyServer

FACTS: Final[dict[str, list[tuple[Any, bool]]]] = json.loads(
    (Path(__file__).parents[1] / "goldens" / "server_bounds.json").read_text()
)
"""What a real server said; `source` in the file says which."""

SMALL = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)


def facts(*kinds: str) -> pytest.MarkDecorator:
    cases = [(kind, value, taken) for kind in kinds for value, taken in FACTS[kind]]
    return pytest.mark.parametrize(("kind", "value", "taken"), cases, ids=lambda each: ascii(each)[:30])


def takes(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (ConfigurationError, CapabilityError):
        return False
    return True


@pytest.fixture
def edge(tmp_path: Path) -> Any:
    with EdgeClient(tmp_path / "store") as client:
        yield client


def settings(kind: str, value: Any) -> dict[str, Any]:
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "sizes": lambda: {"dense": {"other": DenseConfig(dim=value)}},
        "graphs": lambda: {"hnsw": HnswConfig(**value)},
        "shards": lambda: value,
        "indexes": lambda: {"payload_indexes": {"key": value}},
        "token_datatypes": lambda: {"token_datatype": value},
        "vector_names": lambda: {"fde_vector": value},
        "paths": lambda: {"payload_indexes": {value: "keyword"}},
    }
    return made[kind]()


@facts("names")
def test_names_of_collections(
    server: FaultyServer, client: QdrantClient, edge: EdgeClient, kind: str, value: str, *, taken: bool
) -> None:
    encoder, config = WordEncoder(), CollectionConfig(fde=SMALL)
    assert takes(lambda: ColbertCollection.create(value, client=edge, encoder=encoder, config=config)) == taken
    if not taken:  # the stub knows one name
        with pytest.raises(
            ConfigurationError, match=r"cannot be the name of a collection because it .*: use letters, digits"
        ):
            ColbertCollection.create(value, client=client, encoder=encoder, config=config)
        assert set(server.texts) <= {b"/ "}  # nothing but the version is asked for


@facts("sizes", "graphs", "shards", "indexes", "token_datatypes", "vector_names", "paths")
def test_settings(server: FaultyServer, client: QdrantClient, kind: str, value: Any, *, taken: bool) -> None:
    server.version = "1.19.0"
    make = lambda: ColbertCollection.create(  # noqa: E731
        "docs", client=client, encoder=WordEncoder(), config=CollectionConfig(fde=SMALL, **settings(kind, value))
    )
    assert takes(make) == taken
    assert (server.created is not None) == taken


@facts("sizes", "graphs", "vector_names")
def test_the_embedded_client_has_the_same_bounds(edge: EdgeClient, kind: str, value: Any, *, taken: bool) -> None:
    def create() -> None:
        made: dict[str, Callable[[], Any]] = {
            "sizes": lambda: VECTOR.model_copy(update={"size": value}),
            "graphs": lambda: VECTOR.model_copy(update={"hnsw_config": models.HnswConfigDiff(**value)}),
            "vector_names": lambda: {value: VECTOR},
        }
        edge.create_collection("docs", made[kind]())

    assert takes(create) == taken
    assert edge.collection_exists("docs") == taken
    if kind == "graphs":
        edge.create_collection("other", {"v": VECTOR})
        diff = models.VectorParamsDiff(hnsw_config=models.HnswConfigDiff(**value))
        assert takes(lambda: edge.update_collection("other", vectors_config={"v": diff})) == taken
        assert takes(lambda: edge.create_collection("third", VECTOR, hnsw_config=diff.hnsw_config)) == taken


@facts("searches")
def test_searches(edge: EdgeClient, kind: str, value: dict[str, Any], *, taken: bool) -> None:
    page = {name: number for name, number in value.items() if name in ("limit", "offset")}
    params = models.SearchParams(hnsw_ef=value.get("hnsw_ef"))
    if "oversampling" in value:
        # as users may: the model has the bound itself
        made = models.QuantizationSearchParams.model_construct(oversampling=value["oversampling"])
        params.quantization = made
    assert takes(lambda: CheckedOptions(**page, params=params)) == taken
    edge.create_collection("docs", VECTOR)
    assert takes(lambda: edge.query_points("docs", [1.0, 2.0], search_params=params, **page)) == taken
    prefetch = models.Prefetch(query=[1.0, 2.0], params=params, limit=page.get("limit"))
    if "offset" not in page:
        assert takes(lambda: edge.query_points("docs", [1.0, 2.0], prefetch=prefetch)) == taken


@facts("rrf")
def test_the_k_of_reciprocal_rank_fusion(kind: str, value: int, *, taken: bool) -> None:
    assert takes(lambda: Rrf(k=value)) == taken


@facts("paths")
def test_paths_into_payloads(edge: EdgeClient, kind: str, value: str, *, taken: bool) -> None:
    docs = ColbertCollection.create("docs", client=edge, encoder=WordEncoder(), config=CollectionConfig(fde=SMALL))
    chosen = models.Filter(must=[models.FieldCondition(key=value, match=models.MatchValue(value=1))])
    for call in (
        lambda: docs.count(where={value: 1}),
        lambda: docs.count(filter=chosen),
        lambda: check_grouping(value, 1),
    ):
        assert takes(call) == taken
    with nullcontext() if taken else pytest.raises(EngineError, match="invalid JSON path"):
        edge.count("docs", count_filter=chosen)  # the engine's own opinion
    if not taken:
        with pytest.raises(ConfigurationError, match=r"^where: .* is not a valid payload path: write '"):
            docs.delete(where={"$or": [{"fine": 1}, {value: {"gte": 1}}]})
        config = CollectionConfig(fde=SMALL, payload_indexes={value: "keyword"})
        with pytest.raises(ConfigurationError, match=r"^payload_indexes.* is not a valid payload path: write '"):
            ColbertCollection.create("other", client=edge, encoder=WordEncoder(), config=config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score_threshold": float("nan")}, "score_threshold must be a finite number, got nan"),
        ({"token_threshold": float("inf")}, "token_threshold must be a finite number"),
        ({"limit": 2.5}, "limit must be an integer, got 2.5"),
        ({"limit": "10"}, "limit must be an integer, got '10'"),
        ({"candidates": True}, "candidates must be an integer, got True"),
        ({"params": {"hnsw_ef": 10}}, r"params must be a models.SearchParams, got {'hnsw_ef': 10}"),
        ({"filter": {"must": []}}, r"filter must be a models.Filter, got {'must': \[\]}: pass a dict .* as where="),
        ({"prefetch": 3}, "prefetch=3: pass a list of vector names"),
        ({"vectors": [1]}, r"vectors=\[1\]: pass a dict of vectors by name"),
        ({"with_payload": "text"}, "with_payload must be True or False, got 'text'"),
    ],
)
def test_options_that_no_request_can_carry(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CheckedOptions(**arguments)


def test_keys_of_the_librarys_own_are_no_paths(server: FaultyServer, client: QdrantClient) -> None:
    wrong: list[dict[str, Any]] = [{"text_key": "a.b"}, {"id_key": "a[]"}, {"id_key": "my id"}]
    for arguments in wrong:
        config = CollectionConfig(fde=SMALL, **arguments)
        with pytest.raises(ConfigurationError, match=f"^{next(iter(arguments))}: "):
            ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
    assert set(server.texts) <= {b"/ "}  # nothing but the version is asked for


def test_a_fitted_collection_leaves_room_for_its_companion(server: FaultyServer, client: QdrantClient) -> None:
    with pytest.raises(ConfigurationError, match="because it has 251 bytes, but the maximum is 250"):
        ColbertCollection.create(
            "n" * 251, client=client, encoder=WordEncoder(), config=CollectionConfig(fde=LemurConfig(dim=8, epochs=0))
        )
    assert set(server.texts) <= {b"/ "}  # nothing but the version is asked for


@pytest.mark.parametrize("name", ["", "a/b", "..", None])
def test_names_of_collections_that_are_there(server: FaultyServer, client: QdrantClient, name: Any) -> None:
    for call in (ColbertCollection.open, ColbertCollection.open_or_create):
        with pytest.raises(ConfigurationError, match="cannot be the name of a collection"):
            call(name, client=client, encoder=WordEncoder())
    with pytest.raises(ConfigurationError, match="cannot be the name of a collection"):
        attach(client, name, encoder=WordEncoder())
    assert set(server.texts) <= {b"/ "}  # nothing but the version is asked for


def test_a_collection_with_a_threshold_of_an_earlier_version_is_opened(edge: EdgeClient) -> None:
    encoder = WordEncoder()
    ColbertCollection.create("docs", client=edge, encoder=encoder, config=CollectionConfig(fde=SMALL))
    metadata: Any = edge.get_collection("docs").config.metadata
    metadata["colbert_qdrant"]["layout"]["hnsw"]["full_scan_threshold"] = 1
    edge.update_collection("docs", metadata=metadata)
    docs = ColbertCollection.open("docs", client=edge, encoder=encoder)
    assert docs.config.hnsw == HnswConfig()
    assert Fingerprint.from_dict(metadata["colbert_qdrant"]).config == docs.config
