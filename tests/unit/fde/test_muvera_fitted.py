"""MUVERA fitted to a collection: centred, and with k-means in the place of SimHash."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from colbert_qdrant import (
    ArtefactError,
    ConfigurationError,
    InvalidTokensError,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.fde import encoder_from_bytes
from tests.unit.fde.muvera_reference import reference
from tests.unit.fde.test_muvera import clustered, random_batch, rank_correlation, unit

if TYPE_CHECKING:
    from pathlib import Path

DIM = 24
CENTRED = MuveraConfig(k_sim=3, dim_proj=6, r_reps=4, center=True)
KMEANS = replace(CENTRED, center=False, partition="kmeans")
CONFIGS = {
    "centred": CENTRED,
    "centred, filled": replace(CENTRED, fill_empty=True),
    "centred, sketched": replace(CENTRED, final_projection=40),
    "kmeans": KMEANS,
    "kmeans, centred": replace(KMEANS, center=True),
    "one cell": replace(KMEANS, center=True, k_sim=0),
}
CORPUS = TokenEmbeddings(random_batch([30] * 20, seed=5).values + 0.3, [30] * 20)


def nearest_margin(centroids: np.ndarray, tokens: np.ndarray) -> float:
    """How much nearer the nearest centroid is than the next: with less than rounding either may be taken."""
    distances = np.sort(np.linalg.norm(centroids[None, :] - tokens[:, None, None], axis=-1), axis=-1)
    return float((distances[..., 1] - distances[..., 0]).min()) if distances.shape[-1] > 1 else 1.0


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("name", CONFIGS)
@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_equals_the_definition(name: str, device: str | None, lengths: list[int], seed: int) -> None:
    encoder = MuveraEncoder.fit(CORPUS, config=CONFIGS[name]).to(device)
    fitted = dict(encoder.tensors)
    batch = random_batch(lengths, seed=seed)
    if "centroids" in fitted:
        assert nearest_margin(fitted["centroids"], batch.values - fitted.get("mean", np.zeros(DIM))) > 1e-6
    for document in (True, False):
        encoded = encoder.encode_documents(batch) if document else encoder.encode_queries(batch)
        expected = [reference(CONFIGS[name], tokens, document=document, **fitted) for tokens in batch]
        np.testing.assert_allclose(encoded, expected, atol=1e-5)


def test_the_mean_is_that_of_all_tokens() -> None:
    encoder = MuveraEncoder.fit(CORPUS, config=CENTRED)
    assert set(encoder.tensors) == {"mean"}
    np.testing.assert_allclose(encoder.tensors["mean"], CORPUS.values.mean(axis=0), atol=1e-6)
    of_some = MuveraEncoder.fit(CORPUS, config=CENTRED, fit_documents=2).tensors["mean"]
    means = [(CORPUS[i] + CORPUS[j]).mean(axis=0) / 2 for i in range(20) for j in range(i)]
    assert min(np.abs(of_some - mean).max() for mean in means) < 1e-6


def test_centroids_are_the_means_of_what_is_nearest_to_them() -> None:
    centres = unit(np.random.default_rng(3).standard_normal((8, DIM)))
    noise = 0.02 * np.random.default_rng(4).standard_normal((800, DIM))
    values = np.repeat(centres, 100, axis=0) + noise
    encoder = MuveraEncoder.fit(TokenEmbeddings(values, [40] * 20), config=replace(KMEANS, r_reps=10))
    for centroids in encoder.tensors["centroids"]:
        nearest = np.linalg.norm(values[:, None] - centroids, axis=-1).argmin(axis=1)
        occupied = np.unique(nearest)
        assert len(occupied) >= 7
        for cell in occupied:
            np.testing.assert_allclose(centroids[cell], values[nearest == cell].mean(axis=0), atol=5e-3)


def test_repetitions_have_other_centroids_and_the_same_fit_gives_the_same() -> None:
    first, second = (MuveraEncoder.fit(CORPUS, config=KMEANS) for _ in range(2))
    assert first.to_bytes() == second.to_bytes()
    assert first.fingerprint() == second.fingerprint()
    assert MuveraEncoder.fit(CORPUS, config=KMEANS, seed=7).fingerprint()["digest"] != first.fingerprint()["digest"]
    centroids = first.tensors["centroids"]
    assert min(np.abs(centroids[i] - centroids[j]).max() for i in range(4) for j in range(i)) > 1e-2


def test_fewer_tokens_than_cells_are_enough() -> None:
    encoder = MuveraEncoder.fit(CORPUS[:1][:1], config=replace(KMEANS, k_sim=6))
    assert np.isfinite(encoder.encode_documents(CORPUS)).all()
    one = TokenEmbeddings(np.ones((1, DIM)), [1])
    assert np.isfinite(MuveraEncoder.fit(one, config=replace(KMEANS, center=True)).encode_documents(CORPUS)).all()


def anisotropic(tokens: TokenEmbeddings, strength: float) -> TokenEmbeddings:
    """Tokens that all point one way."""
    direction = unit(np.random.default_rng(7).standard_normal(tokens.dim))
    return TokenEmbeddings(unit(tokens.values + strength * direction), tokens.lengths)


@pytest.mark.parametrize("fill_empty", [True, False])
def test_centring_pays_where_tokens_point_one_way(fill_empty: bool) -> None:
    documents = anisotropic(clustered(400, 1, 12, length=(20, 80)), 2)
    queries = anisotropic(clustered(30, 2, 4, length=(6, 12)), 2)
    exact = maxsim(queries, documents)
    config = MuveraConfig(k_sim=5, dim_proj=16, r_reps=10, fill_empty=fill_empty)

    def quality(encoder: MuveraEncoder) -> float:
        return rank_correlation(exact, encoder.encode_queries(queries) @ encoder.encode_documents(documents).T)

    plain = quality(MuveraEncoder(config, token_dim=64))
    centred = quality(MuveraEncoder.fit(documents, config=config, center=True))
    assert centred > plain + 0.15


def test_centroids_find_more_with_few_dimensions() -> None:
    documents, queries = clustered(400, 1, 12, length=(20, 80)), clustered(30, 2, 4, length=(6, 12))
    exact = maxsim(queries, documents)
    config = MuveraConfig(k_sim=5, dim_proj=16, r_reps=4, fill_empty=False)

    def quality(encoder: MuveraEncoder) -> float:
        return rank_correlation(exact, encoder.encode_queries(queries) @ encoder.encode_documents(documents).T)

    plain = quality(MuveraEncoder(config, token_dim=64))
    assert quality(MuveraEncoder.fit(documents, config=config, partition="kmeans")) > plain + 0.05


@pytest.mark.parametrize("name", CONFIGS)
def test_survives_bytes_and_files(name: str, tmp_path: Path) -> None:
    encoder = MuveraEncoder.fit(CORPUS, config=CONFIGS[name])
    encoder.save(tmp_path / "fde.safetensors")
    for loaded in (MuveraEncoder.load(tmp_path / "fde.safetensors"), encoder_from_bytes(encoder.to_bytes())):
        assert loaded.fingerprint() == encoder.fingerprint()
        np.testing.assert_array_equal(loaded.encode_documents(CORPUS), encoder.encode_documents(CORPUS))


def test_it_knows_how_many_documents_it_was_fitted_to() -> None:
    for config, expected in ((CENTRED, 3), (replace(CENTRED, fit_documents=2), 2)):
        encoder = MuveraEncoder.fit(CORPUS[:3], config=config)
        for each in (encoder, encoder_from_bytes(encoder.to_bytes()), encoder.to("cpu")):
            assert isinstance(each, MuveraEncoder)
            assert each.fitted_documents == expected
    assert MuveraEncoder.fit(CORPUS, config=MuveraConfig(r_reps=2)).fitted_documents is None


def test_a_file_that_is_cut_off_altered_or_another_is_refused() -> None:
    encoder = MuveraEncoder.fit(CORPUS, config=CENTRED)
    data = encoder.to_bytes()
    for bad in (b"", data[:7], data[:-1], data + b"x", b"{}" * 50):
        for read in (MuveraEncoder.from_bytes, encoder_from_bytes):
            with pytest.raises(ArtefactError, match=r"cannot be read .* restore it from a backup, or fit it again"):
                read(bad)

    def rewritten(config: MuveraConfig, *, version: int = 1, **tensors: np.ndarray) -> bytes:
        settings = json.dumps({"config": config.to_dict(), "version": version})
        return save(tensors, metadata={"colbert_qdrant": settings})

    mean, centroids = np.zeros(DIM, np.float32), np.zeros((4, 8, DIM), np.float32)
    bad_files = {
        "has version 2, but this release reads version 1": rewritten(CENTRED, version=2, mean=mean),
        "expected": rewritten(CENTRED),
        r"expected \{'mean'": rewritten(CENTRED, mean=mean, centroids=centroids),
        "centroids": rewritten(KMEANS, mean=mean),
        r"\(4, 8, 24\)": rewritten(KMEANS, centroids=centroids[:, :5].copy()),
        "mean has values that are not float32 or not finite": rewritten(CENTRED, mean=mean + np.float32(np.inf)),
        "scalar": rewritten(CENTRED, mean=np.array(1, np.float32), scalar=mean),
    }
    for message, file in bad_files.items():
        with pytest.raises(ArtefactError, match=message):
            MuveraEncoder.from_bytes(file)
    unknown = save({"mean": mean}, metadata={"colbert_qdrant": json.dumps({"config": {"type": "new"}, "version": 1})})
    with pytest.raises(ArtefactError, match="has type 'new', but this release reads only lemur, muvera"):
        encoder_from_bytes(unknown)


def test_what_is_not_fitted_says_so() -> None:
    for config in (CENTRED, KMEANS):
        with pytest.raises(ConfigurationError, match=r"use MuveraEncoder.fit\(documents, config=config\)"):
            MuveraEncoder(config, token_dim=DIM)
    with pytest.raises(ConfigurationError, match=r"nothing was fitted, so there is no artifact"):
        MuveraEncoder(token_dim=DIM).to_bytes()
    with pytest.raises(InvalidTokensError, match="no documents to fit to"):
        MuveraEncoder.fit(CORPUS[:0], config=CENTRED)
    assert "digest" not in MuveraEncoder.fit(CORPUS).fingerprint()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_settings_survive_json_and_leave_out_what_is_not_set(config: MuveraConfig) -> None:
    assert config.needs_fit
    assert MuveraConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert set(MuveraConfig().to_dict()) == {"type", "k_sim", "dim_proj", "r_reps", "seed", "fill_empty"}
