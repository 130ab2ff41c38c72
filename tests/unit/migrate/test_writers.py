"""The collections that others write are what their names say: migrations are tested with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant.points.texts import TextSource
from tests.writers import WRITERS, Written
from tests.writers.common import COUNT, metadata, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COSINE, DOT, EUCLID = models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID
MULTI = "multi"
LLAMA_INDEX = ["_node_content", "_node_type", "document_id", "doc_id", "ref_doc_id"]
HAYSTACK = ["id", "content", "blob", "meta", "score"]


class Layout(NamedTuple):
    """What a collection looks like; ``None`` names the vector of a collection that has one without a name."""

    vectors: dict[str | None, Any]
    sparse: list[str]
    keys: list[str]
    """The payloads' keys that are not the metadata's."""
    metadata: Callable[[dict[str, Any]], Any]


def beside(payload: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key in metadata(0)}


def none(payload: dict[str, Any]) -> None:
    """Nothing is kept beside the texts."""


LAYOUTS = {
    "langchain-dense": Layout({None: COSINE}, [], ["page_content", "metadata"], lambda payload: payload["metadata"]),
    "langchain-from-documents": Layout(
        {"": COSINE}, [], ["page_content", "metadata"], lambda payload: payload["metadata"]
    ),
    "langchain-named": Layout({"text": COSINE}, [], ["page_content", "metadata"], lambda payload: payload["metadata"]),
    "langchain-hybrid": Layout(
        {"": COSINE}, ["langchain-sparse"], ["page_content", "metadata"], lambda payload: payload["metadata"]
    ),
    "langchain-own-keys": Layout({None: DOT}, [], ["body.text", "about"], lambda payload: payload["about"]),
    "llama-index-dense": Layout({None: COSINE}, [], LLAMA_INDEX, beside),
    "llama-index-hybrid": Layout({"text-dense": COSINE}, ["text-sparse-new"], LLAMA_INDEX, beside),
    "haystack-dense": Layout({None: COSINE}, [], [*HAYSTACK, "sparse_embedding"], lambda payload: payload["meta"]),
    "haystack-sparse": Layout({"text-dense": COSINE}, ["text-sparse"], HAYSTACK, lambda payload: payload["meta"]),
    "fastembed-cosine": Layout({"muvera": COSINE, "colbert": (COSINE, MULTI)}, [], ["document"], beside),
    "fastembed-dot": Layout({"muvera": DOT, "colbert": (COSINE, MULTI)}, [], ["document"], beside),
    "by-hand-unnamed": Layout({None: DOT}, [], ["document"], beside),
    "by-hand-multivector": Layout({"colpali": (COSINE, MULTI)}, [], ["picture", "page"], none),
    "by-hand-sparse": Layout({}, ["words"], ["text"], beside),
    "by-hand-settings": Layout({"title": EUCLID, "body": EUCLID}, [], ["text"], beside),
    "by-hand-gaps": Layout({"dense": COSINE}, [], ["text"], none),
}


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture(params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def written(client: QdrantClient, kind: str) -> Written:
    return WRITERS[kind](client, "docs")


def points(written: Written) -> list[models.Record]:
    found, _ = written.client.scroll(written.collection, limit=10 * COUNT, with_vectors=True)
    return found


def payloads(written: Written) -> dict[int | str, dict[str, Any]]:
    return {
        str(point.id) if isinstance(point.id, str) else int(str(point.id)): point.payload or {}
        for point in points(written)
    }


def text_of(written: Written, payload: dict[str, Any]) -> str | None:
    if not written.text_path:
        return None
    return TextSource(written.text_path).text(payload)


def test_vectors(written: Written, kind: str) -> None:
    params = written.client.get_collection("docs").config.params
    vectors = params.vectors if isinstance(params.vectors, dict) else {None: params.vectors}
    found = {
        name: (each.distance, MULTI) if each.multivector_config else each.distance
        for name, each in vectors.items()
        if each is not None
    }
    assert found == LAYOUTS[kind].vectors
    assert list(params.sparse_vectors or {}) == LAYOUTS[kind].sparse


def test_texts_are_at_their_path(written: Written, kind: str) -> None:
    stored = payloads(written)
    assert len(stored) == COUNT
    found = {id: text for id, payload in stored.items() if (text := text_of(written, payload)) is not None}
    assert found == written.texts
    assert set(found.values()) <= set(texts(COUNT))
    lacking = {"by-hand-multivector": COUNT, "by-hand-gaps": COUNT // 2}
    assert len(set(found.values())) == COUNT - lacking.get(kind, 0)


def test_payloads(written: Written, kind: str) -> None:
    layout = LAYOUTS[kind]
    given = [metadata(number) for number in range(COUNT)]
    found = payloads(written).values()
    assert {key for payload in found for key in payload if key not in metadata(0)} == set(layout.keys)
    if layout.metadata is not none:
        kept = [layout.metadata(payload) for payload in found]
        assert all(each in given for each in kept if each is not None)
        assert kept.count(None) == (COUNT // 2 if kind == "langchain-named" else 0)


def test_ids(written: Written, kind: str) -> None:
    types = {type(id) for id in payloads(written)}
    expected = {"by-hand": {int, str}, "fastembed": {int}}
    assert types == next((types for start, types in expected.items() if kind.startswith(start)), {str})


def test_its_own_application_finds_what_it_wrote_by_name_and_by_alias(written: Written, kind: str) -> None:
    alias = models.CreateAlias(collection_name="docs", alias_name="live")
    written.client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    text = texts(COUNT)[17]
    shown = written.search("docs", text)
    assert shown[0] == ("scans/17.png" if kind == "by-hand-multivector" else text)
    assert len(shown) >= 4
    assert written.search("live", text) == shown


def test_the_same_every_time(written: Written, kind: str) -> None:
    again = WRITERS[kind](QdrantClient(":memory:"), "docs")
    if kind != "langchain-named":  # its ids are made by chance
        assert points(again) == points(written)
    assert list(again.texts.values()) == list(written.texts.values())
    again.client.close()


def test_its_application_finds_the_same_whatever_the_order_of_the_points(written: Written, kind: str) -> None:
    params = written.client.get_collection("docs").config.params
    written.client.create_collection("copy", vectors_config=params.vectors, sparse_vectors_config=params.sparse_vectors)
    copies = [models.PointStruct.model_validate(point.model_dump(exclude_none=True)) for point in points(written)]
    written.client.upsert("copy", sorted(copies, key=lambda point: str(point.id), reverse=True))
    for text in texts(COUNT)[:20]:
        assert written.search("copy", text) == written.search("docs", text)


def test_as_many_as_asked_for(client: QdrantClient, kind: str) -> None:
    assert client.count(WRITERS[kind](client, "many", 150).collection).count == 150


def test_settings(client: QdrantClient) -> None:
    WRITERS["by-hand-settings"](client, "docs")
    assert client.get_collection("docs").config.metadata == {"owner": "search team", "schema": {"version": 3}}
    [alias] = client.get_collection_aliases("docs").aliases
    assert alias.alias_name == "docs-live"


def test_gaps(client: QdrantClient) -> None:
    found = points(WRITERS["by-hand-gaps"](client, "docs"))
    assert sum(not point.payload for point in found) == COUNT // 5
    assert sum(not point.vector for point in found) == COUNT // 10
