"""Every engine's searches are measured, and exact search finds on each what it finds in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import ColbertCollection
from tests.unit.evaluation.world import CONFIG, QUERIES, documents, maxsim_scores, measured, small_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine
    from tests.encoders import WordEncoder


def test_all_modes_are_measured(engine: Engine, client: Client, encoder: WordEncoder, tmp_path: Path) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    docs.upsert(documents())
    encoder.calls = 0
    found = measured(docs, small_dataset(documents=None), folder=tmp_path)
    assert (found.modes, found.skipped, encoder.calls) == (("exact", "two-stage", "fde", "hybrid", "bm25"), {}, 1)
    exact = found["exact"].run
    assert exact is not None
    for query, hits in exact.hits.items():
        scores = maxsim_scores(encoder, QUERIES[query])
        assert hits == pytest.approx({id: scores[id] for id in hits}, abs=1e-3)
        assert sum(hits.values()) == pytest.approx(sum(sorted(scores.values())[-20:]), abs=1e-2)
