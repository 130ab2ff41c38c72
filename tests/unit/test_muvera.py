"""MUVERA against its definition, and as what it is for: ranking like exact MaxSim."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant import (
    ConfigurationError,
    FixedDimensionalEncoder,
    InvalidTokensError,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.fde import muvera

DIM = 24
SMALL = MuveraConfig(k_sim=3, dim_proj=6, r_reps=4)


def unit(values: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return normalised


def random_batch(lengths: list[int], seed: int = 0, dim: int = DIM) -> TokenEmbeddings:
    return TokenEmbeddings(unit(np.random.default_rng(seed).standard_normal((sum(lengths), dim))), lengths)


def clustered(texts: int, seed: int, words: int, *, length: tuple[int, int]) -> TokenEmbeddings:
    """Texts whose tokens are noisy copies of a few centres, as words are: a text has its own few of them."""
    centres = unit(np.random.default_rng(99).standard_normal((200, 64)))
    random = np.random.default_rng(seed)
    lengths = random.integers(*length, texts)
    rows = [centres[random.choice(random.integers(0, 200, words), size)] for size in lengths]
    values = np.concatenate(rows) + 0.03 * random.standard_normal((lengths.sum(), 64))
    return TokenEmbeddings(unit(values), lengths)


def reference(encoder: MuveraEncoder, tokens: np.ndarray, *, document: bool) -> np.ndarray:
    """The definition, token by token and cell by cell, from the encoder's own hyperplanes and projections."""
    config = encoder.config
    blocks = []
    for rep in range(config.r_reps):
        normals = encoder._matrix[:, rep * config.k_sim : (rep + 1) * config.k_sim]
        start = config.r_reps * config.k_sim + rep * config.dim_proj
        projection = encoder._matrix[:, start : start + config.dim_proj]
        codes = [sum(1 << bit for bit in range(config.k_sim) if token @ normals[:, bit] > 0) for token in tokens]
        for cell in range(config.cells):
            members = [index for index, code in enumerate(codes) if code == cell]
            if not members and document and config.fill_empty:
                distances = [(code ^ cell).bit_count() for code in codes]
                members = [index for index, distance in enumerate(distances) if distance == min(distances)]
            total = sum((tokens[index] @ projection for index in members), np.zeros(config.dim_proj))
            blocks.append(total / max(len(members), 1) if document else total)
    return np.concatenate(blocks)


@pytest.mark.parametrize("fill_empty", [True, False])
@pytest.mark.parametrize("k_sim", [0, 1, 3])
def test_equals_the_definition(k_sim: int, *, fill_empty: bool) -> None:
    encoder = MuveraEncoder(replace(SMALL, k_sim=k_sim, fill_empty=fill_empty), token_dim=DIM)
    batch = random_batch([1, 2, 7, 30])
    for encoded, tokens in zip(encoder.encode_documents(batch), batch, strict=True):
        np.testing.assert_allclose(encoded, reference(encoder, tokens, document=True), atol=1e-6)
    for encoded, tokens in zip(encoder.encode_queries(batch), batch, strict=True):
        np.testing.assert_allclose(encoded, reference(encoder, tokens, document=False), atol=1e-6)


def test_projections_are_signs_that_keep_inner_products_on_average() -> None:
    config = MuveraConfig(k_sim=2, dim_proj=8, r_reps=400)
    projection = MuveraEncoder(config, token_dim=DIM)._matrix[:, config.r_reps * config.k_sim :]
    np.testing.assert_allclose(np.abs(projection), 1 / np.sqrt(8 * 400), rtol=1e-6)
    x, y = random_batch([2])[0]
    assert (x @ projection) @ (y @ projection) == pytest.approx(float(x @ y), abs=0.05)


def rank_correlation(exact: np.ndarray, approximate: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(scores, axis=1), axis=1).astype(float) for scores in (exact, approximate)]
    return float(np.mean([np.corrcoef(first, second)[0, 1] for first, second in zip(*ranks, strict=True)]))


def test_ranks_like_exact_maxsim_and_better_with_more_repetitions() -> None:
    documents = clustered(400, 1, 12, length=(20, 80))
    queries = clustered(30, 2, 4, length=(6, 12))
    exact = maxsim(queries, documents)
    found = []
    for r_reps in (1, 4, 16, 64):
        encoder = MuveraEncoder(MuveraConfig(k_sim=4, dim_proj=16, r_reps=r_reps), token_dim=64)
        found.append(rank_correlation(exact, encoder.encode_queries(queries) @ encoder.encode_documents(documents).T))
    assert found == sorted(found), found
    assert found[-1] > 0.75, found


