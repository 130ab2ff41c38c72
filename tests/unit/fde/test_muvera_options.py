"""MUVERA's parameters: what is refused, what stays as it was, final projections, devices, FastEmbed's numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from colbert_qdrant import ConfigurationError, MuveraConfig, MuveraEncoder, TokenEmbeddings
from tests.unit.fde import muvera_goldens
from tests.unit.fde.test_muvera import clustered


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k_sim": -1}, "k_sim must be between 0 and 12, got -1"),
        ({"k_sim": 13}, "k_sim must be between 0 and 12"),
        ({"k_sim": 2.0}, "k_sim must be an integer, got 2.0"),
        ({"dim_proj": 0}, "dim_proj must be between 1 and 1048576"),
        ({"r_reps": True}, "r_reps must be an integer"),
        ({"seed": -1}, "seed must be between 0 and 4294967295"),
        ({"fill_empty": 1}, "fill_empty must be True or False"),
        ({"r_reps": 129}, "= 66,048 dimensions, but a Qdrant vector has at most 65,536.*or set final_projection"),
        ({"final_projection": 0}, "final_projection must be between 1 and 65536, got 0"),
        ({"final_projection": 65_537}, "final_projection must be between 1 and 65536"),
        ({"variant": "google"}, "variant='google': use one of 'colbert-qdrant', 'fastembed'"),
        ({"variant": "fastembed", "final_projection": 64}, "variant=.fastembed. has no final projection"),
        ({"variant": "fastembed", "center": True}, "variant=.fastembed. has no final projection, centering or k-means"),
        ({"center": None}, "center must be True or False, got None"),
        ({"partition": "lsh"}, "partition='lsh': use one of 'simhash', 'kmeans'"),
        ({"partition": "kmeans", "fill_empty": True}, "needs the SimHash bits of cells, .*: leave fill_empty out"),
        ({"fit_documents": 0}, "fit_documents must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MuveraConfig(**arguments)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("case", muvera_goldens.CASES)
def test_encodings_are_what_they_were(case: str, device: str | None) -> None:
    batch = muvera_goldens.tokens()
    encoder = MuveraEncoder(muvera_goldens.CASES[case], token_dim=batch.dim, device=device)
    assert encoder.VERSION == 1
    with np.load(muvera_goldens.PATH) as goldens:
        np.testing.assert_allclose(encoder.encode_documents(batch), goldens[f"{case}.document"], atol=2e-6)
        np.testing.assert_allclose(encoder.encode_queries(batch), goldens[f"{case}.query"], atol=2e-6)


def test_the_default_parameters_on_a_processor_and_in_torch() -> None:
    batch = clustered(12, 3, 10, length=(1, 150))
    here, torch = MuveraEncoder(token_dim=64), MuveraEncoder(token_dim=64, device="cpu")
    np.testing.assert_allclose(here.encode_documents(batch), torch.encode_documents(batch), atol=1e-5)
    np.testing.assert_allclose(here.encode_queries(batch), torch.encode_queries(batch), atol=1e-5)


@pytest.mark.parametrize("device", ["warp", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(ConfigurationError, match=f"torch cannot use device '{device}' .*leave device out"):
        MuveraEncoder(token_dim=8, device=device)


def test_a_final_projection_decides_the_dimensions_and_lifts_the_limit() -> None:
    config = MuveraConfig(r_reps=200, final_projection=1_000)
    assert (config.raw_dim, config.dim) == (102_400, 1_000)
    encoder = MuveraEncoder(config, token_dim=64)
    assert encoder.encode_documents(clustered(3, 1, 5, length=(5, 9))).shape == (3, 1_000)


def test_a_final_projection_keeps_inner_products_on_average_and_better_with_more_dimensions() -> None:
    queries, documents = clustered(40, 2, 4, length=(6, 12)), clustered(60, 1, 12, length=(20, 80))

    def scores(config: MuveraConfig) -> np.ndarray:
        encoder = MuveraEncoder(config, token_dim=64)
        found: np.ndarray = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
        return found

    errors: dict[int, list[np.ndarray]] = {256: [], 4_096: []}
    for seed in range(12):
        config = MuveraConfig(k_sim=4, dim_proj=16, r_reps=16, seed=seed)
        exact = scores(config)
        for dim, found in errors.items():
            found.append(scores(replace(config, final_projection=dim)) - exact)
    assert exact.mean() > 0.3
    assert abs(np.mean(errors[4_096])) < 0.03
    # the standard deviation goes with one over the root of the dimensions
    assert np.std(errors[256]) / np.std(errors[4_096]) == pytest.approx(4, rel=0.15)


def test_fastembed_refuses_longer_projections_and_has_no_device() -> None:
    config = MuveraConfig(dim_proj=16, variant="fastembed")
    with pytest.raises(ConfigurationError, match="dim_proj=16 exceeds the 8 dimensions of the token vectors"):
        MuveraEncoder(config, token_dim=8)
    with pytest.raises(ConfigurationError, match="device='cpu' is not available for variant='fastembed'"):
        MuveraEncoder(config, token_dim=16, device="cpu")


def test_fastembed_leaves_cells_empty_if_asked() -> None:
    filled = MuveraConfig(k_sim=4, dim_proj=3, r_reps=5, variant="fastembed")
    batch = clustered(3, 1, 3, length=(4, 9))
    sparse = MuveraEncoder(replace(filled, fill_empty=False), token_dim=64).encode_documents(batch)
    dense = MuveraEncoder(filled, token_dim=64).encode_documents(batch)
    assert (dense != 0).all()
    assert 0.4 < (sparse == 0).mean() < 0.95
    np.testing.assert_array_equal(dense[sparse != 0], sparse[sparse != 0])


def test_the_variants_differ() -> None:
    batch = TokenEmbeddings(np.eye(8), [5, 3])
    config = MuveraConfig(k_sim=2, dim_proj=4, r_reps=3)
    ours, theirs = (
        MuveraEncoder(each, token_dim=8).encode_documents(batch)
        for each in (config, replace(config, variant="fastembed"))
    )
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() > 0.1
