"""Collections of every kind that others write, migrated: nothing is lost, and their applications notice nothing."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from haystack_integrations.document_stores.qdrant.document_store import QdrantStoreError
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, EdgeClient, Migration, MuveraConfig
from tests.contract.migration.shared import (
    FDE,
    QUERIES,
    UNTIED,
    SentenceEncoder,
    aliases,
    everything,
    point_to,
    require_kept,
)
from tests.writers import WRITERS
from tests.writers.common import COUNT, DIM, mixed_ids, texts

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.writers import Written

UNUSUAL = ("langchain-own-keys", "by-hand-unnamed")
"""Those whose texts nobody could find without being told."""

FUSED = ("langchain-hybrid", "haystack-sparse")
"""Applications that fuse ranks, where others than the first may well have the same score."""

ADOPTED = MuveraConfig(k_sim=3, dim_proj=8, r_reps=4, variant="fastembed")
TO_EDGE = ["langchain-hybrid", "llama-index-dense", "haystack-sparse", "fastembed-cosine", "fastembed-dot"]
TO_EDGE += [kind for kind in WRITERS if kind.startswith("by-hand")]
INTEGER = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False)
TEXT = models.TextIndexParams(type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD, lowercase=True)

WITHIN_EDGE = ["fastembed-dot", "by-hand-multivector", "by-hand-unnamed", "by-hand-gaps"]


def has_tokens(kind: str) -> bool:
    return kind.startswith("fastembed") or kind == "by-hand-multivector"


def planned(written: Written, kind: str, **arguments: Any) -> Migration:
    """A migration with as little said as can be."""
    if kind in UNUSUAL:
        arguments["text_key"] = written.text_path
    if not has_tokens(kind):
        arguments["encoder"] = SentenceEncoder()
    if not kind.startswith("fastembed"):
        arguments["fde"] = FDE
    return Migration.plan(written.client, "docs", "new", **arguments)


def ingested(client: Client, kind: str, written: Written) -> ColbertCollection:
    """What a collection is that was never anything else."""
    raw = SentenceEncoder(unit=has_tokens(kind))
    config = CollectionConfig(
        fde=ADOPTED if kind.startswith("fastembed") else FDE,
        id_scheme="native",
        token_distance="cosine" if has_tokens(kind) else "dot",
        token_datatype="float32" if kind.startswith("fastembed") else "float16",
    )
    docs = ColbertCollection.create("fresh", client=client, encoder=raw, config=config)
    known = dict(zip(mixed_ids(COUNT), texts(COUNT), strict=True)) if kind == "by-hand-multivector" else written.texts
    docs.upsert(Document(id, text) for id, text in known.items())
    return docs


def require_same_hits(docs: ColbertCollection, fresh: ColbertCollection) -> None:
    for mode in ("exact", "two-stage"):
        found, expected = (
            each.search_batch(QUERIES, limit=6, mode=mode, candidates=None if mode == "exact" else 12)
            for each in (docs, fresh)
        )
        for hits, wanted in zip(found, expected, strict=True):
            assert [str(hit.id) for hit in hits] == [str(hit.id) for hit in wanted]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in wanted], abs=2e-3)


def require_migrated(migration: Migration, written: Written, kind: str, target: Client) -> ColbertCollection:
    """Run a migration and compare what comes out with what went in, and with an ingest from scratch."""
    before = everything(written.client, "docs")
    report = migration.run()
    assert (report.points, report.present, report.removed) == (COUNT, 0, 0)
    assert report.without_tokens == (0 if has_tokens(kind) else COUNT - len(written.texts))
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    assert everything(written.client, "docs") == before
    require_kept(
        before,
        everything(target, "new"),
        rewritten=["muvera"] if kind == "fastembed-cosine" else [],
        halved=kind == "by-hand-multivector" and written.client is not target,
    )
    docs = ColbertCollection.open("new", client=target, encoder=SentenceEncoder())
    require_same_hits(docs, ingested(target, kind, written))
    known = {str(id): text for id, text in written.texts.items()}
    for hit in docs.search(QUERIES[0], limit=COUNT):
        assert hit.text == known.get(str(hit.id))
    return docs


def shows(written: Written, kind: str, name: str) -> list[list[str]]:
    """What the application that wrote a collection shows for some queries."""
    found = [written.search(name, query) for query in UNTIED]
    if kind in FUSED:
        return [each[:1] for each in found]
    return found


@pytest.mark.parametrize(
    ("local", "kind"),
    [*product(["blocking"], WRITERS), *product(["awaited"], ["fastembed-cosine", "by-hand-unnamed", "by-hand-gaps"])],
    indirect=["local"],
)
def test_nothing_is_lost_and_applications_find_what_they_found(local: QdrantClient, kind: str) -> None:
    written = WRITERS[kind](local, "docs")
    point_to(local, "app", "docs")
    shown = shows(written, kind, "app")
    migration = planned(written, kind)
    require_migrated(migration, written, kind, local)
    migration.switch("app")
    assert aliases(local)["app"] == "new"
    if kind == "haystack-dense":
        assert any("Haystack" in risk.problem for risk in migration.details.risks)
        with pytest.raises(QdrantStoreError):
            written.search("app", UNTIED[0])
    else:
        assert shows(written, kind, "app") == shown
        assert not any("Haystack" in risk.problem for risk in migration.details.risks)
    migration.rollback()
    assert aliases(local)["app"] == "docs"
    assert shows(written, kind, "app") == shown


@pytest.mark.parametrize(
    ("local", "edge", "kind"),
    [*product(["blocking"], ["blocking"], TO_EDGE), ("awaited", "awaited", "fastembed-dot")],
    indirect=["local", "edge"],
)
def test_into_an_embedded_engine(local: QdrantClient, edge: EdgeClient, kind: str) -> None:
    written = WRITERS[kind](local, "docs")
    require_migrated(planned(written, kind, target_client=edge), written, kind, edge)


@pytest.mark.parametrize(
    ("edge", "kind"), [*product(["blocking"], WITHIN_EDGE), ("awaited", "by-hand-multivector")], indirect=["edge"]
)
def test_within_an_embedded_engine(edge: EdgeClient, kind: str) -> None:
    written = WRITERS[kind](edge, "docs")  # type: ignore[arg-type]
    shown = [written.search("docs", query) for query in UNTIED]
    migration = planned(written, kind)
    require_migrated(migration, written, kind, edge)
    migration.switch("app")
    assert shows(written, kind, "app") == shown


@pytest.mark.parametrize("to_edge", [False, True])
def test_settings_of_a_collection_stay(local: QdrantClient, edge: EdgeClient, *, to_edge: bool) -> None:
    written = WRITERS["by-hand-settings"](local, "docs")
    target: Client = edge if to_edge else local
    planned(written, "by-hand-settings", target_client=target).run()
    before, after = local.get_collection("docs").config, target.get_collection("new").config
    assert before.metadata is not None
    assert after.metadata is not None
    assert before.metadata.items() <= after.metadata.items()
    assert isinstance(after.params.vectors, dict)
    assert isinstance(before.params.vectors, dict)
    for name in ("title", "body"):
        assert after.params.vectors[name].distance == before.params.vectors[name].distance
        assert after.params.vectors[name].size == DIM
    assert aliases(local) == {"docs-live": "docs"}


def test_payload_indexes_stay_what_they_are(edge: EdgeClient) -> None:
    written = WRITERS["by-hand-sparse"](edge, "docs")  # type: ignore[arg-type]
    edge.create_payload_index("docs", "number", INTEGER)
    edge.create_payload_index("docs", "tags", models.PayloadSchemaType.KEYWORD)
    edge.create_payload_index("docs", "text", TEXT)
    migration = planned(written, "by-hand-sparse")
    assert migration.details.indexes == ("number", "tags", "text")
    migration.run()
    before, after = (edge.get_collection(name).payload_schema for name in ("docs", "new"))
    assert len(after) == 3
    assert {key: (each.data_type, each.params) for key, each in after.items()} == {
        key: (each.data_type, each.params) for key, each in before.items()
    }
