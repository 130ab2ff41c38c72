"""LEMUR: its algebra against numpy's own least squares, and as what it is for: ranking like exact MaxSim."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models
from safetensors.numpy import save

from colbert_qdrant import (
    ArtefactError,
    ConfigurationError,
    EdgeClient,
    FixedDimensionalEncoder,
    InvalidTokensError,
    LemurConfig,
    LemurEncoder,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.config import Refinement
from colbert_qdrant.fde.lemur import host
from tests.unit.fde import lemur_goldens
from tests.unit.fde.test_muvera import rank_correlation, unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.fde.lemur.features import Features

DIM = 64
SMALL = LemurConfig(dim=24, hidden=96, epochs=0, learn_tokens=400, fit_documents=200)
LARGER = LemurConfig(dim=64, hidden=512, epochs=0, learn_tokens=1_500, fit_documents=300)


def topical(texts: int, seed: int, topics: int, *, length: tuple[int, int]) -> TokenEmbeddings:
    """Texts of some topics with 25 words each; tokens are noisy copies of words, which fill few directions evenly."""
    fixed = np.random.default_rng(99)
    words = unit(fixed.standard_normal((400, DIM)) * np.arange(1, DIM + 1) ** -0.7)
    words_of = fixed.integers(0, 400, (30, 25))
    random = np.random.default_rng(seed)
    lengths = random.integers(*length, texts)
    rows = [
        words[words_of[random.choice(random.choice(30, topics), size), random.integers(0, 25, size)]]
        for size in lengths
    ]
    values = np.concatenate(rows) + 0.02 * random.standard_normal((lengths.sum(), DIM))
    return TokenEmbeddings(unit(values), lengths)


@pytest.fixture(scope="module")
def documents() -> TokenEmbeddings:
    return topical(300, 1, 3, length=(10, 40))


@pytest.fixture(scope="module")
def queries() -> TokenEmbeddings:
    return topical(200, 2, 1, length=(4, 9))


@pytest.fixture(scope="module")
def small(documents: TokenEmbeddings, queries: TokenEmbeddings) -> LemurEncoder:
    return LemurEncoder.fit(documents, query_tokens=queries, config=SMALL)


@pytest.fixture(scope="module")
def larger(documents: TokenEmbeddings, queries: TokenEmbeddings) -> LemurEncoder:
    return LemurEncoder.fit(documents, query_tokens=queries, config=LARGER)


def float64_features(features: Features, values: np.ndarray) -> np.ndarray:
    """ψ as it is defined, in float64: GELU(LayerNorm(x W + b))."""
    hidden = values.astype(np.float64) @ features.weight + features.bias
    hidden -= hidden.mean(axis=1, keepdims=True)
    hidden /= np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5)
    hidden = hidden * features.gain + features.shift
    gelu: np.ndarray = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    return gelu


def test_features_are_a_layer_norm_and_a_gelu(small: LemurEncoder, queries: TokenEmbeddings) -> None:
    expected = float64_features(small.parameters.features, queries.values)
    np.testing.assert_allclose(small.parameters.features(queries.values), expected, atol=1e-4)


def test_a_query_is_the_sum_of_its_rotated_and_balanced_features(small: LemurEncoder, queries: TokenEmbeddings) -> None:
    found = small.parameters
    tokens = float64_features(found.features, queries.values) @ found.rotation * np.sqrt(found.scale)
    expected = [
        tokens[start:stop].sum(axis=0) for start, stop in zip(queries.offsets, queries.offsets[1:], strict=False)
    ]
    np.testing.assert_allclose(small.encode_queries(queries), expected, rtol=1e-3, atol=1e-3)


def test_the_basis_is_white_on_the_learn_tokens(documents: TokenEmbeddings, queries: TokenEmbeddings) -> None:
    encoder = LemurEncoder.fit(documents, query_tokens=queries, config=replace(SMALL, ridge=1e-9))
    found = encoder.parameters
    phi = float64_features(found.features, found.learn) @ found.rotation
    np.testing.assert_allclose(phi.T @ phi / len(phi), np.eye(encoder.dim), atol=2e-3)


@pytest.mark.parametrize("own_weight", [0.0, 0.5, 8.0, 500.0])
@pytest.mark.parametrize(("own_tokens", "refinement"), [(4, "residual"), (4, "spaced"), (64, "residual")])
def test_a_document_is_the_weighted_least_squares_over_learn_and_own_tokens(
    documents: TokenEmbeddings,
    queries: TokenEmbeddings,
    own_weight: float,
    own_tokens: int,
    refinement: Refinement,
) -> None:
    """min |Φw − y|² + τ |Tw − y*|², stacked as one system and given to ``np.linalg.lstsq``."""
    # a tiny ridge makes ΦᵀΦ/n the unit matrix, which the closed form relies on
    config = replace(SMALL, ridge=1e-9, own_weight=own_weight, own_tokens=own_tokens, refinement=refinement)
    encoder = LemurEncoder.fit(documents, query_tokens=queries, config=config)
    found = encoder.parameters
    learn = found.learn.astype(np.float64)
    phi = float64_features(found.features, learn) @ found.rotation
    mean = found.means.mean(dtype=np.float64)
    # the mean best match of any token: known on the learn tokens, by least squares elsewhere
    expectation = np.linalg.lstsq(phi, found.means - mean, rcond=None)[0]
    for number in (0, 1, 2):
        tokens = documents[number].astype(np.float64)
        count = min(len(tokens), own_tokens)
        rows = float64_features(found.features, tokens) @ found.rotation
        targets = (tokens @ tokens.T).max(axis=1) - (rows @ expectation + mean)
        learned = (learn @ tokens.T).max(axis=1) - found.means
        plain = np.linalg.lstsq(phi, learned, rcond=None)[0]
        own = [index * len(tokens) // count for index in range(count)]
        if refinement == "residual":
            own = np.argsort(rows @ plain - targets)[:count].tolist()
        weight = np.sqrt(own_weight * (own_tokens / count if refinement == "residual" else 1))
        system = np.concatenate([phi, weight * rows[own]])
        wanted = np.concatenate([learned, weight * targets[own]])
        expected = np.linalg.lstsq(system, wanted, rcond=None)[0] / np.sqrt(found.scale)
        encoded = encoder.encode_documents(documents[number : number + 1])[0]
        np.testing.assert_allclose(encoded, expected, atol=5e-3 * np.abs(expected).max())


def test_first_coordinates_carry_most(larger: LemurEncoder, documents: TokenEmbeddings) -> None:
    # by what they add to scores: queries are white before they are balanced, so documents' energy decides
    encoded = larger.encode_documents(documents) * np.sqrt(larger.parameters.scale)
    energy = np.square(encoded).mean(axis=0)
    assert energy[:16].sum() > energy[16:32].sum() > energy[32:48].sum() > energy[48:].sum()


@pytest.mark.parametrize("dim", [1, 7, 24])
def test_a_cut_encoding_is_a_prefix(
    documents: TokenEmbeddings, queries: TokenEmbeddings, small: LemurEncoder, dim: int
) -> None:
    encoder = LemurEncoder.fit(documents, query_tokens=queries, config=replace(SMALL, own_weight=0))
    assert (encoder.cut(dim).dim, encoder.cut(dim).config.dim) == (dim, dim)
    for encode in ("encode_documents", "encode_queries"):
        cut, whole = (getattr(each, encode)(documents) for each in (encoder.cut(dim), encoder))
        np.testing.assert_allclose(cut, whole[:, :dim], rtol=1e-4, atol=1e-4)
    # own tokens are fitted with the coordinates that are left: only queries are a prefix then
    whole = small.encode_queries(queries)[:, :dim]
    np.testing.assert_allclose(small.cut(dim).encode_queries(queries), whole, rtol=1e-4, atol=1e-4)
    assert LemurEncoder.from_bytes(small.cut(dim).to_bytes()).dim == dim


@pytest.mark.parametrize(
    ("dim", "message"),
    [(0, "dim must be at least 1"), (-1, "dim must be at least 1"), (25, "exceeds the 24 dimensions of this encoding")],
)
def test_it_cannot_be_cut_to_what_it_does_not_have(small: LemurEncoder, dim: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        small.cut(dim)


def unbalanced(encoder: LemurEncoder) -> LemurEncoder:
    plain = replace(encoder.parameters, scale=np.ones(encoder.dim, np.float32))
    return LemurEncoder(encoder.config, plain)


def test_balancing_changes_no_score_and_gives_both_sides_the_same_spread(
    small: LemurEncoder, documents: TokenEmbeddings
) -> None:
    learn = TokenEmbeddings.from_matrices(small.parameters.learn[:, None])
    texts, tokens = small.encode_documents(documents), small.encode_queries(learn)
    plain = unbalanced(small)
    expected = plain.encode_queries(learn) @ plain.encode_documents(documents).T
    np.testing.assert_allclose(tokens @ texts.T, expected, atol=1e-3 * np.abs(expected).max())
    ratio = np.square(texts).mean(axis=0) / np.square(tokens).mean(axis=0)
    spread = np.square(plain.encode_documents(documents)).mean(axis=0)
    assert ratio.max() / ratio.min() < 2
    assert spread.max() / spread.min() > 4  # queries' is 1 in every coordinate


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9))
def test_a_query_is_the_sum_of_its_parts(small: LemurEncoder, first: int, second: int) -> None:
    values = topical(1, 5, 4, length=(first + second, first + second + 1)).values
    whole = small.encode_queries(TokenEmbeddings(values, [first + second]))[0]
    parts = small.encode_queries(TokenEmbeddings(values, [first, second]))
    np.testing.assert_allclose(whole, parts.sum(axis=0), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=8), st.integers(1, 60), st.integers(1, 5), st.integers(0, 8))
def test_a_text_is_encoded_alike_in_any_batch(
    small: LemurEncoder, lengths: list[int], tile: int, together: int, cut: int
) -> None:
    batch = TokenEmbeddings(topical(1, 3, 5, length=(sum(lengths), sum(lengths) + 1)).values, lengths)
    for encode in (small.encode_documents, small.encode_queries):
        expected = encode(batch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(host.HostLemur, "TILE_TOKENS", tile)
            patch.setattr(host, "_REFINE_DOCUMENTS", together)
            parts = [encode(part) for part in (batch[:cut], batch[cut:])]
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-4 * np.abs(expected).max())


def test_shapes_and_dtypes_also_of_nothing(small: LemurEncoder, documents: TokenEmbeddings) -> None:
    assert isinstance(small, FixedDimensionalEncoder)
    for encode in (small.encode_documents, small.encode_queries):
        assert encode(documents[:3]).shape == (3, 24)
        assert encode(documents[:3]).dtype == np.float32
        assert encode(TokenEmbeddings.from_matrices([], dim=DIM)).shape == (0, 24)


@pytest.mark.parametrize("length", [1, 2, 8_000])
def test_very_short_and_very_long_texts_are_encoded_near_their_scores(
    small: LemurEncoder, queries: TokenEmbeddings, length: int
) -> None:
    batch = topical(2, 7, 3, length=(length, length + 1))
    encoded = small.encode_documents(batch)
    assert np.isfinite(encoded).all()
    scores = small.encode_queries(queries) @ encoded.T
    assert np.abs(scores).max() < 10 * maxsim(queries, batch).max()


def test_zero_vectors_stay_finite(small: LemurEncoder, documents: TokenEmbeddings) -> None:
    batch = TokenEmbeddings(np.concatenate([np.zeros((3, DIM)), documents[0]]), [1, 2, len(documents[0])])
    assert np.isfinite(small.encode_documents(batch)).all()
    assert np.isfinite(small.encode_queries(batch)).all()


def test_tokens_of_another_dimension_are_refused(small: LemurEncoder, documents: TokenEmbeddings) -> None:
    other = TokenEmbeddings(np.eye(8), [3, 5])
    for encode in (small.encode_documents, small.encode_queries):
        with pytest.raises(InvalidTokensError, match="have 8 dimensions, but this encoding takes 64: pass the tokens"):
            encode(other)
    with pytest.raises(InvalidTokensError, match="query tokens have 8 dimensions"):
        LemurEncoder.fit(documents, query_tokens=other, config=SMALL)
    with pytest.raises(InvalidTokensError, match="no documents to fit to"):
        LemurEncoder.fit(documents[:0], config=SMALL)


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_same_seed_gives_the_same_bytes(documents: TokenEmbeddings, queries: TokenEmbeddings, epochs: int) -> None:
    config = replace(SMALL, epochs=epochs)
    first, second = (LemurEncoder.fit(documents, query_tokens=queries, config=config).to_bytes() for _ in range(2))
    assert first == second
    other = LemurEncoder.fit(documents, query_tokens=queries, config=replace(config, seed=7))
    assert other.fingerprint()["digest"] != LemurEncoder.from_bytes(first).fingerprint()["digest"]


def test_survives_bytes_and_files(small: LemurEncoder, documents: TokenEmbeddings, tmp_path: Path) -> None:
    small.save(tmp_path / "fde.safetensors")
    for loaded in (LemurEncoder.from_bytes(small.to_bytes()), LemurEncoder.load(tmp_path / "fde.safetensors")):
        assert loaded.config == SMALL
        assert loaded.to_bytes() == small.to_bytes()
        assert loaded.fingerprint() == small.fingerprint()
        np.testing.assert_array_equal(loaded.encode_documents(documents), small.encode_documents(documents))
    assert json.loads(json.dumps(small.fingerprint())) == small.fingerprint()
    assert LemurConfig.from_dict(small.fingerprint()["config"]) == SMALL


def test_it_knows_how_many_documents_it_was_fitted_to(documents: TokenEmbeddings) -> None:
    for config, expected in ((SMALL, 30), (replace(SMALL, fit_documents=20), 20)):
        encoder = LemurEncoder.fit(documents[:30], config=config)
        for each in (encoder, LemurEncoder.from_bytes(encoder.to_bytes()), encoder.cut(8), encoder.to("cpu")):
            assert each.fitted_documents == expected


def cut_off(data: bytes) -> Iterator[bytes]:
    yield from (data[:size] for size in (0, 1, 7, 8, 9, 200, len(data) // 2, len(data) - 1))
    yield data + b"\0"
    yield data[1:]
    yield b"\0" * len(data)
    yield b"\xff" * 100
    yield b'{"json": true}' * 10


@pytest.mark.parametrize("number", range(13))
def test_bytes_that_are_not_whole_are_refused(small: LemurEncoder, number: int) -> None:
    with pytest.raises(ArtefactError, match=r"cannot be read .* restore it from a backup, or fit it again"):
        LemurEncoder.from_bytes(list(cut_off(small.to_bytes()))[number])


def rewritten(encoder: LemurEncoder, settings: dict[str, Any] | None = None, **arrays: Any) -> bytes:
    own: dict[str, Any] = {"config": encoder.config.to_dict(), "version": encoder.VERSION}
    header = {"colbert_qdrant": json.dumps({**own, **(settings or {})})}
    return save({**encoder.tensors, **arrays}, metadata=header)


def test_altered_contents_are_refused(small: LemurEncoder) -> None:
    found = small.parameters
    bad = {
        "has version 99": rewritten(small, {"version": 99}),
        "does not know": rewritten(small, {"config": {**SMALL.to_dict(), "colour": 1}}),
        r"rotation has shape \(96, 24\), expected \(96, 20\)": rewritten(
            small, {"config": replace(SMALL, dim=20).to_dict()}
        ),
        "not float32 or not finite": rewritten(small, scale=np.full(24, np.nan, np.float32)),
        r"rotation has shape \(96, 5\)": rewritten(small, rotation=found.rotation[:, :5].copy()),
        "learn has shape": rewritten(small, learn=found.learn[:, :5].copy()),
        "fitted to 0 documents": rewritten(small, {"documents": 0}),
        "fitted to True documents": rewritten(small, {"documents": True}),
        "fitted to 'many' documents": rewritten(small, {"documents": "many"}),
        "means has values that are not float32 or not finite": rewritten(small, means=found.means.astype(np.float64)),
    }
    for message, data in bad.items():
        with pytest.raises((ArtefactError, ConfigurationError), match=message):
            LemurEncoder.from_bytes(data)


@pytest.mark.parametrize(
    ("count", "arguments"),
    [
        (5, {}),
        (1, {}),
        (1, {"own_weight": 0}),
        (1, {"epochs": 2}),
        (2, {"epochs": 2}),
        (300, {"learn_tokens": 10}),
        (300, {"learn_tokens": 1, "epochs": 2}),
        (300, {"learn_tokens": 40, "fit_documents": 3}),
        (300, {"training_documents": 1, "epochs": 2}),
    ],
)
def test_less_than_dim_to_fit_to_is_enough(documents: TokenEmbeddings, count: int, arguments: dict[str, Any]) -> None:
    encoder = LemurEncoder.fit(documents[:count], config=replace(SMALL, **arguments))
    loaded = LemurEncoder.from_bytes(encoder.to_bytes())
    encoded = loaded.encode_documents(documents)
    assert encoded.shape == (len(documents), 24)
    assert np.abs(encoded).max() < 1_000  # finite, and far from float16's end
    assert np.abs(loaded.encode_queries(documents)).max() < 10_000


@pytest.mark.parametrize("epochs", [0, 2])
def test_documents_that_are_all_alike_or_empty_can_be_fitted_to(documents: TokenEmbeddings, epochs: int) -> None:
    same = TokenEmbeddings(np.tile(documents[0], (5, 1)), [len(documents[0])] * 5)
    for fitted_to in (same, TokenEmbeddings(np.zeros((20, DIM)), [10, 10])):
        encoder = LemurEncoder.fit(fitted_to, config=replace(SMALL, epochs=epochs))
        assert np.abs(encoder.encode_documents(documents)).max() < 10_000
        assert LemurEncoder.from_bytes(encoder.to_bytes()).dim == 24


@pytest.mark.parametrize(("epochs", "most"), [(0, 2_048), (3, 100), (60, 2_048)])
def test_progress_is_told_of_every_phase(documents: TokenEmbeddings, epochs: int, most: int) -> None:
    class Recorder:
        total: int | None = None
        done = steps = 0
        stopped = False

        def start(self, total: int | None) -> None:
            self.total = total

        def advance(self, documents: int) -> None:
            self.done += documents
            self.steps += documents > 0

        def stop(self) -> None:
            self.stopped = True

    recorder = Recorder()
    config = replace(SMALL, epochs=epochs, training_documents=most)
    LemurEncoder.fit(documents, config=config, progress=recorder)
    assert recorder.total == recorder.done  # also if training ended early
    assert recorder.steps > 2 + min(epochs, 3)
    assert recorder.stopped


def error_of(encoder: LemurEncoder, documents: TokenEmbeddings, tokens: np.ndarray) -> float:
    """How far the encodings' products are from single tokens' best matches, relative to those of their mean."""
    single = TokenEmbeddings.from_matrices(tokens[:, None])
    exact = maxsim(single, documents)
    exact -= exact.mean(axis=1, keepdims=True)
    found = encoder.encode_queries(single) @ encoder.encode_documents(documents).T
    found -= found.mean(axis=1, keepdims=True)
    return float(np.square(found - exact).mean() / np.square(exact).mean())


def test_training_lowers_the_error_on_tokens_and_documents_not_seen(
    documents: TokenEmbeddings, queries: TokenEmbeddings
) -> None:
    tokens = topical(50, 11, 1, length=(4, 9)).values
    unseen = topical(100, 12, 3, length=(10, 40))
    config = replace(SMALL, hidden=48, learn_tokens=4_000, own_weight=0)
    untrained, trained = (
        LemurEncoder.fit(documents, query_tokens=queries, config=replace(config, epochs=epochs)) for epochs in (0, 12)
    )
    assert error_of(trained, unseen, tokens) < 0.96 * error_of(untrained, unseen, tokens)


def test_without_training_torch_is_not_loaded() -> None:
    script = (
        "import sys; from colbert_qdrant import LemurConfig, LemurEncoder, TokenEmbeddings; import numpy as np;"
        "batch = TokenEmbeddings(np.random.default_rng(0).standard_normal((40, 8)), [20, 20]);"
        "config = LemurConfig(dim=4, hidden=8, epochs=0);"
        "encoder = LemurEncoder.fit(batch, config=config);"
        "encoder.encode_documents(batch); encoder.encode_queries(batch);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_artifact_of_release_0_1_0_keeps_its_encodings() -> None:
    golden = np.load(lemur_goldens.PATH)
    data = golden["artifact"].tobytes()
    encoder = LemurEncoder.from_bytes(data)
    tokens = TokenEmbeddings(golden["values"], golden["lengths"])
    np.testing.assert_allclose(encoder.encode_documents(tokens), golden["documents"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(tokens), golden["queries"], rtol=1e-4, atol=1e-5)
    assert encoder.to_bytes() == data  # so its digest, which collections store, is the same
    newer = LemurEncoder(replace(encoder.config, refinement="residual"), encoder.parameters)
    assert np.abs(newer.encode_documents(tokens) - golden["documents"]).max() > 1e-2


@pytest.mark.parametrize(("own_weight", "refinement"), [(0.0, "residual"), (8.0, "residual"), (8.0, "spaced")])
def test_numpy_and_torch_encode_alike(
    documents: TokenEmbeddings, queries: TokenEmbeddings, own_weight: float, refinement: Refinement
) -> None:
    config = replace(SMALL, own_weight=own_weight, refinement=refinement, own_tokens=6)
    here = LemurEncoder.fit(documents, query_tokens=queries, config=config)
    there = here.to("cpu")
    np.testing.assert_allclose(there.encode_queries(queries), here.encode_queries(queries), rtol=1e-3, atol=1e-3)
    expected = here.encode_documents(documents)
    errors = np.abs(there.encode_documents(documents) - expected).max(axis=1)
    # of two tokens with the same residual up to rounding, either may be the last that joins
    assert np.quantile(errors, 0.98) < 1e-4 * np.abs(expected).max()


def test_a_fit_on_a_torch_device_is_that_of_numpy(documents: TokenEmbeddings, queries: TokenEmbeddings) -> None:
    here, there = (
        LemurEncoder.fit(documents, query_tokens=queries, config=SMALL, device=device) for device in ("cpu", "cpu:0")
    )
    for name in ("learn", "means", "scale"):
        found, expected = getattr(there.parameters, name), getattr(here.parameters, name)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=name)
    # a coordinate may have the other sign
    expected = scores(here, queries, documents)
    np.testing.assert_allclose(scores(there, queries, documents), expected, atol=2e-3 * np.abs(expected).max())


def test_rare_tokens_of_long_documents_are_found_that_evenly_spaced_ones_leave_out() -> None:
    """Documents of 90 common words and 10 words of their own, each of which is asked for."""
    random = np.random.default_rng(8)
    common, rare = unit(random.standard_normal((20, DIM))), unit(random.standard_normal((100, 10, DIM)))
    matrices = [random.permutation(np.concatenate([common[random.integers(0, 20, 90)], each])) for each in rare]
    texts = TokenEmbeddings.from_matrices(matrices)
    asked = TokenEmbeddings(unit(rare.reshape(-1, DIM) + 0.02 * random.standard_normal((1_000, DIM))), [1] * 1_000)
    found = {}
    for choice in get_args(Refinement):
        config = replace(LARGER, refinement=choice, own_tokens=16, learn_tokens=500)
        encoder = LemurEncoder.fit(texts, config=config)
        first = np.argsort(-scores(encoder, asked, texts), axis=1)[:, :3]
        found[choice] = (first == np.repeat(np.arange(100), 10)[:, None]).any(axis=1).mean()
    assert found["residual"] > found["spaced"] + 0.1, found


def scores(encoder: FixedDimensionalEncoder, queries: TokenEmbeddings, documents: TokenEmbeddings) -> np.ndarray:
    return encoder.encode_queries(queries) @ encoder.encode_documents(documents).T


def test_it_ranks_like_exact_maxsim_and_better_than_muvera_of_the_same_length(
    larger: LemurEncoder, documents: TokenEmbeddings
) -> None:
    asked = topical(40, 21, 1, length=(6, 12))
    exact = maxsim(asked, documents)
    muvera = MuveraEncoder(MuveraConfig(k_sim=2, dim_proj=8, r_reps=2), token_dim=DIM)
    assert muvera.dim == larger.dim
    found = rank_correlation(exact, scores(larger, asked, documents))
    assert found > 0.85, found
    assert found > rank_correlation(exact, scores(muvera, asked, documents)) + 0.3


def test_own_tokens_bring_a_document_s_own_scores_nearer(
    larger: LemurEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings
) -> None:
    """What a document's own tokens find in it is where the learn tokens alone predict too little."""
    plain = LemurEncoder.fit(documents, query_tokens=queries, config=replace(LARGER, own_weight=0))
    own = TokenEmbeddings.from_matrices([matrix[:1] for matrix in documents])
    exact = maxsim(own, documents)
    exact -= exact.mean(axis=1, keepdims=True)
    errors = []
    for encoder in (plain, larger):
        found = scores(encoder, own, documents)
        found -= found.mean(axis=1, keepdims=True)
        errors.append(np.abs(np.diag(found - exact)).mean())
    assert errors[1] < 0.8 * errors[0], errors


