"""Vectors that are added to stored points, or migrated, are sent over REST as short as their stored type allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import ColbertCollection, CollectionConfig, Migration, MuveraConfig, MuveraEncoder
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer

ENCODER = WordEncoder()
FDE = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
TEXTS = {1: "river stone bridge", 2: "green lamp"}
EMBEDDED = ENCODER.encode_documents(list(TEXTS.values()))
TOKENS = dict(zip(TEXTS, EMBEDDED, strict=True))
ENCODINGS = dict(zip(TEXTS, MuveraEncoder(FDE, token_dim=ENCODER.dim).encode_documents(EMBEDDED), strict=True))


def sent(engine: EngineServer, vector: str) -> dict[int, Any]:
    """The numbers of the last write of each point, as a server reads them."""
    return {
        point["id"]: np.asarray(point["vector"][vector], np.float32)
        for method, _, body in engine.log
        if method == "PUT"
        for point in body.get("points", ())
        if vector in point["vector"]
    }


def assert_same(found: Mapping[int, Any], wanted: Mapping[int, Any], *, short: bool) -> None:
    """Assert that a server stores the wanted numbers."""
    assert found.keys() == wanted.keys()
    for id, values in found.items():
        assert np.array_equal(values.astype(np.float16), wanted[id].astype(np.float16))
        assert np.array_equal(values, wanted[id]) != short


def config(datatype: Any) -> CollectionConfig:
    return CollectionConfig(fde=FDE, token_datatype=datatype, fde_datatype=datatype)


datatypes = pytest.mark.parametrize("datatype", ["float16", "float32"])


@datatypes
@pytest.mark.parametrize("stored", ["texts", "token vectors"])
def test_vectors_that_a_repair_adds(engine: EngineServer, remote: QdrantClient, stored: str, datatype: Any) -> None:
    docs = ColbertCollection.create("docs", client=remote, encoder=ENCODER, config=config(datatype))
    for id, text in TEXTS.items():
        vectors: dict[str, Any] = {"colbert": TOKENS[id].tolist()} if stored == "token vectors" else {}
        remote.upsert("docs", [models.PointStruct(id=id, vector=vectors, payload={"_id": id, "text": text})])
    engine.log.clear()
    docs.repair()
    assert_same(sent(engine, "fde"), ENCODINGS, short=datatype == "float16")
    if stored == "texts":
        assert_same(sent(engine, "colbert"), TOKENS, short=datatype == "float16")


@datatypes
@pytest.mark.parametrize("strategy", ["blue_green", "in_place"])
def test_vectors_of_a_migration(engine: EngineServer, remote: QdrantClient, strategy: Any, datatype: Any) -> None:
    params = {"dense": models.VectorParams(size=2, distance=models.Distance.DOT)}
    remote.create_collection("docs", vectors_config=params)
    dense = {id: np.array([0.1, id / 3], np.float32) for id in TEXTS}
    remote.upsert(
        "docs",
        [models.PointStruct(id=id, vector={"dense": dense[id].tolist()}, payload={"text": TEXTS[id]}) for id in TEXTS],
    )
    engine.log.clear()
    options: dict[str, Any] = {"encoder": ENCODER, "config": config(datatype), "allow_irreversible": True}
    Migration.plan(remote, "docs", strategy=strategy, text_key="text", **options).run()
    assert_same(sent(engine, "fde"), ENCODINGS, short=datatype == "float16")
    assert_same(sent(engine, "colbert"), TOKENS, short=datatype == "float16")
    if strategy == "blue_green":
        assert_same(sent(engine, "dense"), dense, short=False)
