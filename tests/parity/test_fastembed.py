"""The variant ``"fastembed"`` against FastEmbed: what it wrote, and itself where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from colbert_qdrant import MuveraConfig, MuveraEncoder, TokenEmbeddings
from tests.parity.generate_fastembed import CASES, PATH, encode, tokens


def encoder(case: str) -> MuveraEncoder:
    given = CASES[case]
    config = MuveraConfig(
        k_sim=given["k_sim"],
        dim_proj=given["dim_proj"],
        r_reps=given["r_reps"],
        seed=given["random_seed"],
        variant="fastembed",
    )
    return MuveraEncoder(config, token_dim=given["dim"])


@pytest.mark.parametrize("case", CASES)
def test_equals_what_fastembed_wrote(case: str) -> None:
    batch = TokenEmbeddings.from_matrices(tokens(CASES[case]["dim"]))
    with np.load(PATH) as goldens:
        np.testing.assert_allclose(encoder(case).encode_documents(batch), goldens[f"{case}.document"], atol=1e-6)
        np.testing.assert_allclose(encoder(case).encode_queries(batch), goldens[f"{case}.query"], atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_equals_fastembed(case: str) -> None:
    pytest.importorskip("fastembed")
    random = np.random.default_rng(0)
    dim = CASES[case]["dim"]
    texts = [random.standard_normal((length, dim)).astype(np.float32) for length in (*range(1, 40), 400)]
    texts[0][:] = 0
    theirs = encode(case, texts)
    batch = TokenEmbeddings.from_matrices(texts)
    np.testing.assert_allclose(encoder(case).encode_documents(batch), theirs["document"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(encoder(case).encode_queries(batch), theirs["query"], atol=1e-5, rtol=1e-5)
