"""Where a fitted encoding is kept on a server or in local mode: whole, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from grpc import RpcError, StatusCode
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from colbert_qdrant import ArtefactError, EdgeClient, RequestRefusedError
from colbert_qdrant.collection import aliases, artefacts, companion
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.runtime import run_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 40
OTHER = DATA[::-1]
HERE = "docs__fde"
ENCODER = {"type": "words", "dim": 8}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantClient]:
    monkeypatch.setattr(companion, "_PIECE_BYTES", 1_000)
    client = QdrantClient(":memory:")
    yield client
    client.close()


def publish(client: QdrantClient | EdgeClient, name: str, data: bytes, *, replace: bool = False) -> bytes:
    return run_blocking(artefacts.publish(blocking_engine(client), name, data, encoder=ENCODER, replace=replace))


def fetch(client: QdrantClient | EdgeClient, name: str) -> bytes | None:
    return run_blocking(artefacts.fetch(blocking_engine(client), name))


def delete(client: QdrantClient, name: str) -> None:
    run_blocking(artefacts.delete(blocking_engine(client), name))


def real_name(client: QdrantClient | EdgeClient, name: str) -> str:
    return run_blocking(aliases.real_name(blocking_engine(client), name))


def points(client: QdrantClient) -> list[models.Record]:
    return client.scroll(HERE, limit=1_000)[0]


def chunks(client: QdrantClient) -> list[models.Record]:
    return [point for point in points(client) if "data" in (point.payload or {})]


@pytest.mark.parametrize("size", [0, 1, 999, 1_000, 1_001, len(DATA)])
def test_what_is_published_is_fetched(client: QdrantClient, size: int) -> None:
    assert fetch(client, "docs") is None
    assert publish(client, "docs", DATA[:size]) == DATA[:size]
    assert fetch(client, "docs") == DATA[:size]
    assert fetch(client, "other") is None
    assert len(chunks(client)) == -(-size // 1_000)


def test_no_request_is_too_large(client: QdrantClient) -> None:
    publish(client, "docs", DATA)
    assert max(len((point.payload or {})["data"]) for point in chunks(client)) <= 1_336


def test_the_first_one_stays(client: QdrantClient) -> None:
    publish(client, "docs", DATA)
    assert publish(client, "docs", OTHER) == DATA
    assert fetch(client, "docs") == DATA


def test_one_that_is_replaced_leaves_nothing_behind(client: QdrantClient) -> None:
    publish(client, "docs", DATA)
    before = len(points(client))
    assert publish(client, "docs", OTHER, replace=True) == OTHER
    assert fetch(client, "docs") == OTHER
    assert len(points(client)) == before


def test_one_that_was_being_written_when_its_writer_died_is_none(client: QdrantClient) -> None:
    publish(client, "docs", DATA)
    manifest = next(point for point in points(client) if "data" not in (point.payload or {}))
    client.delete(HERE, [manifest.id])
    assert fetch(client, "docs") is None
    assert publish(client, "docs", OTHER) == OTHER


@pytest.mark.parametrize(
    "payload", [{"data": "AAAA"}, {"data": ""}, {"data": "no base64!"}, {"data": None}, {"data": 3}, {"other": 1}]
)
@pytest.mark.parametrize("number", [0, 5, -1])
def test_an_altered_chunk_is_an_error(client: QdrantClient, number: int, payload: dict[str, Any]) -> None:
    publish(client, "docs", DATA)
    client.overwrite_payload(HERE, payload, points=[chunks(client)[number].id])
    with pytest.raises(ArtefactError, match=r"in collection 'docs__fde' is incomplete .* restore 'docs__fde'"):
        fetch(client, "docs")


def test_a_missing_chunk_is_an_error_until_it_is_replaced(client: QdrantClient) -> None:
    publish(client, "docs", DATA)
    client.delete(HERE, [chunks(client)[3].id])
    with pytest.raises(ArtefactError, match="is incomplete or damaged"):
        publish(client, "docs", OTHER)
    assert publish(client, "docs", OTHER, replace=True) == OTHER


@pytest.mark.parametrize("manifest", [{}, {"digest": "x"}, {"digest": 3, "chunks": 1}, {"digest": "x", "chunks": "2"}])
def test_an_altered_manifest_is_an_error(client: QdrantClient, manifest: dict[str, Any]) -> None:
    publish(client, "docs", DATA)
    point = next(point for point in points(client) if "data" not in (point.payload or {}))
    client.overwrite_payload(HERE, manifest, points=[point.id])
    with pytest.raises(ArtefactError, match="is incomplete or damaged"):
        fetch(client, "docs")


def test_delete_takes_nothing_that_is_not_an_artefact(client: QdrantClient) -> None:
    publish(client, "docs", DATA)
    delete(client, "docs")
    assert not client.collection_exists(HERE)
    delete(client, "docs")
    vectors = {"mine": models.VectorParams(size=2, distance=models.Distance.DOT)}
    client.create_collection(HERE, vectors_config=vectors)
    delete(client, "docs")
    assert client.collection_exists(HERE)


def test_two_that_create_the_companion_at_once_both_go_on(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = client.create_collection

    def too_late(*arguments: Any, **named: Any) -> Any:
        create(*arguments, **named)
        return create(*arguments, **named)

    monkeypatch.setattr(client, "create_collection", too_late)
    assert publish(client, "docs", DATA) == DATA


def test_an_alias_stands_for_its_collection(client: QdrantClient) -> None:
    vectors = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config=vectors)
    create = models.CreateAlias(collection_name="docs", alias_name="current")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    publish(client, "current", DATA)
    assert client.collection_exists(HERE)
    assert fetch(client, "docs") == DATA
    assert run_blocking(artefacts.location(blocking_engine(client), "current")) == "collection 'docs__fde'"
    assert real_name(client, "other") == "other"


class FailedCallError(RpcError):
    """As gRPC says that something went wrong."""

    def __init__(self, code: StatusCode) -> None:
        super().__init__(code.name)
        self._code = code

    def code(self) -> StatusCode:
        return self._code

    def details(self) -> str:
        return "told to fail"


def refuse_rest(status: int) -> Exception:
    return UnexpectedResponse(status, "", b"", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (refuse_rest(403), None),
        (refuse_rest(401), None),
        (refuse_rest(400), RequestRefusedError),
        (FailedCallError(StatusCode.PERMISSION_DENIED), None),
        (FailedCallError(StatusCode.INVALID_ARGUMENT), RequestRefusedError),
        (NotImplementedError("gone"), NotImplementedError),
    ],
)
def test_only_a_missing_permission_is_no_reason_to_stop(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception] | None
) -> None:
    def get_aliases() -> None:
        raise error

    monkeypatch.setattr(client, "get_aliases", get_aliases)
    if raised is None:
        assert real_name(client, "docs") == "docs"
    else:
        with pytest.raises(raised):
            real_name(client, "docs")


def test_an_alias_of_an_embedded_collection_stands_for_it(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
        create = models.CreateAlias(collection_name="docs", alias_name="current")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        assert real_name(client, "current") == "docs"
        assert real_name(client, "other") == "other"
        publish(client, "current", DATA)
        assert fetch(client, "docs") == fetch(client, "current") == DATA


def test_an_embedded_store_keeps_a_file_with_the_collection(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
        assert fetch(client, "docs") is None
        assert publish(client, "docs", DATA) == DATA
        assert publish(client, "docs", OTHER) == DATA
        assert publish(client, "docs", OTHER, replace=True) == OTHER
    with EdgeClient(tmp_path) as client:
        assert fetch(client, "docs") == OTHER
        assert client.get_collections().collections == [models.CollectionDescription(name="docs")]
        client.delete_collection("docs")
        client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
        assert fetch(client, "docs") is None
