"""A plan doubts what is taken for texts, and shows an example of it; a verification warns of what it cannot prove."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    ColbertQdrantWarning,
    CollectionConfig,
    Migration,
    MigrationError,
    MuveraConfig,
)
from tests.contract.migration.awaited import both_ways
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from colbert_qdrant.engines import Client
    from colbert_qdrant.migrate.plan import Risk

FDE = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
COUNT = 30
SENTENCES = random_texts(COUNT, words=(6, 12))


def planned(client: Client, payload: Callable[[int], dict[str, Any]], **more: Any) -> Migration:
    client.create_collection("docs", vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
    client.upsert(
        "docs",
        [models.PointStruct(id=n, vector={"a": [1.0, float(n)]}, payload=payload(n)) for n in range(COUNT)],
        wait=True,
    )
    return Migration.plan(client, "docs", encoder=WordEncoder(), fde=FDE, **more)


def doubts(migration: Migration) -> list[Risk]:
    return [risk for risk in migration.details.risks if ", may be wrong, since" in risk.problem]


@both_ways("memory", "edge")
@pytest.mark.parametrize(
    ("payload", "example", "instead"),
    [
        (lambda n: {"document": f"report-{n}.pdf", "chunk_text": SENTENCES[n]}, "'report-", "'chunk_text'"),
        (lambda n: {"text": f"annual report {n}.docx", "body": {"plain": SENTENCES[n]}}, "'annual", "'body.plain'"),
        (lambda n: {"content": ["text/html", "application/pdf"][n % 2], "body": SENTENCES[n]}, "'", "'body'"),
        (lambda n: {"text": f"https://example.com/{n}", "n": n}, "'https://example.com/", "'…'"),
        (lambda n: {"page_content": ["Class A", "Class B"][n % 2], "notes": SENTENCES[n]}, "'Class", "'notes'"),
    ],
    ids=["files", "files-with-spaces", "types", "addresses", "labels"],
)
def test_what_is_no_text_blocks_a_plan(
    client: Client, payload: Callable[[int], dict[str, Any]], example: str, instead: str
) -> None:
    migration = planned(client, payload)
    (risk,) = doubts(migration)
    assert risk.blocks
    assert f", such as {example}" in risk.problem
    assert f"text_key={instead}" in risk.remedy
    with pytest.raises(MigrationError, match="may be wrong"):
        migration.run()


NO_TEXTS: dict[str, Callable[[int], str]] = {
    "json": lambda n: json.dumps({"number": n, "body": SENTENCES[n]}),
    "a list in json": lambda n: json.dumps([SENTENCES[n], SENTENCES[-n]]),
    "a path with spaces": lambda n: f"/mnt/data/My Files/report {n}",
    "a path on Windows": lambda n: f"C:\\Users\\me\\My Documents\\report {n}",
    "an address with spaces": lambda n: f"https://example.com/a b/{n}?q=1",
    "addresses": lambda n: f"https://example.com/{n} https://example.com/{n + 1}",
    "dates": lambda n: f"2024-06-01 12:00:{n:02}",
    "numbers": lambda n: f"{n} {n + 1} {2 * n}",
    "one long text": lambda _: SENTENCES[0] * 3,
    "two long texts": lambda n: SENTENCES[n % 2] * 3,
    "code files": lambda n: f"my module {n}.py",
    "films": lambda n: f"my holiday {n}.mp4",
    "base64": lambda n: b64encode(SENTENCES[n].encode()).decode(),
    "punctuation": lambda n: f"{n} -- ... !",
}


@both_ways("edge")
@pytest.mark.parametrize("kind", NO_TEXTS)
def test_so_does_every_other_kind_of_string_that_is_none(client: Client, kind: str) -> None:
    migration = planned(client, lambda n: {"text": NO_TEXTS[kind](n)})
    (risk,) = doubts(migration)
    assert risk.blocks
    assert any(repr(NO_TEXTS[kind](n))[:25] in risk.problem for n in range(COUNT))


@both_ways("memory")
def test_a_user_who_says_where_texts_are_is_believed_and_warned(client: Client) -> None:
    migration = planned(client, lambda n: {"document": f"report-{n}.pdf"}, text_key="document")
    (risk,) = doubts(migration)
    assert not risk.blocks
    migration.run()
    with pytest.warns(ColbertQdrantWarning, match="30 of 30 points have a text under 'document', but 30 of these look"):
        verdict = migration.verify(queries=3)
    (check,) = [check for check in verdict.checks if check.name == "texts"]
    assert check.passed is None
    assert verdict.passed


@both_ways("memory")
@pytest.mark.parametrize(
    "payload",
    [
        lambda n: {"text": SENTENCES[n], "source": f"report-{n}.pdf"},
        lambda n: {"text": "図書館は九時に開きます" + str(n)},
        lambda n: {"text": f"ห้องสมุดเปิด{n}"},
        lambda n: {"text": f"<p>{SENTENCES[n]}</p>"},
        lambda n: {"text": f"https://example.com says {SENTENCES[n]}"},
        lambda n: {"text": f"[{n}] {SENTENCES[n]}"},
        lambda n: {"text": SENTENCES[n // 3]},
        lambda n: {"text": SENTENCES[n], "title": SENTENCES[n][:10]},
    ],
    ids=["beside-files", "japanese", "thai", "html", "address", "bracket", "three-times", "beside-titles"],
)
@pytest.mark.filterwarnings("error")
def test_texts_are_not_doubted(client: Client, payload: Callable[[int], dict[str, Any]]) -> None:
    migration = planned(client, payload)
    assert not doubts(migration)
    migration.run()
    assert ("texts", True) in [(check.name, check.passed) for check in migration.verify(queries=3).checks]


@both_ways("memory")
def test_titles_where_there_are_texts(client: Client) -> None:
    migration = planned(client, lambda n: {"text": SENTENCES[n], "body": " ".join(SENTENCES[n:] + SENTENCES[:n])})
    (risk,) = doubts(migration)
    assert not risk.blocks  # they may be meant
    assert "longer texts are under 'body'" in risk.problem


@both_ways("memory")
def test_a_key_with_texts_is_taken_rather_than_one_with_labels(client: Client) -> None:
    migration = planned(client, lambda n: {"content": "text/html", **({"text": SENTENCES[n]} if n % 3 else {})})
    assert migration.details.text == "text"


@both_ways("memory", "edge")
@pytest.mark.parametrize("key", ["text", "content", "page_content", "document"])
@pytest.mark.parametrize("all_of_them", [True, False], ids=["all", "most"])
def test_a_node_of_llamaindex_is_more_than_its_metadata(client: Client, key: str, *, all_of_them: bool) -> None:
    def payload(n: int) -> dict[str, Any]:
        node = {"_node_content": json.dumps({"text": f"node {SENTENCES[n]}", "metadata": {key: SENTENCES[0]}})}
        return {key: SENTENCES[-n], **(node if all_of_them or n % 4 else {})}

    assert planned(client, payload).details.text == "_node_content.text"


@both_ways("memory", "edge")
def test_few_points_with_a_text_are_warned_of(client: Client) -> None:
    migration = planned(client, lambda n: {"text": SENTENCES[n]} if n % 3 == 0 else {"other": n})
    migration.run()
    with pytest.warns(ColbertQdrantWarning, match="10 of 30 points have a text under 'text': check that"):
        verdict = migration.verify(queries=3)
    assert ("texts", None) in [(check.name, check.passed) for check in verdict.checks]


@both_ways("edge")
@pytest.mark.parametrize(
    ("language", "text", "warned"),
    [
        ("english", "渡轮中午离开港口", True),
        ("hebrew", "เรือออกจากท่า", True),
        ("japanese", "သင်္ဘောထွက်ခွာသည်", True),
        ("japanese", "船が港を出る", False),
        ("english", "the 渡轮 leaves at noon, and it is late", False),
    ],
)
def test_a_plan_warns_of_texts_that_bm25_does_not_split(
    client: Client, language: str, text: str, *, warned: bool
) -> None:
    client.create_collection("docs", vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
    points = [models.PointStruct(id=n, vector={"a": [1.0, n]}, payload={"text": f"{text}{n}"}) for n in range(COUNT)]
    client.upsert("docs", points, wait=True)
    config = CollectionConfig(fde=FDE, bm25=Bm25Config(language=language))
    migration = Migration.plan(client, "docs", encoder=WordEncoder(), config=config)
    risks = [risk for risk in migration.details.risks if f"Bm25Config(language='{language}')" in risk.problem]
    assert [(f"such as '{text}" in risk.problem, risk.blocks) for risk in risks] == [(True, False)] * warned
