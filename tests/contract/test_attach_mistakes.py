"""A search that finds candidates by a vector that is not there, or is another, is an error that says what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from qdrant_client import models

from colbert_qdrant import CapabilityError, ConfigurationError, RequestRefusedError, SchemaMismatchError, attach
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant import AttachedCollection
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

GOOD: Final = models.QueryRequest(query=[1.0, 2.0], using="v")
MANY: Final = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
SPARSE: Final = models.SparseVector(indices=[1], values=[1.0])


@pytest.fixture
def attached(engine: Engine, client: Client) -> Iterator[AttachedCollection]:
    vector = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection(
        engine.name,
        vectors_config={"v": vector, "m": vector.model_copy(update={"multivector_config": MANY})},
        sparse_vectors_config={"s": models.SparseVectorParams()},
    )
    client.upsert(engine.name, [models.PointStruct(id=1, vector={"v": [1.0, 0.5]}, payload={"text": "a river"})])
    yield attach(client, engine.name, encoder=WordEncoder())
    client.delete_collection(engine.name)


def request(**parts: Any) -> models.QueryRequest:
    return models.QueryRequest(**parts)


MISTAKES: Final = {
    "unknown name": (
        request(query=[1.0, 2.0], using="nope"),
        "uses vector 'nope', which does not exist: pass using=…, one of 'm', 's', 'v'",
    ),
    "no name": (request(query=[1.0, 2.0]), "names no vector: pass using=…"),
    "unknown name in a prefetch": (
        request(prefetch=[models.Prefetch(query=[1.0, 2.0], using="nope")], query=[1.0, 2.0], using="v"),
        "uses vector 'nope'",
    ),
    "fused": (
        request(
            prefetch=[models.Prefetch(query=[1.0, 2.0], using="v"), models.Prefetch(query=SPARSE, using="nope")],
            query=models.FusionQuery(fusion=models.Fusion.RRF),
        ),
        "uses vector 'nope'",
    ),
    "too short": (
        request(query=[1.0], using="v"),
        "has 1 numbers for vector 'v', which has 2: encode it with the model",
    ),
    "rows too long": (request(query=[[1.0, 2.0, 3.0]], using="m"), "has 3 numbers for vector 'm', which has 2"),
    "sparse for dense": (request(query=SPARSE, using="v"), "has a sparse vector for 'v', which is dense: pass a list"),
    "dense for sparse": (request(query=[1.0, 2.0], using="s"), "has a list for vector 's', which is sparse: pass a"),
    "many for one": (request(query=[[1.0, 2.0]], using="v"), "has several vectors for 'v', which is a single vector"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_is_wrong_is_said_with_what_there_is(attached: AttachedCollection, engine: Engine, case: str) -> None:
    wrong, message = MISTAKES[case]
    with pytest.raises(SchemaMismatchError) as caught:
        attached.search_batch(["river", "river"], [GOOD, wrong])
    assert f"the search that finds candidates in collection {engine.name!r} {message}" in str(caught.value)
    assert [hit.id for hit in attached.search("river", GOOD)] == [1]


def test_other_mistakes_are_errors_of_the_library_too(attached: AttachedCollection, engine: Engine) -> None:
    kind = CapabilityError if engine.kind == "edge" else RequestRefusedError  # Edge has no queries by id
    with pytest.raises(kind, match=r"Point 99 is not found|No point with id 99|queries by point id"):
        attached.search("river", models.QueryRequest(query=99, using="v"))


def test_the_path_of_the_texts_is_named(client: Client) -> None:
    with pytest.raises(ConfigurationError, match=r"^text_key: 'a\.\.b' is not a valid payload path"):
        attach(client, "docs", encoder=WordEncoder(), text_key="a..b")
