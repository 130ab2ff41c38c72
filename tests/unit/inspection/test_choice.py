from __future__ import annotations

import json

import numpy as np
import pytest

from colbert_qdrant import (
    ConfigurationError,
    FdeChoice,
    InvalidTokensError,
    LemurConfig,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    choose_fde,
    maxsim,
)
from colbert_qdrant.inspection import choice


def tokens(documents: int, *, common: float = 0, scale: float = 1, seed: int = 1) -> TokenEmbeddings:
    """Documents of 12 noisy words out of 200, all with a direction in common."""
    random = np.random.default_rng(seed)
    words = np.random.default_rng(0).standard_normal((200, 32))
    values = words[random.integers(0, 200, documents * 12)] + 0.3 * random.standard_normal((documents * 12, 32))
    values[:, 0] += common * np.sqrt(32)
    return TokenEmbeddings(scale * values / np.linalg.norm(values, axis=1, keepdims=True), [12] * documents)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_MEASURED_LEMUR", LemurConfig(dim=64, hidden=256, epochs=0, learn_tokens=1_024))


def recall(config: MuveraConfig, documents: TokenEmbeddings, queries: TokenEmbeddings, depth: int) -> float:
    """The share of the exact ten best among the first, by sets."""
    exact, encoder = maxsim(queries, documents), MuveraEncoder.fit(documents, config=config)
    found = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
    shares = [
        len({*np.argsort(-one)[:10]} & {*np.argsort(-other)[:depth]}) / 10
        for one, other in zip(exact, found, strict=True)
    ]
    return float(np.mean(shares))


def test_shares_are_those_of_the_encodings() -> None:
    documents, queries = tokens(110, common=1), tokens(30, common=1, seed=2)
    found = choose_fde(documents, queries=queries).measurements
    assert found["muvera"] == pytest.approx(recall(MuveraConfig(), documents, queries, 20))
    assert found["centered"] == pytest.approx(recall(MuveraConfig(center=True), documents, queries, 20), abs=1e-3)
    assert (found["documents"], found["tokens"]) == (110, 12)


def test_crowded_tokens_never_get_plain_muvera() -> None:
    found = choose_fde(tokens(150, common=3))
    assert found.measurements["anisotropy"] > 0.85
    assert found.measurements["centered"] > found.measurements["muvera"] + 0.1
    assert found.config != MuveraConfig()
    assert found.reason.split(":")[0] in ("LEMUR", "MUVERA on centered tokens")


def test_measurements_describe_the_tokens() -> None:
    documents = tokens(120, scale=3)
    values = documents.values.copy()
    values[::2] *= 2
    found = choose_fde(TokenEmbeddings(values, documents.lengths)).measurements
    assert found["norm"] == pytest.approx(4.5, rel=1e-4)
    assert found["norm_spread"] == pytest.approx(1 / 3, rel=1e-4)
    assert found["anisotropy"] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("muvera", "centered", "lemur", "chosen"),
    [
        (0.90, 0.90, 0.95, "lemur"),
        (0.90, 0.91, 0.89, "lemur"),
        (0.90, 0.91, 0.87, "muvera"),
        (0.70, 0.91, 0.87, "centered"),
        (0.70, 0.91, 0.90, "lemur"),
    ],
)
def test_the_smallest_is_preferred_unless_another_finds_clearly_more(
    muvera: float, centered: float, lemur: float, chosen: str
) -> None:
    assert choice._preferred({"muvera": muvera, "centered": centered, "lemur": lemur}) == chosen


def test_a_large_sample_is_cut_and_the_seed_decides() -> None:
    documents = tokens(700)
    found = choose_fde(documents, seed=3)
    assert found.measurements["documents"] == 500
    assert "first 25 candidates" in found.reason
    assert choose_fde(documents, seed=3) == found
    assert choose_fde(documents, seed=4) != found


def test_survives_json_and_shows_everything() -> None:
    found = choose_fde(tokens(100))
    assert FdeChoice.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    shown = str(found)
    assert repr(found.config) in shown
    assert found.reason in shown
    assert all(name.replace("_", " ") in shown for name in found.measurements)
    with pytest.raises(ConfigurationError, match=r"the choice cannot be read .*: pass a dict from to_dict"):
        FdeChoice.from_dict({"config": MuveraConfig().to_dict()})


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidTokensError, match="no documents"):
        choose_fde(tokens(1)[:0])
    with pytest.raises(InvalidTokensError, match="queries have 8 dimensions and documents 32"):
        choose_fde(tokens(120), queries=TokenEmbeddings(np.eye(8), [8]))
