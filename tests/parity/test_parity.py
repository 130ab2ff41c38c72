"""The encoder against PyLate and Sentence Transformers, text by text, on checkpoints in every layout."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from colbert_qdrant import ColbertEncoder, TokenEmbeddings, maxsim, rank
from colbert_qdrant.encoders.pooling import pool
from tests.parity import differences
from tests.parity.checkpoints import NAMES, build
from tests.parity.generate import GOLDENS, POOLED, READ_BY
from tests.parity.texts import DOCUMENTS, QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Encode = Callable[[ColbertEncoder, Sequence[str]], TokenEmbeddings]

TOLERANCE = 1e-6
TEXTS = {"query": QUERIES, "document": DOCUMENTS}
ENCODE: Mapping[str, Encode] = {"query": ColbertEncoder.encode_queries, "document": ColbertEncoder.encode_documents}
CASES = [
    (checkpoint, library, side)
    for library, checkpoints in READ_BY.items()
    for checkpoint in checkpoints
    for side in ("query", "document")
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def load(folder: Path) -> Callable[..., ColbertEncoder]:
    @cache
    def load(name: str, batch_size: int | None = None) -> ColbertEncoder:
        path = folder / name
        if not path.exists():
            build(name, path)
        return ColbertEncoder.from_pretrained(path, device="cpu", local_files_only=True, batch_size=batch_size)

    return load


def golden(checkpoint: str, library: str) -> Mapping[str, NDArray[np.float32]]:
    with np.load(GOLDENS / f"{checkpoint}.{library}.npz") as arrays:
        return dict(arrays)


def follows(checkpoint: str, library: str, side: str, index: int) -> bool:
    """Whether ours is to equal this library: where the two differ, the one that wrote the checkpoint.

    Except that a word of the skiplist that is no token drops nothing, as in Sentence Transformers, where PyLate drops
    every unknown token of a document.
    """
    reason = differences.KNOWN.get((checkpoint, side, index))
    if reason is None:
        return True
    return library == ("sentence-transformers" if reason.startswith("a word of the skiplist") else "pylate")


def sorted_rows(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return matrix[np.lexsort(np.round(matrix, 4).T)]


def test_there_are_enough_cases() -> None:
    assert len(set(READ_BY["pylate"]) & set(READ_BY["sentence-transformers"])) >= 6
    assert min(len(QUERIES), len(DOCUMENTS)) >= 12
    assert set(READ_BY["pylate"]) | set(READ_BY["sentence-transformers"]) == set(NAMES)


@pytest.mark.parametrize(("checkpoint", "library", "side"), CASES)
def test_equals_the_reference(load: Callable[..., ColbertEncoder], checkpoint: str, library: str, side: str) -> None:
    encoder, expected = load(checkpoint), golden(checkpoint, library)
    for index, matrix in enumerate(ENCODE[side](encoder, TEXTS[side])):
        reference = expected[f"{side}_{index:02}"]
        if not follows(checkpoint, library, side, index):
            assert matrix.shape != reference.shape or np.abs(matrix - reference).max() > 1e-3, "no difference any more"
            continue
        if encoder.spec.document.pooling and side == "document":  # the order of clusters means nothing
            matrix, reference = sorted_rows(matrix), sorted_rows(reference)  # noqa: PLW2901
        assert matrix.shape == reference.shape, (index, TEXTS[side][index])
        np.testing.assert_allclose(matrix, reference, rtol=0, atol=TOLERANCE, err_msg=repr(TEXTS[side][index]))


@pytest.mark.parametrize("side", ["query", "document"])
@pytest.mark.parametrize("checkpoint", NAMES)
def test_batches_change_nothing(load: Callable[..., ColbertEncoder], checkpoint: str, side: str) -> None:
    texts, encode = TEXTS[side], ENCODE[side]
    together = list(encode(load(checkpoint), texts))
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = encode(load(checkpoint, 2), [texts[index] for index in order])
    for index, matrix in zip(order, shuffled, strict=True):
        np.testing.assert_allclose(matrix, together[index], rtol=0, atol=TOLERANCE)
    for index, text in enumerate(texts):
        np.testing.assert_allclose(encode(load(checkpoint), [text])[0], together[index], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("checkpoint", READ_BY["pylate"])
def test_scores_are_pylates(load: Callable[..., ColbertEncoder], checkpoint: str) -> None:
    encoder, expected = load(checkpoint), golden(checkpoint, "pylate")["scores"]
    same = [
        [follows(checkpoint, "pylate", side, index) for index in range(len(texts))] for side, texts in TEXTS.items()
    ]
    scores = maxsim(encoder.encode_queries(QUERIES), encoder.encode_documents(DOCUMENTS))
    pairs = np.logical_and.outer(*same)
    np.testing.assert_allclose(scores[pairs], expected[pairs], rtol=0, atol=2e-5)


@pytest.mark.parametrize("checkpoint", READ_BY["pylate"])
def test_reranking_pylates_embeddings_gives_pylates_scores(checkpoint: str) -> None:
    expected = golden(checkpoint, "pylate")
    queries = [expected[f"query_{index:02}"] for index in range(len(QUERIES))]
    documents = [expected[f"document_{index:02}"] for index in range(len(DOCUMENTS))]
    ids = list(range(len(documents)))
    for number, results in enumerate(rank.rerank([ids] * len(queries), queries, [documents] * len(queries))):
        scores = {result["id"]: result["score"] for result in results}
        np.testing.assert_allclose([scores[id] for id in ids], expected["scores"][number], rtol=0, atol=2e-5)
        assert [result["score"] for result in results] == sorted(scores.values(), reverse=True)


def test_pooled_documents_are_pylates(load: Callable[..., ColbertEncoder]) -> None:
    documents = load(POOLED).encode_documents(DOCUMENTS)
    expected = golden(POOLED, "pylate")
    for index, matrix in enumerate(pool(documents, factor=2, normalize=False)):
        reference = expected[f"pooled_{index:02}"]
        assert matrix.shape == reference.shape
        np.testing.assert_allclose(sorted_rows(matrix), sorted_rows(reference), rtol=0, atol=TOLERANCE)


def test_the_known_differences_are_all_there_are() -> None:
    assert differences.found(GOLDENS, tolerance=TOLERANCE) == set(differences.KNOWN)


def test_the_references_are_those_that_are_promised() -> None:
    versions = json.loads((GOLDENS / "VERSIONS.json").read_text())
    assert versions["pylate"]["pylate"] == "1.6.0"
    assert versions["sentence-transformers"]["sentence-transformers"] == "6.2.0"