def test_documents_added_after_the_fit_are_ranked_about_as_well(
    larger: LemurEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings
) -> None:
    new = documents[150:]
    some = LemurEncoder.fit(documents[:150], query_tokens=queries, config=LARGER)
    asked = topical(40, 21, 1, length=(6, 12))
    exact = maxsim(asked, new)
    found = [rank_correlation(exact, scores(encoder, asked, new)) for encoder in (some, larger)]
    assert found[0] > found[1] - 0.08, found


def test_a_graph_finds_clearly_more_of_balanced_encodings(queries: TokenEmbeddings, tmp_path: Path) -> None:
    documents, asked = topical(3_000, 5, 3, length=(5, 10)), topical(60, 21, 1, length=(6, 12))
    config = LemurConfig(dim=128, hidden=256, epochs=0, learn_tokens=800, fit_documents=400, own_tokens=10)
    balanced = LemurEncoder.fit(documents, query_tokens=queries, config=config)
    root = np.sqrt(balanced.parameters.scale)
    encoded, query = balanced.encode_documents(documents), balanced.encode_queries(asked)
    nearest = np.argsort(-(query @ encoded.T), axis=1)[:, :100]
    found = []
    with EdgeClient(tmp_path) as client:
        for name, points, searches in (("balanced", encoded, query), ("not", encoded * root, query / root)):
            params = models.VectorParams(
                size=128, distance=models.Distance.DOT, hnsw_config=models.HnswConfigDiff(full_scan_threshold=10)
            )
            optimizers = models.OptimizersConfigDiff(default_segment_number=1, indexing_threshold=10)
            client.create_collection(name, {"fde": params}, optimizers_config=optimizers)
            vectors = points.tolist()
            client.upsert(
                name, [models.PointStruct(id=number, vector={"fde": each}) for number, each in enumerate(vectors)]
            )
            client.optimize(name)
            assert client.get_collection(name).indexed_vectors_count == 3_000
            ef = models.SearchParams(hnsw_ef=100)
            requests = [
                models.QueryRequest(query=vector.tolist(), using="fde", limit=100, params=ef) for vector in searches
            ]
            answers = client.query_batch_points(name, requests)
            found.append(
                np.mean(
                    [
                        len({point.id for point in answer.points} & set(ids)) / 100
                        for answer, ids in zip(answers, nearest.tolist(), strict=True)
                    ]
                )
            )
    assert found[0] > 0.95, found
    assert found[0] > found[1] + 0.03, found
