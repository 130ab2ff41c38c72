"""A search finds the same documents with the same scores in the same order everywhere: those that numpy finds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colbert_qdrant import Document, HnswConfig, TokenEmbeddings
from tests.congruence.engines import CONFIG, ENCODER, LARGE, Engine, GraphEdge, examples
from tests.congruence.reference import assert_ranked, maxsim
from tests.congruence.strategies import IDS, TEXTS, documents
from tests.encoders import MatrixEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from colbert_qdrant import ColbertCollection, DocumentId, SearchMode
    from colbert_qdrant.config import VectorDatatype

GRAPHS = replace(CONFIG, hnsw=HnswConfig(full_scan_threshold=10))
LIMITS = st.sampled_from([1, 2, 3, 5, LARGE])
QUERIES = st.lists(TEXTS, min_size=1, max_size=3)


def exact_scores(query: str, stored: Sequence[Document]) -> dict[DocumentId, float]:
    """MaxSim, which the words' vectors leave without any rounding."""
    [matrix] = ENCODER.encode_queries([query])
    return {each.id: maxsim(matrix, ENCODER.encode_documents([each.text])[0]) for each in stored}


@pytest.mark.parametrize("mode", ["exact", "two-stage"])
@examples(20)
@given(stored=documents(), queries=QUERIES, limit=LIMITS, with_payload=st.booleans())
def test_maxsim_ranks_as_numpy_does(
    engine: Engine, mode: SearchMode, stored: list[Document], queries: list[str], limit: int, with_payload: bool
) -> None:
    by_id = {(type(each.id), each.id): each for each in stored}
    with engine.collection(stored, config=GRAPHS) as docs:
        how: dict[str, Any] = {"limit": limit, "candidates": LARGE, "mode": mode, "with_payload": with_payload}
        found = [*docs.search_batch(queries, **how), docs.search(queries[0], **how)]
        for query, hits in zip([*queries, queries[0]], found, strict=True):
            assert_ranked(hits, exact_scores(query, stored), limit=limit)
            for hit in hits:
                document = by_id[type(hit.id), hit.id]
                expected = (document.text, document.payload) if with_payload else (None, {})
                assert (hit.text, hit.payload) == expected


def stored_form(engine: Engine, datatype: VectorDatatype, values: NDArray[Any]) -> NDArray[Any]:
    """What an engine computes with; local mode keeps every number as it is (`datatypes_in_local_mode`)."""
    return values if engine.kind == "memory" else values.astype(datatype)


def encoding_scores(
    docs: ColbertCollection, engine: Engine, query: TokenEmbeddings, tokens: Sequence[Any]
) -> list[float]:
    assert docs.fde is not None
    datatype = docs.config.fde_datatype
    encoded = docs.fde.encode_documents(TokenEmbeddings.from_matrices(tokens, dim=query.dim))
    [target] = docs.fde.encode_queries(query)
    products = stored_form(engine, datatype, encoded).astype(np.float64) @ stored_form(engine, datatype, target)
    scores: list[float] = products.tolist()
    return scores


@examples(20)
@given(stored=documents(), query=TEXTS, limit=LIMITS)
def test_encodings_rank_as_numpy_does(engine: Engine, stored: list[Document], query: str, limit: int) -> None:
    tokens = [ENCODER.encode_documents([each.text])[0] for each in stored]
    with engine.collection(stored, config=GRAPHS) as docs:
        scores = encoding_scores(docs, engine, ENCODER.encode_queries([query]), tokens)
        by_id = dict(zip([each.id for each in stored], scores, strict=True))
        for hits in (docs.search(query, limit=limit, mode="fde"), *docs.search_batch([query], limit=limit, mode="fde")):
            assert_ranked(hits, by_id, limit=limit, tolerance=1e-5)


MATRICES = st.integers(1, 4).flatmap(
    lambda rows: st.lists(
        st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=rows, max_size=rows
    ).map(lambda matrix: np.array(matrix, np.float32))
)


@pytest.mark.parametrize("datatype", ["float32", "float16"])
@examples(15)
@given(matrices=st.lists(MATRICES, min_size=1, max_size=8), query=MATRICES, limit=LIMITS)
def test_any_numbers_score_as_in_numpy(
    engine: Engine, datatype: VectorDatatype, matrices: list[Any], query: Any, limit: int
) -> None:
    encoder = MatrixEncoder(matrices, dim=3)
    config = replace(GRAPHS, fde_datatype=datatype, token_datatype=datatype)
    tokens = TokenEmbeddings.from_matrices([query])
    stored = [Document(number, "anything") for number in range(len(matrices))]
    with engine.collection(stored, encoder=encoder, config=config) as docs:
        asked = stored_form(engine, datatype, query)
        scores = [maxsim(asked, stored_form(engine, datatype, matrix)) for matrix in matrices]
        for mode in ("exact", "two-stage"):
            hits = docs.search(tokens, limit=limit, candidates=LARGE, mode=mode)
            assert_ranked(hits, dict(enumerate(scores)), limit=limit, tolerance=1e-5)
        scores = encoding_scores(docs, engine, tokens, matrices)
        assert_ranked(
            docs.search(tokens, limit=limit, mode="fde"), dict(enumerate(scores)), limit=limit, tolerance=1e-5
        )


def test_there_are_graphs_to_compare(engine: Engine) -> None:
    with engine.collection([Document(id, "river bridge") for id in IDS], config=GRAPHS) as docs:
        indexed = engine.client.get_collection(docs.name).indexed_vectors_count
    assert bool(indexed) == isinstance(engine.client, GraphEdge)
