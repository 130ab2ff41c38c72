"""One embedded store, and process after process that is killed in it: nothing that was acknowledged is ever lost.

``COLBERT_QDRANT_KILLS=200`` kills as many; a normal run has time for fewer.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import EdgeClient, maxsim
from tests.encoders import WordEncoder
from tests.faults import life
from tests.faults.migrating import check_aliases, check_migrated, contents, fill, killed, stand_for
from tests.processes import PROCESSES

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("COLBERT_QDRANT_KILLS", "15"))
KILLED = 9
QUERY = "river bridge"
CALLS = 1_000
"""What a step is killed within, as long as nobody knows how many calls it makes."""


class Life:
    """A store, and what has to be in it.

    Attributes:
        kills: The number of processes that were killed, by step.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._draw = random.Random(0)
        self._calls, self._acknowledged = PROCESSES.Value("q", 0), PROCESSES.Value("q", 0)
        self._longest: dict[life.Step, int] = {}
        self._before: dict[Any, Any] = {}
        self.kills = dict.fromkeys(life.STEPS, 0)

    def live(self) -> None:
        """Go through all steps, each of which is killed a few times."""
        with EdgeClient(self._path) as client:
            for each in client.get_collections().collections:
                client.delete_collection(each.name)
            fill(client, count=16)
            stand_for(client, "live", "docs")
            self._before = contents(client, "docs")
        self._acknowledged.value = 0
        for place, step in enumerate(life.STEPS):
            for _ in range(self._draw.randint(1, 4)):
                if not self._kill(step, self._draw.randint(1, self._longest.get(step, CALLS))):
                    break
                self._check(place)
            assert not self._kill(step, 0)
            self._longest[step] = max(self._calls.value, self._longest.get(step, 0))
            self._check(place + 1)

    def _kill(self, step: life.Step, deadly: int) -> bool:
        """Tell whether a process was killed, or came to its end before."""
        code = killed(life.work, self._path, step, deadly, self._calls, self._acknowledged)
        assert code in ((0, KILLED) if deadly else (0,)), (step, deadly, code, self.kills)
        self.kills[step] += code == KILLED
        return code == KILLED

    def _check(self, done: int) -> None:
        """Everything that was acknowledged is there, whole, after so many steps."""
        with EdgeClient(self._path) as client:
            if done:
                self._check_documents(client)
            switched = done > life.STEPS.index("switch")
            allowed = {"new"} if switched else {"docs", "new"} if done == life.STEPS.index("switch") else {"docs"}
            check_aliases(client, {"live": {*allowed}})
            gone = done >= life.STEPS.index("cleanup") and not client.collection_exists("docs")
            if not gone:
                assert contents(client, "docs") == self._before
            if done > life.STEPS.index("migrate"):
                if gone:
                    assert set(contents(client, "new")) == set(self._before)
                else:
                    check_migrated(client, "computed", self._before)

    def _check_documents(self, client: EdgeClient) -> None:
        docs, count = life.own(client), self._acknowledged.value
        assert [each.id for each in docs.get(range(count))] == list(range(count))
        for record in client.scroll("own", limit=100, with_payload=True, with_vectors=True)[0]:
            payload, vectors = record.payload or {}, record.vector
            assert isinstance(vectors, dict)
            assert {"colbert"} <= set(vectors) <= {"colbert", "fde"}
            assert payload["text"] == life.TEXTS[payload["number"]]
            tokens = WordEncoder().encode_documents([payload["text"]])[0]
            np.testing.assert_allclose(np.array(vectors["colbert"]), tokens, atol=1e-3)
        if count:
            query, stored = WordEncoder().encode_queries([QUERY]), WordEncoder().encode_documents(life.TEXTS[:count])
            (best,) = docs.search(query, limit=1, candidates=100)
            assert best.score >= maxsim(query, stored).max() - 1e-3


@pytest.mark.timeout(120 + 10 * KILLS)
def test_processes_that_are_killed_one_after_another(tmp_path: Path) -> None:
    store = Life(tmp_path / "store")
    while sum(store.kills.values()) < KILLS:
        store.live()
    assert min(store.kills.values()) > 0 or KILLS < 100, store.kills
