"""A filter chooses the same documents everywhere: those that Python chooses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from colbert_qdrant import Document
from tests.congruence.engines import CONFIG, LARGE, Engine, examples
from tests.congruence.reference import chosen
from tests.congruence.strategies import INDEXES, documents, filters, one_condition_of_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import ColbertCollection, SearchMode

MODES: Sequence[SearchMode] = ("exact", "two-stage", "fde")


def assert_chosen(
    engine: Engine, docs: ColbertCollection, stored: list[Document], wanted: models.Filter, mode: SearchMode
) -> None:
    expected = set(chosen(stored, wanted, null_in_lists=engine.null_in_lists))
    assert docs.count(filter=wanted) == len(expected), wanted
    hits = docs.search("river", limit=LARGE, mode=mode, filter=wanted, with_payload=False)
    assert {hit.id for hit in hits} == expected, wanted


@examples(15)
@given(stored=documents(least=3), conditions=one_condition_of_each(), mode=st.sampled_from(MODES))
def test_conditions_choose_what_python_chooses(
    engine: Engine, stored: list[Document], conditions: list[models.Condition], mode: SearchMode
) -> None:
    with engine.collection(stored) as docs:
        for condition in conditions:
            assert_chosen(engine, docs, stored, models.Filter(must=[condition]), mode)


@examples(10)
@given(
    stored=documents(least=3, mixed=False), conditions=one_condition_of_each(mixed=False), mode=st.sampled_from(MODES)
)
def test_payload_indexes_change_nothing(
    engine: Engine, stored: list[Document], conditions: list[models.Condition], mode: SearchMode
) -> None:
    with engine.collection(stored, config=replace(CONFIG, payload_indexes=INDEXES)) as docs:
        for condition in conditions:
            assert_chosen(engine, docs, stored, models.Filter(must=[condition]), mode)


@examples(15)
@given(stored=documents(least=3), wanted=st.lists(filters(), min_size=10, max_size=20), mode=st.sampled_from(MODES))
def test_filters_choose_what_python_chooses(
    engine: Engine, stored: list[Document], wanted: list[models.Filter], mode: SearchMode
) -> None:
    with engine.collection(stored) as docs:
        for each in wanted:
            assert_chosen(engine, docs, stored, each, mode)


def test_two_stages_count_a_condition_of_min_should_once(engine: Engine) -> None:
    first, second = (models.FieldCondition(key=key, match=models.MatchValue(value=1)) for key in ("a", "b"))
    wanted = models.Filter(min_should=models.MinShould(conditions=[first, second], min_count=2))
    with engine.collection([Document(1, "river", {"a": 1}), Document(2, "river", {"a": 1, "b": 1})]) as docs:
        assert [hit.id for hit in docs.search("river", filter=wanted)] == [2]
