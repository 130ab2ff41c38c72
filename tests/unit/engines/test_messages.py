"""What arrives at a server over gRPC, on a real socket, against what the client's own conversion makes of lists."""

# ruff: noqa: N802  a servicer's methods have the names of the protocol

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as messages
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.conversions.conversion import RestToGrpc, grpc_to_payload
from qdrant_client.qdrant_remote import QdrantRemote

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    CollectionNotFoundError,
    Document,
    EdgeClient,
    MuveraConfig,
    RateLimitedError,
    RequestRefusedError,
    RetryConfig,
    UnreachableError,
)
from colbert_qdrant.collection import writer
from colbert_qdrant.collection.upsert import upsert as upsert_points
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.messages import upsert_request, vectors_request
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.engines.server import GrpcEngine
from colbert_qdrant.fde import make_encoder
from colbert_qdrant.points.convert import to_document
from colbert_qdrant.points.ids import point_id
from colbert_qdrant.points.point import Point, split_by_bytes, to_struct
from colbert_qdrant.vectors import SparseVector
from tests.encoders import WordEncoder
from tests.grpc_server import Server, connect, operation_done, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
PAYLOAD = {
    "none": None,
    "truth": [True, False],
    "numbers": [0, -1, 2**63 - 1, -(2**63), 0.1, -1e300],
    "nested": {"a": {"b": [{"c": None}, []]}, "empty": {}},
    "ключ": "naïve ☃ 𝄞 \x00",
    "": "",
}
EXTREMES = np.array([0.0, -0.0, 1e-45, -1.1754942e-38, 3.4028235e38, -3.4028235e38, 1 / 3, 16777217.0], np.float32)


def upsert(client: Any, collection: str, points: list[Point]) -> None:
    """Store points, trying once."""
    engine = blocking_engine(client, retry=RetryConfig(attempts=1))
    run_blocking(upsert_points(engine, collection, points))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[QdrantClient]:
    with_grpc = connect(server.port)
    yield with_grpc
    with_grpc.close()


def point(id: str | int = UUID, *, payload: dict[str, Any] | None = None, **vectors: Any) -> Point:
    return Point(id=id, vectors=vectors, payload={} if payload is None else payload)


def sparse(indices: list[int], values: list[float]) -> SparseVector:
    return SparseVector(indices=np.array(indices, np.uint32), values=np.array(values, np.float32))


def from_lists(collection: str, points: list[Point]) -> Any:
    """The client's own message."""
    converted = [RestToGrpc.convert_point_struct(to_struct(each)) for each in points]
    return messages.UpsertPoints(collection_name=collection, wait=True, points=converted)


def floats(values: Any) -> bytes:
    return np.array(values, np.float32).tobytes()


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def points(draw: st.DrawFn) -> Point:
    vectors: dict[str, Any] = {}
    if draw(st.booleans()):
        vectors["fde"] = draw(arrays.arrays(np.float32, st.integers(1, 70), elements=FINITE))
    if draw(st.booleans()):
        shape = st.tuples(st.integers(1, 5), st.integers(1, 40))
        vectors["colbert"] = draw(arrays.arrays(np.float32, shape, elements=FINITE))
    if draw(st.booleans()):
        entries = draw(st.dictionaries(st.integers(0, 2**32 - 1), FINITE, max_size=40))
        vectors["bm25 ☃"] = sparse(list(entries), list(entries.values()))
    return Point(id=draw(st.uuids().map(str) | st.integers(0, 2**64 - 1)), vectors=vectors, payload=draw(PAYLOADS))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PAYLOADS = st.dictionaries(st.text(), JSON, max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(points(), max_size=4))
def test_it_is_the_message_that_the_client_makes_of_lists(given_points: list[Point]) -> None:
    made, reference = upsert_request("docs", given_points), from_lists("docs", given_points)
    assert made == reference
    # equal messages may differ in the sign of a zero, but not in their bytes
    assert made.SerializeToString(deterministic=True) == reference.SerializeToString(deterministic=True)


