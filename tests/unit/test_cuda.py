"""What can be computed on a GPU is computed there as on the CPU; skipped where torch has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from colbert_qdrant import (
    ColbertEncoder,
    LemurConfig,
    LemurEncoder,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from tests.encoders import random_texts
from tests.parity.checkpoints import NAMES, build

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant import FixedDimensionalEncoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device here")

TEXTS = random_texts(40, words=(1, 60))
MUVERA = [
    MuveraConfig(k_sim=5, dim_proj=8, r_reps=6),
    MuveraConfig(k_sim=4, dim_proj=8, r_reps=4, fill_empty=False),
    MuveraConfig(k_sim=5, dim_proj=16, r_reps=20, final_projection=1_024),
]
FITTED = [
    MuveraConfig(k_sim=4, dim_proj=8, r_reps=4, center=True),
    MuveraConfig(k_sim=4, dim_proj=8, r_reps=4, partition="kmeans"),
]


def tokens(texts: int, seed: int, *, length: tuple[int, int] = (1, 80)) -> TokenEmbeddings:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((300, 64))
    lengths = random.integers(*length, texts)
    values = centres[random.integers(0, 300, lengths.sum())] + 0.3 * random.standard_normal((lengths.sum(), 64))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return TokenEmbeddings(values.astype(np.float32), lengths)


def assert_equal(here: FixedDimensionalEncoder, there: FixedDimensionalEncoder) -> None:
    documents, queries = tokens(200, 2), tokens(50, 3, length=(1, 33))
    for encode in ("encode_documents", "encode_queries"):
        batch = documents if encode == "encode_documents" else queries
        expected, found = getattr(here, encode)(batch), getattr(there, encode)(batch)
        # a token on a hyperplane may fall to another side, which changes the whole encoding of a few texts
        errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert np.quantile(errors, 0.95) < 1e-4
        assert errors.max() < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_the_same_tokens(name: str, tmp_path: Path) -> None:
    build(name, tmp_path / name)
    here, there = (
        ColbertEncoder.from_pretrained(tmp_path / name, device=device, local_files_only=True)
        for device in ("cpu", "cuda")
    )
    for encode in ("encode_documents", "encode_queries"):
        expected, found = getattr(here, encode)(TEXTS), getattr(there, encode)(TEXTS)
        assert np.array_equal(expected.lengths, found.lengths)
        np.testing.assert_allclose(found.values, expected.values, atol=2e-5)


def test_auto_is_the_gpu(tmp_path: Path) -> None:
    build("pylate-bert", tmp_path / "model")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    ColbertEncoder.from_pretrained(tmp_path / "model", device="auto", local_files_only=True).encode_queries(TEXTS)
    assert torch.cuda.max_memory_allocated() > before


@pytest.mark.parametrize("config", MUVERA, ids=lambda config: f"{config.dim}")
def test_muvera_gives_the_same_encodings(config: MuveraConfig) -> None:
    assert_equal(MuveraEncoder(config, token_dim=64), MuveraEncoder(config, token_dim=64, device="cuda"))


@pytest.mark.parametrize("config", FITTED, ids=lambda config: config.partition)
def test_fitted_muvera_gives_the_same_encodings(config: MuveraConfig) -> None:
    fitted = MuveraEncoder.fit(tokens(400, 4), config=config)
    assert_equal(fitted, fitted.to("cuda"))


def test_lemur_gives_the_same_encodings_and_can_be_fitted_there() -> None:
    documents, queries = tokens(600, 5), tokens(200, 6, length=(4, 20))
    config = LemurConfig(dim=64, hidden=256, epochs=8, fit_documents=600)
    here = LemurEncoder.fit(documents, config=config, query_tokens=queries)
    assert_equal(here, here.to("cuda"))
    there = LemurEncoder.fit(documents, config=config, query_tokens=queries, device="cuda").to(None)
    exact, asked = maxsim(queries, documents), {}
    for name, encoder in (("here", here), ("there", there)):
        scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
        asked[name] = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(scores, exact, strict=True)]))
    assert asked["there"] > asked["here"] - 0.03  # another order of additions, the same quality


def test_maxsim_gives_the_same_scores() -> None:
    queries, documents = tokens(30, 7), tokens(300, 8, length=(1, 200))
    np.testing.assert_allclose(maxsim(queries, documents, device="cuda"), maxsim(queries, documents), atol=1e-4)
