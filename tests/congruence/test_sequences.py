"""After any sequence of writes every engine holds, counts and finds what a dict of documents does."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from colbert_qdrant import ColbertCollection, ConfigurationError, Document
from colbert_qdrant.points.ids import point_id
from tests.congruence.dressed import dressed
from tests.congruence.engines import ENCODER, LARGE, Engine, examples
from tests.congruence.reference import assert_ranked, chosen, maxsim
from tests.congruence.strategies import IDS, TEXTS, documents, filters

if TYPE_CHECKING:
    from qdrant_client import models

    from colbert_qdrant import DocumentId, SearchMode


class Sequences(RuleBasedStateMachine):
    """One collection, and the documents that should be in it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.stored: dict[DocumentId, Document] = {}
        self.stack = ExitStack()
        self.docs = self.stack.enter_context(engine.collection())

    def teardown(self) -> None:
        self.stack.close()

    @rule(written=documents(most=5))
    def upsert(self, written: list[Document]) -> None:
        self.docs.upsert(dressed(written))
        self.stored |= {each.id: each for each in written}

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=2))
    def delete(self, ids: list[DocumentId]) -> None:
        self.docs.delete(ids=ids)
        self.stored = {id: each for id, each in self.stored.items() if id not in ids}

    @rule(wanted=filters())
    def delete_matching(self, wanted: models.Filter) -> None:
        gone = chosen(self.stored.values(), wanted)
        refusal = ""
        try:
            self.docs.delete(filter=wanted)
        except ConfigurationError as error:
            refusal = str(error)
        if refusal:  # it would have been all of them
            assert "filter has no condition" in refusal
            assert set(gone) == set(self.stored)
            return
        self.stored = {id: each for id, each in self.stored.items() if id not in gone}

    @rule()
    def optimize(self) -> None:
        self.docs.optimize()

    @rule()
    def open_again(self) -> None:
        self.docs = ColbertCollection.open(self.docs.name, client=self.engine.client, encoder=ENCODER)

    @rule(query=TEXTS, wanted=filters(), mode=st.sampled_from(["exact", "two-stage"]), limit=st.integers(1, 9))
    def search(self, query: str, wanted: models.Filter, mode: SearchMode, limit: int) -> None:
        hits = self.docs.search(query, filter=wanted, mode=mode, limit=limit, candidates=LARGE)
        assert_ranked(hits, self._scores(query, chosen(self.stored.values(), wanted)), limit=limit)

    @invariant()
    def everything_is_there(self) -> None:
        assert self.docs.count() == len(self.stored)
        assert _comparable(self.docs.get(IDS)) == _comparable([self.stored[id] for id in IDS if id in self.stored])
        assert_ranked(
            self.docs.search("river", limit=LARGE, mode="exact"), self._scores("river", self.stored), limit=LARGE
        )

    @invariant()
    def points_are_listed_by_id(self) -> None:
        records, following = self.engine.client.scroll(self.docs.name, limit=LARGE)
        assert following is None
        assert [record.id for record in records] == sorted(map(point_id, self.stored))

    def _scores(self, query: str, ids: Any) -> dict[DocumentId, float]:
        [matrix] = ENCODER.encode_queries([query])
        return {id: maxsim(matrix, ENCODER.encode_documents([self.stored[id].text])[0]) for id in ids}


def _comparable(found: list[Document]) -> list[tuple[DocumentId, str, str]]:
    """Documents in a form in which 1, 1.0 and true are three values."""
    return [(each.id, each.text, json.dumps(each.payload, sort_keys=True)) for each in found]


def test_any_sequence_of_writes(engine: Engine) -> None:
    make: Any = partial(Sequences, engine)
    run_state_machine_as_test(make, settings=settings(examples(12), stateful_step_count=15))
