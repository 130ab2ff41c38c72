"""Bulk ingests, and collections whose graph is not built, on every engine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, EdgeClient, HnswConfig, MuveraConfig
from colbert_qdrant.collection import unbuilt
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

SMALL = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=8, r_reps=8))
LARGE = CollectionConfig(fde=MuveraConfig(k_sim=6, dim_proj=16, r_reps=60), hnsw=HnswConfig(m=4, ef_construct=4))
"""An encoding so long that 120 documents get a graph."""

DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(120))]


def create(client: Client, name: str, config: CollectionConfig = SMALL) -> ColbertCollection:
    return ColbertCollection.create(name, client=client, encoder=WordEncoder(), config=config)


def test_a_bulk_ingest_stores_the_same(engine: Engine, client: Client) -> None:
    bulk, usual = create(client, engine.name), create(client, f"{engine.name}-usual")
    threshold = client.get_collection(engine.name).config.optimizer_config.indexing_threshold
    seen: set[Any] = set()

    def source() -> Iterator[Document]:
        for document in DOCUMENTS:
            seen.add(client.get_collection(engine.name).config.optimizer_config.indexing_threshold)
            yield document

    reports = bulk.ingest(source(), bulk=True), usual.ingest(DOCUMENTS)
    assert reports[0].documents == reports[1].documents == bulk.count() == len(DOCUMENTS)
    assert bulk.search("river") == usual.search("river")
    is_server = bulk.info().engine == "server"
    assert seen == ({0} if is_server else {threshold})
    assert client.get_collection(engine.name).config.optimizer_config.indexing_threshold == threshold
    assert bulk.check() == ()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeClient]:
    with EdgeClient(tmp_path / "edge") as client:
        yield client


def test_a_bulk_ingest_ends_with_graphs_on_edge(edge: EdgeClient) -> None:
    docs = create(edge, "docs", LARGE)
    docs.ingest(DOCUMENTS)
    assert docs.info().status == "grey"
    docs.ingest(DOCUMENTS, bulk=True)
    assert docs.info().status == "green"
    assert edge.get_collection("docs").indexed_vectors_count


def test_an_error_ends_a_bulk_ingest_without_graphs(edge: EdgeClient) -> None:
    docs = create(edge, "docs", LARGE)

    def source() -> Iterator[Document]:
        yield from DOCUMENTS
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        docs.ingest(source(), bulk=True)
    assert not edge.get_collection("docs").indexed_vectors_count


def test_a_missing_graph_is_logged_once(
    edge: EdgeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unbuilt, "_SECONDS", 0.0)
    docs = create(edge, "docs", LARGE)
    docs.search("river")
    docs.ingest(DOCUMENTS)
    docs.search("river", mode="exact")
    assert caplog.messages == []
    for _ in "ab":
        docs.search("river")
        docs.search_groups("river", group_by="n")
    (record,) = [each for each in caplog.records if each.name.endswith(".unbuilt")]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("collection 'docs': the graph of 120 documents is not built, so searches ")
    again = ColbertCollection.open("docs", client=edge, encoder=WordEncoder())
    again.optimize()
    again.search("river")
    assert len(caplog.records) == 1


def test_the_status_is_not_asked_for_at_every_search(edge: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = create(edge, "docs")
    docs.ingest(DOCUMENTS[:5])
    asked: list[str] = []
    ask = EdgeClient.get_collection

    def counting(client: EdgeClient, collection_name: str) -> Any:
        asked.append(collection_name)
        return ask(client, collection_name)

    monkeypatch.setattr(EdgeClient, "get_collection", counting)
    monkeypatch.setattr(unbuilt, "_SECONDS", 3_600.0)
    monkeypatch.setattr("colbert_qdrant.collection.opened.READ_SECONDS", 3_600.0)
    for _ in range(5):
        docs.search("river")
    assert asked == ["docs"]
