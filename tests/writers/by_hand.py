"""Collections that were written with qdrant-client alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdrant_client import models

from tests.writers import common
from tests.writers.common import COUNT, DIM, Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdrant_client import QdrantClient


def unnamed(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """One unnamed vector; texts deep in the payloads; ids of both kinds."""
    client.create_collection(
        collection, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.DOT, on_disk=True)
    )
    payloads = [
        {"document": {"body": [{"text": text, "language": "en"}]}, **common.metadata(number)}
        for number, text in enumerate(common.texts(count))
    ]
    _upsert(client, collection, payloads, common.dense)
    return Written(
        client,
        collection,
        text_path="document.body[0].text",
        texts=dict(zip(common.mixed_ids(count), common.texts(count), strict=True)),
        search=_searching(client, lambda payload: payload["document"]["body"][0]["text"], common.dense),
    )


def multivector(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """Token vectors and nothing else, as of pictures: no dense vector, no text; half of the memory and no graph."""
    client.create_collection(
        collection,
        vectors_config={
            "colpali": models.VectorParams(
                size=DIM,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        },
    )
    payloads = [{"picture": f"scans/{number}.png", "page": number} for number in range(count)]

    def vectors(text: str) -> dict[str, Any]:
        return {"colpali": common.tokens(text).tolist()}

    _upsert(client, collection, payloads, vectors)
    search = _searching(
        client, lambda payload: payload["picture"], lambda text: common.tokens(text).tolist(), using="colpali"
    )
    return Written(client, collection, text_path="", texts={}, search=search)


def sparse(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """A sparse vector and nothing else."""
    client.create_collection(
        collection,
        vectors_config={},
        sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    payloads = [{"text": text, **common.metadata(number)} for number, text in enumerate(common.texts(count))]
    _upsert(client, collection, payloads, lambda text: {"words": common.sparse_vector(text)})
    return Written(
        client,
        collection,
        text_path="text",
        texts=dict(zip(common.mixed_ids(count), common.texts(count), strict=True)),
        search=_searching(client, lambda payload: payload["text"], common.sparse_vector, using="words"),
    )


def settings(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """Indexes of payload fields, metadata of the collection, quantization, and the alias ``<collection>-live``."""
    client.create_collection(
        collection,
        vectors_config={"title": _euclid(), "body": _euclid()},
        quantization_config=models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        ),
        on_disk_payload=True,
        metadata={"owner": "search team", "schema": {"version": 3}},
    )
    with common.payload_indexes():
        indexes: dict[str, Any] = {
            "tags": models.PayloadSchemaType.KEYWORD,
            "source.file": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
            "number": models.IntegerIndexParams(
                type=models.IntegerIndexType.INTEGER, lookup=True, range=True, is_principal=True
            ),
            "published": models.PayloadSchemaType.DATETIME,
            "text": models.TextIndexParams(type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD),
        }
        for field, schema in indexes.items():
            client.create_payload_index(collection, field, schema)
    live = models.CreateAlias(collection_name=collection, alias_name=f"{collection}-live")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=live)])
    payloads = [{"text": text, **common.metadata(number)} for number, text in enumerate(common.texts(count))]
    _upsert(
        client,
        collection,
        payloads,
        lambda text: {"title": common.dense(text[:12]), "body": common.dense(text)},
    )
    return Written(
        client,
        collection,
        text_path="text",
        texts=dict(zip(common.mixed_ids(count), common.texts(count), strict=True)),
        search=_searching(client, lambda payload: payload["text"], common.dense, using="body"),
    )


def gaps(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """Points without payload, text or vector among the others: of ten points in a row, the first six lack something."""
    client.create_collection(collection, vectors_config={"dense": models.VectorParams(size=DIM, distance=_COSINE)})
    texts = common.texts(count)
    lacking: list[dict[str, Any] | None] = [None, {}, {"number": 2}, {"text": None}, {"text": ""}]
    payloads = [
        lacking[number % 10] if number % 10 < len(lacking) else {"text": text} for number, text in enumerate(texts)
    ]
    bare = texts[5::10]
    _upsert(client, collection, payloads, lambda text: {} if text in bare else {"dense": common.dense(text)})
    return Written(
        client,
        collection,
        text_path="text",
        texts={
            id: text
            for number, (id, text) in enumerate(zip(common.mixed_ids(count), texts, strict=True))
            if number % 10 >= len(lacking)
        },
        search=_searching(client, lambda payload: payload.get("text") or "", common.dense, using="dense"),
    )


_COSINE = models.Distance.COSINE


def _euclid() -> models.VectorParams:
    return models.VectorParams(size=DIM, distance=models.Distance.EUCLID)


def _upsert(client: QdrantClient, collection: str, payloads: list[Any], vector: Callable[[str], Any]) -> None:
    """Write points with these payloads and the vectors of the texts, whether they are in the payloads or not."""
    count = len(payloads)
    client.upsert(
        collection,
        [
            models.PointStruct(id=id, vector=vector(text), payload=payload)
            for id, text, payload in zip(common.mixed_ids(count), common.texts(count), payloads, strict=True)
        ],
    )


def _searching(
    client: QdrantClient, shown: Callable[[dict[str, Any]], str], vector: Callable[[str], Any], **request: Any
) -> Callable[[str, str], list[str]]:
    def search(name: str, query: str) -> list[str]:
        found = client.query_points(name, query=vector(query), limit=4, **request)
        return [shown(point.payload or {}) for point in found.points]

    return search