@pytest.mark.parametrize("dim", [1, 31, 32, 127, 128, 4_095, 4_096, 5_120, 524_288, 600_000])
def test_lengths_of_every_size(dim: int) -> None:
    vector = np.random.default_rng(dim).standard_normal(dim, np.float32)
    rows = vector[: 2 * (dim // 2) or 1].reshape(-1, dim // 2 or 1)
    given_points = [point(fde=vector, colbert=rows)]
    assert upsert_request("docs", given_points) == from_lists("docs", given_points)


def test_what_is_not_contiguous_or_of_another_byte_order_or_width() -> None:
    matrix = np.random.default_rng(0).standard_normal((6, 10)).astype(np.float32)
    for view in (
        matrix[::2, ::3],
        matrix.T,
        np.asfortranarray(matrix),
        matrix.astype(">f4"),
        matrix.astype(np.float64),
    ):
        given_points = [point(fde=view[0], colbert=view)]
        assert upsert_request("docs", given_points) == from_lists("docs", given_points)


def test_a_vector_of_nothing_is_still_there() -> None:
    (made,) = upsert_request("docs", [point(bm25=sparse([], []))]).points
    assert made.vectors.vectors.vectors["bm25"].WhichOneof("vector") == "sparse"


def test_everything_arrives_as_it_was(server: Server, client: QdrantClient) -> None:
    tokens = np.random.default_rng(1).standard_normal((60, 128), np.float32)
    sent = [
        point(
            UUID, payload=PAYLOAD, fde=EXTREMES, colbert=tokens, bm25=sparse([0, 127, 128, 2**32 - 1], [1, -2, 3, 0.1])
        ),
        point(2**64 - 1, payload={}, colbert=EXTREMES.reshape(2, 4)),
        point(0),
    ]
    upsert(client, "naïve docs", sent)
    (request,) = server.upserts
    assert (request.collection_name, request.wait) == ("naïve docs", True)
    first, second, third = request.points
    vectors = first.vectors.vectors.vectors
    assert set(vectors) == {"fde", "colbert", "bm25"}
    assert floats(vectors["fde"].dense.data) == EXTREMES.tobytes()
    assert [floats(row.data) for row in vectors["colbert"].multi_dense.vectors] == [row.tobytes() for row in tokens]
    assert list(vectors["bm25"].sparse.indices) == [0, 127, 128, 2**32 - 1]
    assert floats(vectors["bm25"].sparse.values) == floats([1, -2, 3, 0.1])
    assert grpc_to_payload(first.payload) == PAYLOAD
    assert (first.id.uuid, second.id.num, third.id.num) == (UUID, 2**64 - 1, 0)
    assert [len(row.data) for row in second.vectors.vectors.vectors["colbert"].multi_dense.vectors] == [4, 4]
    assert not third.payload
    assert request == from_lists("naïve docs", sent)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_points=st.lists(points(), min_size=1, max_size=4))
def test_anything_arrives_as_it_was(server: Server, client: QdrantClient, given_points: list[Point]) -> None:
    upsert(client, "docs", given_points)
    assert server.upserts[-1] == from_lists("docs", given_points)


@pytest.mark.parametrize("timeout", [None, 7, 2.5])
def test_the_call_is_the_one_of_the_client(monkeypatch: pytest.MonkeyPatch, timeout: Any) -> None:
    calls = []

    class Stub:
        def Upsert(self, request: Any, *, timeout: Any) -> Any:
            calls.append((request, timeout))
            return operation_done()

    monkeypatch.setattr(QdrantRemote, "grpc_points", property(lambda _: Stub()))
    client = connect(1, timeout=timeout)
    sent = [point(payload=PAYLOAD, fde=EXTREMES, bm25=sparse([3], [4]))]
    upsert(client, "docs", sent)
    client.upsert("docs", points=[to_struct(each) for each in sent], wait=True)
    client.close()
    assert calls[0] == calls[1]


def test_the_key_is_sent(server: Server) -> None:
    with pytest.warns(UserWarning, match="insecure"):
        client = connect(server.port, api_key="opensesame", https=False)
    upsert(client, "docs", [point()])
    client.close()
    assert server.metadata["api-key"] == "opensesame"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("RESOURCE_EXHAUSTED", RateLimitedError),
        ("UNAVAILABLE", UnreachableError),
        ("INVALID_ARGUMENT", RequestRefusedError),
        ("NOT_FOUND", CollectionNotFoundError),
    ],
)
def test_errors_are_caused_by_the_client_s_own(
    server: Server, client: QdrantClient, code: str, error: type[Exception]
) -> None:
    server.error = (grpc.StatusCode[code], "told by the server")
    with pytest.raises(error, match="told by the server") as caught:
        upsert(client, "docs", [point()])
    with pytest.raises(grpc.RpcError) as own:
        client.upsert("docs", points=[models.PointStruct(id=UUID, vector={}, payload={})])
    ours: Any = caught.value.__cause__
    theirs: Any = own.value
    assert type(ours) is type(theirs)
    assert (ours.code(), ours.details()) == (theirs.code(), theirs.details()) == server.error


