"""Fits that learn from a caller's own queries, on every engine."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidQueryError,
    LemurConfig,
    LemurEncoder,
    MuveraConfig,
    ReadyTokens,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.collection import fitting
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

RANDOM = np.random.default_rng(0)
SUBJECTS = [f"subject{number}" for number in range(30)]
"""The words of queries: 3 of the 15 words of a document, so made-up queries mostly have others."""

TEXTS = [" ".join([*RANDOM.choice(300, 12).astype(str), *RANDOM.choice(SUBJECTS, 3)]) for _ in range(60)]
DOCUMENTS = [Document(number, text) for number, text in enumerate(TEXTS)]
PAST, LATER = ([" ".join(RANDOM.choice(SUBJECTS, 2)) for _ in range(count)] for count in (60, 30))
LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=60)
SECRET = "my diagnosis"


def create(client: Client, name: str, encoder: Any = None, **settings: Any) -> ColbertCollection:
    config = CollectionConfig(**{"fde": LEMUR, **settings})
    return ColbertCollection.create(name, client=client, encoder=encoder or WordEncoder(), config=config)


@pytest.fixture
def unfitted(engine: Engine, client: Client) -> ColbertCollection:
    docs = create(client, engine.name)
    docs.ingest(DOCUMENTS, fit=False)
    return docs


def recall(docs: ColbertCollection) -> float:
    """The share of exact MaxSim's top 10 in the encoding's top 10, over queries that nothing learned from."""
    encoder = WordEncoder()
    exact = maxsim(encoder.encode_queries(LATER), encoder.encode_documents(TEXTS))
    found = docs.search_batch(LATER, mode="fde", limit=10)
    pairs = zip(np.argsort(-exact, kind="stable")[:, :10], found, strict=True)
    return float(np.mean([np.isin(best, [int(str(hit.id)) for hit in hits]).mean() for best, hits in pairs]))


def learned(docs: ColbertCollection) -> int | None:
    assert isinstance(docs.fde, LemurEncoder)
    return docs.fde.fitted_queries


def test_queries_rank_better_after_a_fit_to_earlier_ones(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name)
    docs.ingest(DOCUMENTS)
    made_up = recall(docs)
    docs.fit(refit=True, queries=PAST)
    assert recall(docs) > made_up + 0.05
    assert learned(docs) == learned(ColbertCollection.open(docs.name, client=client, encoder=WordEncoder())) == 60


def test_an_ingest_and_a_fit_learn_the_same_from_texts_and_from_token_vectors(engine: Engine, client: Client) -> None:
    tokens = WordEncoder().encode_queries(PAST)
    ways: list[Any] = []
    sources: list[Any] = [PAST, iter(PAST), tokens]
    for number, queries in enumerate(sources):
        docs = create(client, f"{engine.name}-{number}")
        docs.ingest(DOCUMENTS, queries=queries)
        ways.append(docs)
    ways.append(create(client, f"{engine.name}-ready", ReadyTokens(dim=32)))
    ways[-1].ingest_tokens(range(60), WordEncoder().encode_documents(TEXTS), texts=TEXTS, queries=tokens)
    ways.append(create(client, f"{engine.name}-fit"))
    ways[-1].ingest(DOCUMENTS, fit=False)
    ways[-1].fit(queries=PAST)
    digests = {docs.fde.fingerprint()["digest"] for docs in ways if "ready" not in docs.name}
    assert len(digests) == 1
    assert [learned(docs) for docs in ways] == [60] * 5
    for docs in ways:
        client.delete_collection(docs.name)


def test_bad_queries_are_refused_before_anything_is_encoded_or_written(
    engine: Engine, client: Client, unfitted: ColbertCollection
) -> None:
    encoder = WordEncoder()
    docs = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    bad: dict[str, Any] = {
        r"queries is empty: pass at least one query, or leave queries out": [],
        r"queries is str: pass a list of texts": SECRET,
        r"queries is dict: pass a list of texts": {"q1": SECRET},
        r"queries is int: pass": 3,
        r"queries\[1\] is blank: leave it out": [SECRET, " \n"],
        r"queries\[1\] is bytes, not a string": [SECRET, SECRET.encode()],
        r"queries\[0\] is not valid Unicode": [f"{SECRET} \ud800"],
        r"queries\[0\] is TokenEmbeddings: pass one TokenEmbeddings.concatenate": [encoder.encode_queries(PAST)],
        r"have 3 dimensions, but those of collection": TokenEmbeddings(np.eye(3), [3]),
    }
    encoder.calls = 0
    for message, queries in bad.items():
        for call in (docs.fit, lambda queries: docs.ingest([Document("new", "river")], queries=queries)):
            with pytest.raises(InvalidQueryError, match=message) as caught:
                call(queries=queries)
            assert SECRET not in str(caught.value)
    assert (encoder.calls, docs.count(), docs.fde) == (0, 60, None)


def test_encodings_and_options_that_would_ignore_queries_refuse_them(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name, fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, center=True))
    for call in (docs.fit, lambda queries: docs.ingest(DOCUMENTS, queries=queries)):
        with pytest.raises(ConfigurationError, match=r"does not learn from queries: leave queries out, or use"):
            call(queries=PAST)
    with pytest.raises(ConfigurationError, match=r"fit=False never fits.*: pass queries to fit\(\) instead"):
        docs.ingest(DOCUMENTS, queries=PAST, fit=False)
    assert docs.count() == 0
    ready = create(client, f"{engine.name}-ready", ReadyTokens(dim=32))
    with pytest.raises(InvalidQueryError, match="TokenEmbeddings"):
        ready.ingest_tokens([1], [np.ones((2, 32))], queries=PAST)
    assert ready.count() == 0
    client.delete_collection(ready.name)


def test_queries_that_no_fit_learns_from_are_not_dropped_in_silence(unfitted: ColbertCollection) -> None:
    unfitted.fit()
    with pytest.raises(ConfigurationError, match=r"is fitted already, .*: pass refit=True"):
        unfitted.fit(queries=PAST)
    with pytest.warns(match=r"already fitted, so .* its 60 queries: call fit\(refit=True, queries=…\)"):
        unfitted.ingest([Document("new", "river")], queries=PAST)
    unfitted.fit(refit=True, queries=PAST)
    with pytest.warns(match=r"was fitted to 60 real queries, which are not stored, and is now fitted without them"):
        unfitted.fit(refit=True)
    assert learned(unfitted) is None


def test_a_script_that_runs_again_with_the_same_queries_is_not_warned(engine: Engine, client: Client) -> None:
    with warnings.catch_warnings(action="error"):
        create(client, engine.name).ingest(DOCUMENTS, queries=PAST)
        ColbertCollection.open(engine.name, client=client, encoder=WordEncoder()).ingest(DOCUMENTS, queries=PAST)


def test_an_empty_ingest_says_that_it_did_not_learn(engine: Engine, client: Client) -> None:
    with pytest.warns(match=r"was not fitted, so this ingest did not learn from its 60 queries: call fit\(queries=…\)"):
        create(client, engine.name).ingest([], queries=PAST)


def test_a_fit_that_is_killed_while_it_learns_takes_the_queries_again(
    unfitted: ColbertCollection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit_encoder", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            unfitted.ingest(DOCUMENTS, queries=PAST, resume=tmp_path / "docs.journal")
    unfitted.ingest(DOCUMENTS, queries=PAST, resume=tmp_path / "docs.journal")
    assert learned(unfitted) == 60


def test_no_text_of_a_query_is_stored_or_logged(
    engine: Engine, client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    docs = create(client, engine.name)
    with caplog.at_level(0):
        docs.ingest(DOCUMENTS, queries=["secretword diagnosis"] * 3, resume=tmp_path / "docs.journal")
    assert isinstance(docs.fde, LemurEncoder)
    kept = [docs.fde.to_bytes(), (tmp_path / "docs.journal").read_bytes(), caplog.text.encode()]
    if engine.kind in ("edge", "path"):
        client.close()
        kept += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"secretword" in data for data in kept)


def test_in_an_event_loop(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def fitted() -> int | None:
        config = CollectionConfig(fde=LEMUR)
        client = AsyncEdgeClient(tmp_path)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
        await docs.ingest(DOCUMENTS, queries=PAST)
        await docs.fit(refit=True, queries=PAST[:50])
        await client.close()
        assert isinstance(docs.fde, LemurEncoder)
        return docs.fde.fitted_queries

    assert runner.run(fitted()) == 50