def test_the_best_document_is_among_the_first_candidates() -> None:
    documents = clustered(400, 1, 12, length=(20, 80))
    queries = clustered(30, 2, 4, length=(6, 12))
    encoder = MuveraEncoder(token_dim=64)
    scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
    candidates = np.argsort(-scores, axis=1)[:, :40]
    best = maxsim(queries, documents).argmax(axis=1)
    assert np.mean([document in row for document, row in zip(best, candidates, strict=True)]) > 0.9


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_a_query_is_the_sum_of_its_parts(first: int, second: int) -> None:
    encoder = MuveraEncoder(SMALL, token_dim=DIM)
    parts = random_batch([first, second])
    whole = TokenEmbeddings(parts.values, [first + second])
    np.testing.assert_allclose(encoder.encode_queries(whole)[0], encoder.encode_queries(parts).sum(axis=0), atol=1e-5)


@settings(deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_the_tokens_does_not_matter(order: list[int]) -> None:
    encoder = MuveraEncoder(SMALL, token_dim=DIM)
    values = random_batch([12]).values
    for encode in (encoder.encode_documents, encoder.encode_queries):
        np.testing.assert_allclose(
            encode(TokenEmbeddings(values[order], [12])), encode(TokenEmbeddings(values, [12])), atol=1e-6
        )


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=10), st.integers(1, 40), st.integers(0, 10))
def test_a_text_is_encoded_alike_in_any_batch(lengths: list[int], tile: int, cut: int) -> None:
    encoder = MuveraEncoder(SMALL, token_dim=DIM)
    batch = random_batch(lengths)
    expected = encoder.encode_documents(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muvera, "_TILE_TOKENS", tile)
        parts = [encoder.encode_documents(part) for part in (batch[:cut], batch[cut:])]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


def test_another_process_encodes_the_same() -> None:
    script = (
        "import numpy as np; from colbert_qdrant import *; from tests.unit.test_muvera import *;"
        "print(MuveraEncoder(SMALL, token_dim=DIM).encode_documents(random_batch([5, 9])).tobytes().hex())"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    other = np.frombuffer(bytes.fromhex(printed), np.float32).reshape(2, -1)
    np.testing.assert_array_equal(MuveraEncoder(SMALL, token_dim=DIM).encode_documents(random_batch([5, 9])), other)


def test_another_seed_encodes_otherwise() -> None:
    batch = random_batch([5, 9])
    first, second = (MuveraEncoder(replace(SMALL, seed=seed), token_dim=DIM).encode_documents(batch) for seed in (1, 2))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.2


def test_shapes_and_dtypes_also_of_nothing() -> None:
    encoder = MuveraEncoder(SMALL, token_dim=DIM)
    assert isinstance(encoder, FixedDimensionalEncoder)
    assert encoder.dim == 4 * 8 * 6
    for encode in (encoder.encode_documents, encoder.encode_queries):
        assert encode(random_batch([3, 4])).dtype == np.float32
        assert encode(TokenEmbeddings.from_matrices([], dim=DIM)).shape == (0, encoder.dim)


def test_a_zero_vector_and_a_very_long_document_stay_finite() -> None:
    encoder = MuveraEncoder(SMALL, token_dim=DIM)
    batch = TokenEmbeddings(np.concatenate([np.zeros((1, DIM)), random_batch([20_000]).values]), [1, 20_000])
    assert np.isfinite(encoder.encode_documents(batch)).all()


def test_tokens_of_another_dimension_are_refused() -> None:
    with pytest.raises(InvalidTokensError, match="have 8 dimensions, but this encoding was made for 24"):
        MuveraEncoder(SMALL, token_dim=DIM).encode_documents(random_batch([2], dim=8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k_sim": -1}, "k_sim must be between 0 and 12, got -1"),
        ({"k_sim": 13}, "k_sim must be between 0 and 12"),
        ({"k_sim": 2.0}, "k_sim must be a whole number, got 2.0"),
        ({"dim_proj": 0}, "dim_proj must be at least 1"),
        ({"r_reps": True}, "r_reps must be a whole number"),
        ({"seed": -1}, "seed must be between 0 and 4294967295"),
        ({"fill_empty": 1}, "fill_empty must be True or False"),
        ({"r_reps": 128}, "= 65,536 dimensions, but a Qdrant vector has at most 65,535"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MuveraConfig(**arguments)  # type: ignore[arg-type]
