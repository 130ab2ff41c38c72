"""Quantized encodings in the embedded engine: created as asked, and searched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, HnswConfig, LemurConfig
from colbert_qdrant.engines.edge import EDGE
from colbert_qdrant.points.schema import creation_arguments
from colbert_qdrant.search.options import CheckedOptions
from colbert_qdrant.search.request import RequestBuilder
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from colbert_qdrant import SearchHits
    from colbert_qdrant.edge import EdgeClient

TEXTS = random_texts(300)
EXPECTED: dict[Any, Any] = {
    "turbo4": models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, memory=models.Memory.PINNED)
    ),
    "turbo2": models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS2, memory=models.Memory.PINNED)
    ),
    "int8": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, memory=models.Memory.PINNED)
    ),
    None: None,
    "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(memory=models.Memory.PINNED)),
}


def config(quantization: Any) -> CollectionConfig:
    fde = LemurConfig(dim=64, hidden=128, epochs=0, learn_tokens=300, fit_documents=200)
    return CollectionConfig(fde=fde, fde_quantization=quantization, hnsw=HnswConfig(full_scan_threshold=10), segments=1)


@pytest.mark.parametrize("quantization", EXPECTED)
def test_encodings_are_quantized_as_asked_and_found(client: EdgeClient, quantization: Any) -> None:
    encoder = WordEncoder()
    collection = ColbertCollection.create("docs", client=client, encoder=encoder, config=config(quantization))
    vectors: Any = client.get_collection("docs").config.params.vectors
    assert vectors["fde"].quantization_config == EXPECTED[quantization]
    assert vectors["colbert"].quantization_config is None
    collection.ingest(Document(number, text) for number, text in enumerate(TEXTS))
    collection.optimize()
    assert collection.fde is not None
    queries = encoder.encode_queries(TEXTS[:20])
    products = (
        collection.fde.encode_queries(queries) @ collection.fde.encode_documents(encoder.encode_documents(TEXTS)).T
    )
    best = np.argsort(-products, axis=1)[:, :20]

    def share(found: list[SearchHits]) -> float:
        pairs = zip(found, best.tolist(), strict=True)
        return float(np.mean([len({hit.id for hit in hits} & set(ids)) / 20 for hits, ids in pairs]))

    rescored = collection.search_batch(queries, limit=20, mode="fde")
    assert share(rescored) > {"binary": 0.6, "turbo2": 0.6, "turbo4": 0.8}.get(quantization, 0.95)
    for hits, row in zip(rescored, products, strict=True):
        assert [hit.score for hit in hits] == pytest.approx([row[hit.id] for hit in hits], rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("quantization", EXPECTED)
def test_the_small_copies_are_what_is_compared(client: EdgeClient, quantization: Any) -> None:
    arguments = creation_arguments(config(quantization), fde_dim=64, token_dim=32, capabilities=EDGE)
    arguments["optimizers_config"] = models.OptimizersConfigDiff(default_segment_number=1, indexing_threshold=10)
    client.create_collection("docs", **arguments)
    random = np.random.default_rng(0)
    vectors, query = random.standard_normal((500, 64)).astype(np.float16), random.standard_normal(64)
    points = [models.PointStruct(id=number, vector={"fde": each.tolist()}) for number, each in enumerate(vectors)]
    client.upsert("docs", points)
    client.optimize("docs")
    exact = vectors.astype(np.float64) @ query
    for rescore in (True, False):
        params = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=rescore))
        found = client.query_points("docs", query.tolist(), using="fde", search_params=params, limit=20).points
        distance = max(abs(point.score - exact[int(point.id)]) / np.abs(exact).max() for point in found)
        is_rough = not rescore and quantization is not None
        assert (distance > 1e-3) == is_rough
        assert distance < (1 if quantization == "binary" else 0.5)


def test_what_maxsim_ranks_is_not_rescored_before() -> None:
    tokens = WordEncoder().encode_queries(["river"])[0]
    for quantization, mode, expected in (
        ("turbo4", "two-stage", models.QuantizationSearchParams(rescore=False)),
        ("turbo4", "fde", models.QuantizationSearchParams(rescore=True)),
        (None, "two-stage", None),
    ):
        options = CheckedOptions(limit=5, mode=mode)  # type: ignore[arg-type]
        builder = RequestBuilder(options=options, config=config(quantization), capabilities=EDGE)
        request = builder.request(tokens, {"fde": [0.0] * 64})
        stage: Any = request if mode == "fde" else request.prefetch
        assert stage.params.quantization == expected
        own = models.SearchParams(hnsw_ef=7)
        builder = replace(builder, options=replace(options, params=own))
        request = builder.request(tokens, {"fde": [0.0] * 64})
        stage = request if mode == "fde" else request.prefetch
        assert stage.params == own