def test_when_to_come_back_is_told(server: Server, client: QdrantClient) -> None:
    server.error, server.retry_after = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too fast"), "3"
    with pytest.raises(RateLimitedError, match="too fast") as caught:
        upsert(client, "docs", [point()])
    assert caught.value.retry_after == 3
    assert isinstance(caught.value.__cause__, ResourceExhaustedResponse)


def test_numbers_that_the_client_cannot_send_are_its_error(server: Server, client: QdrantClient) -> None:
    with pytest.raises(ValueError, match="out of range"):
        client.upsert("docs", points=[models.PointStruct(id=1, vector={}, payload={"n": 2**63})])
    with pytest.raises(RequestRefusedError, match=r"the client rejected the request .*out of range"):
        upsert(client, "docs", [point(payload={"n": 2**63})])
    assert server.upserts == []


def test_only_a_client_of_a_server_that_prefers_it_speaks_grpc(client: QdrantClient, tmp_path: Path) -> None:
    assert isinstance(blocking_engine(client), GrpcEngine)
    for other in (
        QdrantClient(host="127.0.0.1", check_compatibility=False),
        QdrantClient(":memory:", prefer_grpc=True),
        QdrantClient(path=str(tmp_path / "local"), prefer_grpc=True),
        EdgeClient(tmp_path / "edge"),
    ):
        assert not isinstance(blocking_engine(other), GrpcEngine)
        other.close()


def test_local_mode_takes_lists_whatever_it_prefers() -> None:
    client = QdrantClient(":memory:", prefer_grpc=True)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder())
    docs.upsert([Document("a", "river")])
    assert [hit.id for hit in docs.search("river")] == ["a"]
    client.close()


def test_a_sparse_vector_goes_to_other_engines_as_lists() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("docs", {}, sparse_vectors_config={"bm25": models.SparseVectorParams()})
    upsert(client, "docs", [point(bm25=sparse([1, 7], [0.5, 2]))])
    (record,) = client.retrieve("docs", [UUID], with_vectors=True)
    assert record.vector == {"bm25": models.SparseVector(indices=[1, 7], values=[0.5, 2.0])}
    client.close()


