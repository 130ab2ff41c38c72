"""Datasets that a local Ray writes to the model of a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import ColbertCollection
from tests.encoders import WordEncoder
from tests.ray.rows import rows
from tests.server.listener import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KEY: Final = "correct-horse-battery-staple"


class Ran:
    """The output of `program.py`, and the collections that it made."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "RAY_TEST_KEY": KEY, "RAY_USAGE_STATS_ENABLED": "0"}
        command = [sys.executable, "-m", "tests.ray.program", url, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        if done.stderr.strip().rpartition("\n")[2].startswith("could not start Ray"):
            pytest.skip(done.stderr[-500:])
        assert done.returncode == 0, done.stderr[-5_000:]
        self.printed = done.stdout + done.stderr
        self.outcomes: dict[str, Any] = {each["of"]: each for each in map(json.loads, done.stdout.splitlines())}
        self.client = QdrantClient(url=url, check_compatibility=False, timeout=60)

    def open(self, name: str) -> ColbertCollection:
        return ColbertCollection.open(name, client=self.client, encoder=WordEncoder())

    def report(self, of: str) -> Mapping[str, Any]:
        assert "report" in self.outcomes[of], self.outcomes[of]
        return self.outcomes[of]["report"]  # type: ignore[no-any-return]

    def loads(self) -> list[tuple[str, str, int]]:
        """The sink, the process and the number of times that it loaded the sink's encoder."""
        files = (self.folder / "loaded").iterdir()
        return [(*file.name.split(), len(file.read_text().splitlines())) for file in files]  # type: ignore[misc]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("r")  # a short path: Ray has sockets in it
    with serving(folder / "model") as url:
        run = Ran(url, folder)
        yield run
        run.client.close()
    shutil.rmtree(folder, ignore_errors=True)


def assert_stored(ran: Ran, name: str, expected: list[dict[str, Any]]) -> None:
    """The collection has each row once, with the tokens of its text and the encoding of those."""
    collection = ran.open(name)
    points = ran.client.scroll(name, limit=10_000, with_payload=True, with_vectors=True)[0]
    stored: dict[str, Any] = {(point.payload or {})["_id"]: (point.payload, point.vector) for point in points}
    assert len(points) == len(stored)
    assert sorted(stored) == sorted(row["id"] for row in expected)
    tokens = WordEncoder().encode_documents([row["text"] for row in expected])
    assert collection.fde is not None
    encodings = collection.fde.encode_documents(tokens)
    for row, matrix, encoding in zip(expected, tokens, encodings, strict=True):
        payload, vectors = stored[row["id"]]
        assert (payload["text"], payload.get("n")) == (row["text"], row.get("n"))
        np.testing.assert_allclose(vectors["colbert"], matrix, atol=1e-3)
        np.testing.assert_allclose(vectors["fde"], encoding, rtol=3e-3, atol=1e-3)


def test_all_documents_arrive_with_the_tokens_of_their_texts(ran: Ran) -> None:
    assert_stored(ran, "plain", rows(90))  # two datasets that overlap
    assert ran.report("plain")["documents"] == ran.report("again")["documents"] == 60
    logged = ran.outcomes["again"]["logged"]
    assert logged == ["collection 'plain': 60 documents were written, and the collection has 90"]
    assert ran.report("plain")["tokens"] == sum(len(row["text"].split()) for row in rows(60))
    assert ran.open("plain").search(rows(1)[0]["text"], limit=1)[0].text == rows(1)[0]["text"]


def test_blocks_of_pandas_are_written_too(ran: Ran) -> None:
    assert_stored(ran, "pandas", rows(20))


def test_a_worker_that_is_killed_loses_and_doubles_nothing(ran: Ran) -> None:
    assert (ran.folder / "killed").exists()
    assert_stored(ran, "killed", rows(600))
    report = ran.report("killed")
    assert (report["documents"], report["replaced"], report["rejected"]) == (600, 0, [])
    assert report["tokens"] == sum(len(row["text"].split()) for row in rows(600))


def test_every_process_loads_one_encoder_for_all_tasks_of_a_write(ran: Ran) -> None:
    loads = [(process, times) for sink, process, times in ran.loads() if sink == "counted"]
    assert {times for _, times in loads} == {1}
    assert 2 <= len(loads) <= 4  # the driver and two workers, for 12 tasks; Ray may start a worker more


def test_a_row_that_cannot_be_stored_ends_the_write_and_is_named(ran: Ran) -> None:
    outcome = ran.outcomes["bad"]
    assert "InvalidDocumentError" in outcome["kinds"]
    assert "document 'b' has no text: leave it out" in outcome["message"]
    assert "the write failed" in outcome["logged"][-1]
    assert ran.open("bad").count() < 3


def test_a_row_that_cannot_be_stored_can_be_skipped(ran: Ran) -> None:
    report = ran.report("skipped")
    assert (report["documents"], [each["id"] for each in report["rejected"]]) == (2, ["b"])
    assert {document.id for document in ran.open("skipped").get(["a", "b", "c"])} == {"a", "c"}


def test_a_row_without_a_document_is_reported_with_its_number(ran: Ran) -> None:
    report = ran.report("unnamed")
    assert report["documents"] == 1
    assert [each["reason"].partition(":")[0] for each in report["rejected"]] == ["row 2"]
    assert "id" in report["rejected"][0]["reason"]


def test_actors_encode_and_writers_load_no_model(ran: Ran) -> None:
    assert_stored(ran, "actors", rows(40))
    assert ran.report("actors")["documents"] == 40
    assert sorted(times for sink, _, times in ran.loads() if sink == "actors") == [1, 1]  # the driver and the actor


def test_an_id_in_several_tasks_counts_once_and_is_told(ran: Ran) -> None:
    assert_stored(ran, "twice", rows(20))
    assert (ran.report("twice")["documents"], ran.report("twice")["replaced"]) == (20, 20)
    assert any("make ids unique" in line for line in ran.outcomes["twice"]["logged"])


def test_an_empty_dataset_makes_an_empty_collection(ran: Ran) -> None:
    assert ran.report("empty")["documents"] == ran.open("empty").count() == 0


@pytest.mark.parametrize(("of", "kind"), [("exists", "CollectionExistsError"), ("other", "FingerprintMismatchError")])
def test_mistakes_are_found_on_the_driver_before_any_task(ran: Ran, of: str, kind: str) -> None:
    assert ran.outcomes[of]["kinds"][0] == kind
    assert not (ran.folder / "task has run").exists()


@pytest.mark.parametrize(("name", "fitted_to"), [("sampled", 50), ("fitted", 80)])
def test_an_encoding_that_needs_a_fit_is_fitted_on_the_driver(ran: Ran, name: str, fitted_to: int) -> None:
    """It is fitted to the sample before the workers start, or to all documents at the end."""
    assert_stored(ran, name, rows(80))
    assert ran.report(name)["documents"] == 80
    fde: Any = ran.open(name).fde
    assert fde.fitted_documents == fitted_to


def test_the_guide_runs(ran: Ran) -> None:
    documents = ran.open("articles")
    assert documents.count(where={"year": {"gte": 2020}}) == 10
    assert "year" in documents.config.payload_indexes


def test_the_key_is_in_no_log_no_repr_and_no_task(ran: Ran) -> None:
    assert KEY not in ran.printed
    files = [path for path in ran.folder.rglob("*") if path.is_file() and "model" not in path.parts]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
