"""Pieces of documents that stand for queries."""

from __future__ import annotations

import numpy as np
import pytest

from colbert_qdrant import TokenEmbeddings
from colbert_qdrant.fde.spans import made_up_queries, query_spans, token_spans


def numbered(lengths: list[int]) -> TokenEmbeddings:
    """Documents whose token vectors say which they are: the document's number, and their place in it."""
    matrices = [np.stack([np.full(length, number), np.arange(length)], axis=1) for number, length in enumerate(lengths)]
    return TokenEmbeddings.from_matrices(matrices, dim=2)


@pytest.mark.parametrize("lengths", [[1], [2, 3], [30], [1, 100, 7, 24, 3], list(range(1, 400)) * 8])
def test_spans_of_tokens_are_rows_of_one_document_one_after_another(lengths: list[int]) -> None:
    spans = token_spans(numbered(lengths), seed=3)
    assert len(spans) == 2_048
    seen = set()
    for span in spans:
        (number,) = set(span[:, 0].astype(int))
        assert min(3, lengths[number]) <= len(span) <= min(24, lengths[number])
        first = int(span[0, 1])
        assert span[:, 1].tolist() == list(range(first, first + len(span)))
        assert first + len(span) <= lengths[number]
        seen.add(number)
    assert len(seen) == min(len(lengths), 2_048)


def test_every_place_and_every_length_comes_up_and_a_seed_repeats_them() -> None:
    spans = token_spans(numbered([40] * 50), seed=3)
    assert {len(span) for span in spans} == set(range(3, 25))
    assert {int(span[0, 1]) for span in spans} == set(range(38))
    again, other = (token_spans(numbered([40] * 50), seed=seed) for seed in (3, 4))
    assert again.values.tobytes() == spans.values.tobytes()
    assert other.values.tobytes() != spans.values.tobytes()


def test_without_documents_there_are_none() -> None:
    assert len(token_spans(numbered([]), seed=0)) == 0
    for make in (query_spans, made_up_queries):
        assert make([], seed=0) == make(["", " \n "], seed=0) == []


TEXTS = [f"The pump{n} of the ship{n} is in the hold{n}, and the crew is at the helm{n}." for n in range(99)]
"""Of 11 different words, 7 are in every text."""


def test_every_other_made_up_query_has_rare_words_of_one_text_in_its_order() -> None:
    queries = made_up_queries(TEXTS, seed=3)
    assert len(queries) == 2_048
    keywords, pieces = [query.split() for query in queries[::2]], queries[1::2]
    assert pieces == query_spans(TEXTS, seed=3)[:1_024]
    assert {len(words) for words in keywords} == set(range(1, 12))
    rare = [words for words in keywords if any(word[-1].isdigit() for word in words)]
    assert len(rare) > 0.95 * len(keywords)
    short = [word for words in keywords if len(words) <= 3 for word in words]
    assert sum(word[-1].isdigit() for word in short) > 0.9 * len(short)
    for words in rare:
        (number,) = {word.strip("aehilmopdsu") for word in words if word[-1].isdigit()}
        whole = TEXTS[int(number)].replace(",", "").replace(".", "").split()
        assert words == [word for word in dict.fromkeys(whole) if word in words] or "the" in words


@pytest.mark.parametrize(
    "text",
    [
        "渡轮在中午离开港口。新的桥梁于去年建成，连接两座岛屿。",
        "ฉันรักกรุงเทพมหานครและอาหารไทย",
        "フェリーは正午に港を出ます。",
    ],
)
def test_texts_without_spaces_are_cut_between_letters(text: str) -> None:
    queries = made_up_queries([text] * 3, seed=3)
    assert len(queries) == 2_048
    assert all(query in text and 1 <= len(query) <= 24 for query in queries)
    assert {len(query) for query in queries} >= set(range(3, 12))


def test_words_of_other_scripts_stay_whole() -> None:
    hindi = "नौका दोपहर में बंदरगाह से निकलती है। नया पुल पिछले साल बना था।"
    queries = made_up_queries([hindi, "पुल पुराना है।"], seed=3)
    words = {word.rstrip("।") for query in queries for word in query.split()}
    assert words == {word.rstrip("।") for word in f"{hindi} पुल पुराना है।".split()}
