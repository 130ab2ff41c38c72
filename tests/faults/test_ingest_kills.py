"""Ingests that are killed again and again: in the end, the collection equals its source, and little work is repeated.

``COLBERT_QDRANT_KILLS=200`` kills as many processes on each engine; a normal run has time for fewer.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import ColbertCollection, Document, maxsim
from colbert_qdrant.collection.ingest.journal import Journal
from tests.encoders import WordEncoder
from tests.faults import ingesting
from tests.faults.ingesting import CHUNK, COUNT, LEFT, Plan, source
from tests.faults.migrating import killed
from tests.processes import PROCESSES

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.collection.ingest.conflicts import OnConflict
    from colbert_qdrant.engines import Client

KILLS = int(os.environ.get("COLBERT_QDRANT_KILLS", "10"))
KILLED = -9
AHEAD = 4 * CHUNK
"""The documents that may be encoded and not recorded: three chunks on their way, and one that is being recorded."""

CALLS = 20_000
"""What an ingest is killed within, as long as nobody knows how many calls it makes."""

QUERY = "river bridge"


class Lives:
    """Ingests on one engine, each of which is killed a few times.

    Attributes:
        kills: How many processes were killed, fresh ones and those that resumed.
        repeated: The documents that were encoded more than once.
    """

    def __init__(self, place: str, folder: Path) -> None:
        self._place, self._folder = place, folder
        self._draw = random.Random(1)
        self._calls, self._encoded = PROCESSES.Value("q", 0), PROCESSES.Value("q", 0)
        self._longest: dict[bool, int] = {}
        self.kills = {"fresh": 0, "resumed": 0}
        self.repeated = 0
        self._lives = 0

    def live(self) -> None:
        """Make a collection, and ingest into it until that comes to its end."""
        self._lives += 1
        plan = self._plan(fitted=self._lives % 2 == 0)
        client = plan.client()
        docs = ColbertCollection.create(plan.name, client=client, encoder=WordEncoder(), config=plan.config())
        if plan.sync:
            docs.upsert(LEFT)
        client.close()
        self._encoded.value, kills = 0, 0
        for _ in range(self._draw.randint(1, 5)):
            if not self._kill(plan, self._draw.randint(1, self._longest.get(plan.fitted, CALLS))):
                break
            self.kills["fresh" if kills == 0 else "resumed"] += 1
            kills += 1
            self._check_recorded(plan)
        assert not self._kill(plan, 0)
        self._longest[plan.fitted] = max(self._calls.value, self._longest.get(plan.fitted, 0))
        self._check_all(plan)
        repeated = self._encoded.value - (COUNT - 1)
        self.repeated += max(0, repeated)
        assert repeated <= kills * AHEAD or not plan.prompt, (plan, kills)

    def _plan(self, *, fitted: bool) -> Plan:
        choices: tuple[OnConflict, ...] = ("replace", "skip", "error")
        return Plan(
            place=self._place,
            name=f"docs{self._lives}",
            journal=str(self._folder / f"docs{self._lives}.journal"),
            fitted=fitted,
            on_conflict=self._draw.choice(choices),
            sync=self._draw.choice((True, False)),
            prompt=self._draw.choice((True, True, False)),
        )

    def _kill(self, plan: Plan, deadly: int) -> bool:
        """Tell whether a process was killed, or came to its end before."""
        code = killed(ingesting.work, plan, deadly, self._calls, self._encoded)
        assert code in ((0, KILLED) if deadly else (0,)), (plan, deadly, code, self.kills)
        return code == KILLED

    def _check_recorded(self, plan: Plan) -> None:
        """What the journal records is stored: the first documents of the source, whatever follows."""
        journal = Journal(plan.journal)
        journal.close()
        first, client = source()[: journal.last.items], plan.client()
        docs = ColbertCollection.open(plan.name, client=client, encoder=WordEncoder())
        later = {each.id: each for each in source()}
        for document in docs.get([each.id for each in first if each.text]):
            assert document.text in {each.text for each in (*first, later[document.id]) if each.id == document.id}
        assert len(docs.get({each.id for each in first if each.text})) == len({each.id for each in first if each.text})
        client.close()

    def _check_all(self, plan: Plan) -> None:
        client = plan.client()
        wanted = self._wanted(plan)
        records = client.scroll(plan.name, limit=1000, with_payload=True, with_vectors=True)[0]
        assert sorted(str((record.payload or {})["_id"]) for record in records) == sorted(map(str, wanted))
        for record in records:
            payload, vectors = dict(record.payload or {}), record.vector
            document = wanted[payload.pop("_id")]
            assert payload == {"text": document.text, **document.payload}
            assert isinstance(vectors, dict)
            assert set(vectors) == {"colbert", "fde"}
            tokens = WordEncoder().encode_documents([document.text])[0]
            np.testing.assert_allclose(np.array(vectors["colbert"]), tokens, atol=1e-3)
        self._check_search(plan, client, wanted)
        client.close()

    def _wanted(self, plan: Plan) -> dict[Any, Document]:
        """What has to be stored, by id."""
        found: dict[Any, Document] = {}
        for document in source():
            if document.text and not (plan.on_conflict == "error" and document.id in found):
                found[document.id] = document
        return found

    def _check_search(self, plan: Plan, client: Client, wanted: dict[Any, Document]) -> None:
        docs = ColbertCollection.open(plan.name, client=client, encoder=WordEncoder())
        assert docs.check() == ()
        query = WordEncoder().encode_queries([QUERY])
        scores = maxsim(query, WordEncoder().encode_documents([each.text for each in wanted.values()]))
        (best,) = docs.search(query, limit=1, candidates=200)
        assert best.score == pytest.approx(scores.max(), abs=1e-2)


@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.parametrize("engine", ["edge", "model"])
def test_an_ingest_that_is_killed_again_and_again(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = str(tmp_path / "store") if engine == "edge" else request.getfixturevalue("model_url")
    lives = Lives(place, tmp_path)
    while sum(lives.kills.values()) < KILLS:
        lives.live()
    print(f"{engine}: kills {lives.kills}, documents encoded again {lives.repeated}")
