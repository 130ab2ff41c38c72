"""MUVERA against its definition, and as what it is for: ranking like exact MaxSim."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant import (
    FixedDimensionalEncoder,
    InvalidTokensError,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.fde.muvera import cells, encoder
from colbert_qdrant.fde.muvera.host import HostCells
from tests.processes import run_script
from tests.unit.fde.muvera_reference import reference

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


@pytest.mark.parametrize("partition", ["simhash", "kmeans"])
def test_a_query_is_encoded_alone_as_among_many(partition: Literal["simhash", "kmeans"]) -> None:
    config = replace(SMALL, partition=partition)
    encoder = MuveraEncoder.fit(random_batch([40] * 20, seed=1), config=config)
    queries = random_batch([32, 1, 64, 65, 20])
    together = encoder.encode_queries(queries)
    for number in range(len(queries)):
        alone = encoder.encode_queries(queries[number : number + 1])
        np.testing.assert_allclose(alone[0], together[number], atol=1e-6)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("fill_empty", [True, False])
@pytest.mark.parametrize("k_sim", [0, 1, 3, 6])
def test_equals_the_definition(k_sim: int, device: str | None, *, fill_empty: bool) -> None:
    config = replace(SMALL, k_sim=k_sim, fill_empty=fill_empty)
    encoder = MuveraEncoder(config, token_dim=DIM, device=device)
    batch = random_batch([1, 2, 7, 30, 1])
    for encoded, tokens in zip(encoder.encode_documents(batch), batch, strict=True):
        np.testing.assert_allclose(encoded, reference(config, tokens, document=True), atol=1e-6)
    for encoded, tokens in zip(encoder.encode_queries(batch), batch, strict=True):
        np.testing.assert_allclose(encoded, reference(config, tokens, document=False), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.builds(
        MuveraConfig,
        k_sim=st.integers(0, 4),
        dim_proj=st.integers(1, 5),
        r_reps=st.integers(1, 3),
        fill_empty=st.booleans(),
        final_projection=st.none() | st.integers(1, 40),
    ),
    st.sampled_from([None, "cpu"]),
    st.booleans(),
)
def test_every_ragged_batch_equals_the_definition(
    lengths: list[int], config: MuveraConfig, device: str | None, documents: bool
) -> None:
    encoder = MuveraEncoder(config, token_dim=DIM, device=device)
    batch = random_batch(lengths)
    encoded = encoder.encode_documents(batch) if documents else encoder.encode_queries(batch)
    expected = [reference(config, tokens, document=documents) for tokens in batch]
    np.testing.assert_allclose(encoded, expected, atol=1e-5)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_zero_vector_and_a_very_long_document(device: str | None) -> None:
    config = replace(SMALL, r_reps=2)
    lengths = [1, 8_000, 1]
    values = random_batch(lengths).values
    values[0] = 0
    batch = TokenEmbeddings(values, lengths)
    encoder = MuveraEncoder(config, token_dim=DIM, device=device)
    for encoded, tokens in zip(encoder.encode_documents(batch), batch, strict=True):
        np.testing.assert_allclose(encoded, reference(config, tokens, document=True), atol=1e-6)
    for encoded, tokens in zip(encoder.encode_queries(batch), batch, strict=True):
        np.testing.assert_allclose(encoded, reference(config, tokens, document=False), atol=2e-3)


def test_one_cell_and_one_token_keep_inner_products_on_average() -> None:
    encoder = MuveraEncoder(MuveraConfig(k_sim=0, dim_proj=8, r_reps=400), token_dim=DIM)
    x, y = TokenEmbeddings(random_batch([2]).values, [1, 1])
    batch = TokenEmbeddings(np.concatenate([x, y]), [1, 1])
    products = encoder.encode_queries(batch) @ encoder.encode_documents(batch).T
    np.testing.assert_allclose(products, batch.values @ batch.values.T, atol=0.06)


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


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=10),
    st.integers(1, 40),
    st.integers(1, 1_000),
    st.integers(1, 200),
    st.integers(0, 10),
)
def test_a_text_is_encoded_alike_in_any_batch(
    lengths: list[int], tokens: int, numbers: int, pairs: int, cut: int
) -> None:
    muvera = MuveraEncoder(SMALL, token_dim=DIM)
    batch = random_batch(lengths)
    expected = muvera.encode_documents(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HostCells, "TILE_TOKENS", tokens)
        patch.setattr(encoder, "_TILE_NUMBERS", numbers)
        patch.setattr(cells, "_PAIRS", pairs)
        parts = [muvera.encode_documents(part) for part in (batch[:cut], batch[cut:])]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


def test_read_only_tokens_are_encoded() -> None:
    batch = random_batch([3, 4])
    expected = MuveraEncoder(SMALL, token_dim=DIM).encode_documents(batch)
    batch.values.flags.writeable = False
    for device in (None, "cpu"):
        muvera = MuveraEncoder(SMALL, token_dim=DIM, device=device)
        np.testing.assert_allclose(muvera.encode_documents(batch), expected, atol=1e-6)


def test_another_process_encodes_the_same() -> None:
    script = (
        "import numpy as np; from colbert_qdrant import *; from tests.unit.fde.test_muvera import *;"
        "print(MuveraEncoder(SMALL, token_dim=DIM).encode_documents(random_batch([5, 9])).tobytes().hex())"
    )
    printed = run_script(script).stdout.strip()
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


def test_tokens_of_another_dimension_are_refused() -> None:
    with pytest.raises(InvalidTokensError, match="have 8 dimensions, but this encoding takes 24: pass the tokens"):
        MuveraEncoder(SMALL, token_dim=DIM).encode_documents(random_batch([2], dim=8))
