"""Vectors for late interaction that are added to points where they are, and taken away again."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    EdgeClient,
    LemurConfig,
    Migration,
    MigrationError,
    MuveraEncoder,
)
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import FDE, QUERIES, UNTIED, Point, SentenceEncoder, everything, require_kept
from tests.writers import WRITERS
from tests.writers.common import COUNT, DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colbert_qdrant import TokenEmbeddings
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client

LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=30)
KINDS = ["langchain-hybrid", "llama-index-hybrid", "fastembed-dot", "by-hand-multivector", "by-hand-gaps"]
AWAITED = [("awaited memory", "by-hand-gaps"), ("awaited edge", "fastembed-dot")]
MODES: tuple[Literal["exact", "two-stage"], ...] = ("exact", "two-stage")
WITH_TOKENS = ("fastembed-dot", "by-hand-multivector")


def write(client: Client, kind: str) -> Any:
    if isinstance(client, EdgeClient) and not kind.startswith(("fastembed", "by-hand")):
        pytest.skip("its writer knows no embedded engine")
    return WRITERS[kind](client, "docs")  # type: ignore[arg-type]


def planned(client: Client, kind: str, fde: FdeConfig = FDE) -> Migration:
    encoder = None if kind in WITH_TOKENS else SentenceEncoder()
    wanted = None if kind == "fastembed-dot" else fde
    return Migration.plan(client, "docs", encoder=encoder, fde=wanted, strategy="in_place")


def require_as_before(client: Client, before: dict[Any, Point]) -> None:
    """Nothing is missing, and nothing is left."""
    after = everything(client, "docs")
    require_kept(before, after)
    assert {id: {*point.vectors} for id, point in after.items()} == {
        id: {*point.vectors} for id, point in before.items()
    }


@pytest.mark.parametrize(
    ("client", "kind"), [*product(["memory", "edge", "model"], KINDS), *AWAITED], indirect=["client"]
)
def test_vectors_are_added_and_taken_away_again(client: Client, kind: str) -> None:
    written = write(client, kind)
    shown = [written.search("docs", query)[:1] for query in UNTIED]  # normalises once more in local mode
    before, config = everything(client, "docs"), client.get_collection("docs").config
    migration = planned(client, kind)
    assert everything(client, "docs") == before
    report = migration.run()
    assert report.without_tokens == (COUNT - len(written.texts) if kind not in WITH_TOKENS else 0)
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    require_kept(before, everything(client, "docs"))
    assert [written.search("docs", query)[:1] for query in UNTIED] == shown
    docs = ColbertCollection.open("docs", client=client, encoder=SentenceEncoder())
    new = Migration.plan(client, "docs", "new", strategy="blue_green")
    assert new.details.kind == "colbert_qdrant"
    assert not any("origin" in name for name in new.details.kept)
    assert len(docs.search(QUERIES[0], limit=5)) == 5
    migration.rollback()
    require_as_before(client, before)
    after = client.get_collection("docs").config
    assert after.params == config.params
    assert (after.metadata or {}) == (config.metadata or {})
    completed = COUNT if kind in WITH_TOKENS else len(written.texts)
    assert planned(client, kind).run().points == (0 if kind == "fastembed-dot" else completed)


@both_ways("memory")
@pytest.mark.parametrize("kind", ["by-hand-multivector", "by-hand-sparse"])
def test_an_encoding_that_is_fitted(client: Client, kind: str) -> None:
    write(client, kind)
    before = everything(client, "docs")
    migration = planned(client, kind, LEMUR)
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    docs = ColbertCollection.open("docs", client=client, encoder=SentenceEncoder())
    assert len(docs.search(QUERIES[0], limit=5)) == 5
    require_kept(before, everything(client, "docs"))
    migration.rollback()
    require_as_before(client, before)
    planned(client, kind, FDE).run()
    assert len(ColbertCollection.open("docs", client=client, encoder=SentenceEncoder()).search(QUERIES[0])) == 10


class Interrupting:
    """A progress reporter that presses Ctrl-C."""

    def start(self, total: int | None) -> None:
        pass

    def advance(self, documents: int) -> None:
        raise KeyboardInterrupt

    def stop(self) -> None:
        pass


@pytest.mark.parametrize("how", ["planned again", "resumed", "the same"])
def test_interrupted_halfway(client: Client, how: str) -> None:
    write(client, "by-hand-sparse")
    before = everything(client, "docs")
    migration = planned(client, "by-hand-sparse")
    with pytest.raises(KeyboardInterrupt):
        migration.run(progress=Interrupting())
    require_kept(before, everything(client, "docs"))
    assert any(reason.startswith("run: the run did not finish") for reason in migration.verify().reasons)
    if how == "planned again":
        migration = planned(client, "by-hand-sparse")
    elif how == "resumed":
        migration = Migration.resume(client, "docs", encoder=SentenceEncoder())
    assert 0 < migration.run().points < COUNT
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    migration.rollback()
    assert everything(client, "docs") == before


@both_ways("memory", "edge")
def test_an_interrupted_one_is_taken_back(client: Client) -> None:
    write(client, "by-hand-sparse")
    before = everything(client, "docs")
    migration = planned(client, "by-hand-sparse")
    with pytest.raises(KeyboardInterrupt):
        migration.run(progress=Interrupting())
    Migration.resume(client, "docs").rollback()
    assert everything(client, "docs") == before
    with pytest.raises(MigrationError, match="not started"):
        migration.rollback()


def test_what_was_changed_meanwhile_is_found(client: Client) -> None:
    write(client, "by-hand-sparse")
    migration = planned(client, "by-hand-sparse")
    migration.run()
    client.set_payload("docs", {"number": "another"}, points=[2])
    assert any("untouched" in reason for reason in migration.verify().reasons)


# written to meanwhile


class Meanwhile(SentenceEncoder):
    """An encoder that is slow: others write while it works."""

    action: Callable[[], None] | None = None

    def _encode(self, texts: Sequence[str]) -> TokenEmbeddings:
        action, self.action = self.action, None
        if action is not None:
            action()
        return super()._encode(texts)


def test_a_point_that_is_overwritten_while_it_is_encoded_has_the_vectors_of_its_new_text(client: Client) -> None:
    write(client, "by-hand-sparse")
    encoder = Meanwhile()
    migration = Migration.plan(client, "docs", encoder=encoder, fde=FDE, strategy="in_place")
    chosen = [2, 4, 6]
    seen: dict[Any, Point] = {}

    def look() -> None:
        seen.update(everything(client, "docs"))

    def overwrite() -> None:
        encoder.action = look  # when it encodes for the next time
        client.upsert("docs", [models.PointStruct(id=2, vector={}, payload={"text": "zeppelin above the mountains"})])
        client.set_payload("docs", {"text": "quokka near a submarine"}, points=[4])
        client.delete_payload("docs", ["text"], points=[6])

    encoder.action = overwrite
    migration.run()
    verdict = migration.verify()
    assert [each for each in verdict.reasons if not each.startswith("untouched")] == []
    assert ["colbert" in seen[id].vectors for id in (*chosen, 8)] == [False, False, False, True]
    require_made_of_texts(client, chosen)
    assert "colbert" not in everything(client, "docs")[6].vectors


@both_ways("memory", "edge")
@pytest.mark.parametrize("fde", [FDE, LEMUR], ids=["muvera", "lemur"])
def test_a_text_that_is_changed_later_is_named_and_encoded_anew(client: Client, fde: FdeConfig) -> None:
    write(client, "by-hand-sparse")
    migration = planned(client, "by-hand-sparse", fde)
    migration.run()
    client.set_payload("docs", {"text": "zeppelin above purple mountains"}, points=[2])
    client.delete_payload("docs", ["text"], points=[4])
    client.set_payload("docs", {"number": -6}, points=[6])
    (origins,) = [each for each in migration.verify().reasons if each.startswith("origins")]
    assert "2 points" in origins
    assert "(2, 4)" in origins
    assert "run() again" in origins
    assert migration.run().points == 1
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    docs = ColbertCollection.open("docs", client=client, encoder=SentenceEncoder())
    require_made_of_texts(client, [2, 6, 8])
    assert [docs.search("zeppelin above purple mountains", limit=1, mode=mode)[0].id for mode in MODES] == [2, 2]
    assert {*everything(client, "docs")[4].vectors} == {"words"}
    assert migration.run().points == 0


def test_token_vectors_that_are_changed_alone_get_their_encoding(client: Client) -> None:
    write(client, "by-hand-multivector")
    migration = planned(client, "by-hand-multivector")
    migration.run()
    (id,) = list(everything(client, "docs"))[:1]
    tokens = SentenceEncoder(unit=True).encode_documents(["zeppelin above purple mountains"])
    client.update_vectors("docs", [models.PointVectors(id=id, vector={"colpali": tokens[0].tolist()})])
    assert any(f"({id!r})" in reason for reason in migration.verify().reasons)
    assert migration.run().points == 1
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    wanted = MuveraEncoder(FDE, token_dim=DIM).encode_documents(tokens)[0]
    np.testing.assert_allclose(np.asarray(everything(client, "docs")[id].vectors["fde"]), wanted, atol=2e-2)


def require_made_of_texts(client: Client, ids: Sequence[Any]) -> None:
    """Raise unless points have the token vectors of the texts that are in their payloads."""
    for id in ids:
        point = everything(client, "docs")[id]
        text = json.loads(point.payload).get("text")
        wanted = SentenceEncoder().encode_documents([text])[0] if text else None
        if wanted is None:
            assert "colbert" not in point.vectors
        else:
            np.testing.assert_allclose(np.asarray(point.vectors["colbert"]), wanted, atol=2e-3)


# what cannot be undone


@both_ways("memory")
def test_encodings_that_are_compared_by_cosine_stay(client: Client) -> None:
    write(client, "fastembed-cosine")
    before = everything(client, "docs")
    migration = Migration.plan(client, "docs", strategy="in_place")
    (risk,) = migration.details.blocked
    assert "'muvera'" in risk.problem
    assert "distance is Cosine" in risk.problem
    assert "blue_green" in risk.remedy
    with pytest.raises(MigrationError, match="distance is Cosine"):
        migration.run()
    assert everything(client, "docs") == before


def test_a_vector_that_somebody_made_since_the_plan_is_never_deleted(client: Client) -> None:
    write(client, "by-hand-sparse")
    migration = planned(client, "by-hand-sparse")
    dense = models.DenseVectorConfig(size=2, distance=models.Distance.DOT)
    client.create_vector_name("docs", "fde", models.DenseVectorNameConfig(dense=dense))
    client.update_vectors("docs", [models.PointVectors(id=2, vector={"fde": [1.0, 2.0]})])
    with pytest.raises(MigrationError, match=r"another client added the vectors \['fde'\]"):
        migration.run()
    with pytest.raises(MigrationError, match="not started"):
        migration.rollback()
    assert everything(client, "docs")[2].vectors["fde"] == [1.0, 2.0]


@both_ways("memory")
def test_a_schema_that_cannot_be_made_again_has_to_be_given_up(client: Client) -> None:
    written = write(client, "by-hand-unnamed")
    before = everything(client, "docs")
    options: dict[str, Any] = {"encoder": SentenceEncoder(), "fde": FDE, "text_key": written.text_path}
    blocked = Migration.plan(client, "docs", strategy="in_place", **options)
    assert ["unnamed vector" in risk.problem for risk in blocked.details.blocked] == [True]
    with pytest.raises(MigrationError, match="allow_irreversible=True"):
        blocked.run()
    assert everything(client, "docs") == before
    migration = Migration.plan(client, "docs", strategy="in_place", allow_irreversible=True, **options)
    assert any("unnamed vector" in risk.problem for risk in migration.details.risks)
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    migration.rollback()
    require_as_before(client, before)


def test_there_is_nothing_to_switch_or_to_delete(client: Client) -> None:
    write(client, "by-hand-sparse")
    migration = planned(client, "by-hand-sparse")
    migration.run()
    with pytest.raises(ConfigurationError, match="in place"):
        migration.switch("app")
    with pytest.raises(ConfigurationError, match="in place"):
        migration.cleanup(confirm=lambda _: True)
    with pytest.raises(ConfigurationError, match="strategy='in_place' migrates the source itself"):
        Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), strategy="in_place")
    with pytest.raises(ConfigurationError, match="strategy='in_place' migrates the source itself"):
        Migration.plan(
            client, "docs", target_client=QdrantClient(":memory:"), encoder=SentenceEncoder(), strategy="in_place"
        )


def test_another_plan_does_not_go_on_with_what_was_begun(client: Client) -> None:
    write(client, "by-hand-sparse")
    planned(client, "by-hand-sparse").run()
    with pytest.raises(MigrationError, match="another fde"):
        planned(client, "by-hand-sparse", LEMUR)
    with pytest.raises(MigrationError, match="another encoder"):
        Migration.plan(client, "docs", encoder=SentenceEncoder(salt="other"), strategy="in_place")
    Migration.resume(client, "docs").rollback()
    planned(client, "by-hand-sparse", LEMUR).run()


def test_what_is_in_the_way(client: Client) -> None:
    write(client, "by-hand-sparse")
    some = models.Filter(must=[models.FieldCondition(key="number", range=models.Range(gte=30))])
    filtered = Migration.plan(client, "docs", encoder=SentenceEncoder(), fde=FDE, strategy="in_place", filter=some)
    assert "leave filter out" in filtered.details.blocked[0].remedy
    config = CollectionConfig(fde=FDE, bm25=Bm25Config(), payload_indexes={"number": "integer"})
    more = Migration.plan(client, "docs", encoder=SentenceEncoder(), config=config, strategy="in_place").details
    assert "leave bm25 out" in more.blocked[0].remedy
    in_local_mode = "Local" in type(getattr(client, "_client", client)).__name__
    assert len(more.blocked) == (1 if in_local_mode else 2)
    ColbertCollection.create("own", client=client, encoder=SentenceEncoder())
    own = Migration.plan(client, "own", fde=FDE, strategy="in_place")
    with pytest.raises(MigrationError, match="blue_green"):
        own.run()