@pytest.mark.parametrize("with_sparse", [False, True])
def test_the_size_of_a_batch_is_that_of_its_message(with_sparse: bool) -> None:
    random = np.random.default_rng(0)
    vectors: dict[str, Any] = {"fde": random.random(640, np.float32), "colbert": random.random((20, 128), np.float32)}
    if with_sparse:
        vectors["bm25"] = sparse(list(range(2**31, 2**31 + 50)), [1.0] * 50)
    given_points = [Point(id=n, vectors=vectors, payload={"text": "word " * n}) for n in range(100)]
    limit = 200_000
    batches = list(split_by_bytes(given_points, limit, binary=True))
    assert [each for batch in batches for each in batch] == given_points
    sizes = [upsert_request("docs", batch).ByteSize() for batch in batches]
    assert all(0.9 * limit < size < 1.05 * limit for size in sizes[:-1])


DOCUMENTS = [
    Document(number, f"river bridge word{number} ☃", {"number": number, "nested": {"list": [None, True, 0.5, {}]}})
    for number in range(50)
]


def test_a_whole_collection(monkeypatch: pytest.MonkeyPatch, server: Server, client: QdrantClient) -> None:
    limit = 16_384
    monkeypatch.setattr(writer, "MAX_BATCH_BYTES", limit)
    monkeypatch.setattr(client, "upsert", None)  # no lists on the way
    encoder = WordEncoder()
    config = CollectionConfig(fde=MuveraConfig(r_reps=2, k_sim=3, dim_proj=8))
    docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
    assert run_blocking(blocking_engine(client).capabilities()).version == (1, 20)
    report = docs.ingest(iter(DOCUMENTS))
    assert (report.documents, report.tokens) == (50, 200)

    *full, rest = [request.ByteSize() for request in server.upserts]
    assert full
    assert rest < 1.1 * limit
    assert all(0.8 * limit < size < 1.1 * limit for size in full)
    assert {(request.collection_name, request.wait) for request in server.upserts} == {("docs", True)}
    stored = {each.id.uuid: each for request in server.upserts for each in request.points}
    tokens = encoder.encode_documents([document.text for document in DOCUMENTS])
    fde = make_encoder(config.encoding, token_dim=encoder.dim)
    assert fde is not None
    for document, matrix, encoding in zip(DOCUMENTS, tokens, fde.encode_documents(tokens), strict=True):
        each = stored.pop(point_id(document.id))
        assert (
            to_document(models.Record(id=point_id(document.id), payload=grpc_to_payload(each.payload)), config)
            == document
        )
        vectors = each.vectors.vectors.vectors
        assert floats([row.data for row in vectors[config.token_vector].multi_dense.vectors]) == matrix.tobytes()
        assert floats(vectors[config.fde_vector].dense.data) == encoding.tobytes()
    assert not stored

    opened = ColbertCollection.open("docs", client=client, encoder=encoder)
    assert opened.config == docs.config
    opened.upsert([Document("late", "zebra")])
    assert [each.id.uuid for each in server.upserts[-1].points] == [point_id("late")]


def test_an_error_ends_an_ingest(server: Server, client: QdrantClient) -> None:
    once = RetryConfig(attempts=1)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), retry=once)
    server.error = (grpc.StatusCode.UNAVAILABLE, "restarting")
    with pytest.raises(UnreachableError, match="restarting"):
        docs.ingest(DOCUMENTS)
    assert server.upserts == []


@pytest.mark.parametrize("shard_key", [None, "acme", 7])
def test_new_vectors_are_those_that_the_client_would_send(shard_key: str | int | None) -> None:
    vectors: dict[str, Any] = {
        "fde": EXTREMES.tolist(),
        "colbert": [[0.5, 1.5], [2.5, 3.5]],
        "bm25": models.SparseVector(indices=[1, 2**32 - 1], values=[0.25, 4.0]),
    }
    changes = [models.PointVectors(id=id, vector=vectors) for id in (UUID, 3)]
    expected = messages.UpdatePointVectors(
        collection_name="docs", wait=True, points=[RestToGrpc.convert_point_vectors(each) for each in changes]
    )
    if shard_key is not None:
        expected.shard_key_selector.CopyFrom(RestToGrpc.convert_shard_key_selector(shard_key))
    assert vectors_request("docs", changes, shard_key) == expected
