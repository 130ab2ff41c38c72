"""A filter and a graph: as many hits as were asked for, whenever that many match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, HnswConfig, MuveraConfig
from tests.congruence.engines import GraphEdge
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXTS = random_texts(3_000)


@pytest.fixture(scope="module", params=[{}, {"rare": "integer"}], ids=["without index", "with index"])
def docs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColbertCollection]:
    folder: Path = tmp_path_factory.mktemp("store")
    config = CollectionConfig(
        fde=MuveraConfig(k_sim=3, dim_proj=8, r_reps=8),
        hnsw=HnswConfig(full_scan_threshold=10),
        payload_indexes=request.param,
    )
    with GraphEdge(folder) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
        docs.ingest(Document(number, text, {"rare": number % 60}) for number, text in enumerate(TEXTS))
        docs.optimize()
        assert (client.get_collection("docs").indexed_vectors_count or 0) >= 3_000
        yield docs


@pytest.mark.parametrize("limit", [10, 50, 80])
def test_as_many_hits_as_match(docs: ColbertCollection, limit: int) -> None:
    matching = len(TEXTS) // 60
    for rare in (3, 31, 59):
        hits = docs.search(TEXTS[7], limit=limit, where={"rare": rare})
        assert all(hit.payload["rare"] == rare for hit in hits)
        assert len(hits) == min(limit, matching)
    assert len(docs.search(TEXTS[7], limit=limit, where={"rare": [3, 31]})) == limit
