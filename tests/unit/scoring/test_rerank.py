from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    InvalidQueryError,
    InvalidTokensError,
    MuveraConfig,
    SearchHit,
    TokenEmbeddings,
)
from colbert_qdrant.scoring.rerank import ColbertReranker, Reranker
from tests.encoders import WORDS, WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Callable

texts_lists = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), max_size=9)


def expected(query: str, texts: list[str], *, mean: bool = False) -> list[tuple[int, float]]:
    """The definition, over the words' vectors; WordEncoder's few digits make it exact."""
    vector = WordEncoder()._word
    scores = []
    for text in texts:
        best = [max(float(np.dot(vector(a), vector(b))) for b in text.split()) for a in query.split()]
        scores.append(sum(best) / len(best) if mean else sum(best))
    return sorted(enumerate(scores), key=lambda pair: -pair[1])


def same(found: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> None:
    assert [index for index, _ in found] == [index for index, _ in wanted]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in wanted], rtol=1e-6)
    assert all(type(index) is int and type(score) is float for index, score in found)


class TestColbertReranker:
    @pytest.mark.parametrize("normalize", [False, True])
    @settings(deadline=None, max_examples=50)
    @given(query=texts_lists.filter(bool).map(" ".join), texts=texts_lists, chunk=st.integers(1, 5))
    def test_ranks_by_the_definition_in_any_chunks(
        self, normalize: bool, query: str, texts: list[str], chunk: int
    ) -> None:
        reranker = ColbertReranker(WordEncoder(), normalize=normalize)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("colbert_qdrant.scoring.rerank._CHUNK_TEXTS", chunk)
            same(reranker(query, texts), expected(query, texts, mean=normalize))

    def test_normalizing_divides_by_the_query_s_own_tokens(self) -> None:
        reranker = ColbertReranker(WordEncoder(), normalize=True)
        (alone,), (also,) = reranker(["river", "river river river"], ["a river"])
        assert alone == pytest.approx(also)
        assert ColbertReranker(WordEncoder())("river river river", ["a river"])[0][1] == pytest.approx(3 * alone[1])

    def test_several_queries_share_the_encoded_texts(self) -> None:
        encoder, texts = WordEncoder(), random_texts(40)
        found = ColbertReranker(encoder)(["river valley", "zebra"], iter(texts), limit=3)
        assert encoder.encoded == 40
        for results, query in zip(found, ["river valley", "zebra"], strict=True):
            same(results, expected(query, texts)[:3])

    @pytest.mark.parametrize("limit", [1, 3, 40, 100, None])
    def test_limit_keeps_the_best(self, limit: int | None) -> None:
        texts = random_texts(40)
        same(ColbertReranker(WordEncoder())("river zebra", texts, limit=limit), expected("river zebra", texts)[:limit])

    def test_ties_are_by_index(self) -> None:
        assert [index for index, _ in ColbertReranker(WordEncoder())("river", ["zebra", "river"] * 300)][:3] == [
            1,
            3,
            5,
        ]

    def test_texts_may_be_encoded_already(self) -> None:
        texts, encoder = random_texts(20), WordEncoder()
        same(ColbertReranker(WordEncoder())("river", encoder.encode_documents(texts)), expected("river", texts))

    def test_nothing_to_rank_gives_nothing(self) -> None:
        reranker = ColbertReranker(WordEncoder())
        assert reranker("river", []) == []
        assert reranker("river", TokenEmbeddings.from_matrices([], dim=32)) == []
        assert reranker(["river", "zebra"], []) == [[], []]
        assert reranker([], ["river"]) == []

    def test_a_long_list_takes_no_more_memory_than_a_short_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("colbert_qdrant.scoring.rerank._CHUNK_TEXTS", 16)
        reranker, text = ColbertReranker(WordEncoder(dim=1024)), " ".join(WORDS[:20])

        def peak(count: int) -> int:
            tracemalloc.start()
            reranker("river", (text for _ in range(count)))
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        peak(1)
        assert peak(160) < 1.2 * peak(32)

    def test_a_string_for_texts_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="texts is a single string"):
            ColbertReranker(WordEncoder())("river", "zebra")

    @pytest.mark.parametrize("text", [None, 3, ("river", 1.0), {"text": "river"}])
    def test_a_text_that_is_none_is_named(self, text: Any) -> None:
        with pytest.raises(InvalidDocumentError, match="text 300 is "):
            ColbertReranker(WordEncoder())("river", [*["zebra"] * 300, text])

    @pytest.mark.parametrize("query", ["", "  ", ["river", ""], ["river", None]])
    def test_an_empty_query_is_refused(self, query: Any) -> None:
        with pytest.raises(InvalidQueryError, match=r"query \d is .*: pass a text that is not empty"):
            ColbertReranker(WordEncoder())(query, ["river"])

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_is_refused(self, limit: int) -> None:
        with pytest.raises(ConfigurationError, match="limit must be at least 1"):
            ColbertReranker(WordEncoder())("river", ["river"], limit=limit)

    def test_token_embeddings_of_another_model_are_refused(self) -> None:
        with pytest.raises(InvalidTokensError, match="queries have 32 dimensions and documents 8"):
            ColbertReranker(WordEncoder())("river", TokenEmbeddings(np.ones((1, 8)), [1]))

    def test_the_device_is_torch_s(self) -> None:
        with pytest.raises(ConfigurationError, match="device 'warp'"):
            ColbertReranker(WordEncoder(), device="warp")("river", ["river"])


@dataclass(frozen=True)
class Row:
    text: str
    score: float = -1.0
    note: str = ""


TEXTS = ["zebra market", "river valley", "forest", "valley of the river"]
BEST = ["river valley", "valley of the river"]


def retriever_of(items: list[Any]) -> Callable[..., list[Any]]:
    return lambda query, limit: items[:limit]


class TestReranker:
    def rerank(self, items: list[Any], query: Any = "river valley", limit: int = 2) -> Any:
        return Reranker(retriever_of(items), ColbertReranker(WordEncoder()))(query, limit)

    def scores(self) -> list[float]:
        return [score for _, score in expected("river valley", TEXTS)[:2]]

    def test_texts_come_back_with_scores(self) -> None:
        found = self.rerank(TEXTS)
        assert [item["text"] for item in found] == BEST
        assert [item["score"] for item in found] == pytest.approx(self.scores())
        assert set(found[0]) == {"text", "score"}

    def test_mappings_come_back_as_copies_with_the_new_score(self) -> None:
        items = [{"id": str(place), "text": text, "score": 0.1} for place, text in enumerate(TEXTS)]
        found = self.rerank(items)
        assert [(item["id"], item["text"]) for item in found] == [("1", BEST[0]), ("3", BEST[1])]
        assert [item["score"] for item in found] == pytest.approx(self.scores())
        assert {item["score"] for item in items} == {0.1}

    def test_dataclasses_come_back_as_copies_with_the_new_score(self) -> None:
        hits = [SearchHit(place, 0.1, text, {"n": place}) for place, text in enumerate(TEXTS)]
        found = self.rerank(hits)
        assert [(hit.id, hit.text, hit.payload) for hit in found] == [(1, BEST[0], {"n": 1}), (3, BEST[1], {"n": 3})]
        assert [hit.score for hit in found] == pytest.approx(self.scores())
        assert {hit.score for hit in hits} == {0.1}
        assert self.rerank([Row(text, note="kept") for text in TEXTS])[0].note == "kept"

    def test_other_objects_come_back_as_copies_with_the_new_score(self) -> None:
        items = [SimpleNamespace(text=text, score=0.1) for text in TEXTS]
        found = self.rerank(items)
        assert [item.text for item in found] == BEST
        assert [item.score for item in found] == pytest.approx(self.scores())
        assert {item.score for item in items} == {0.1}

    def test_objects_without_a_score_come_back_as_they_are(self) -> None:
        documents = [Document(place, text) for place, text in enumerate(TEXTS)]
        assert self.rerank(documents) == [documents[1], documents[3]]

    def test_a_list_of_queries_gives_a_list_of_results(self) -> None:
        found = self.rerank(TEXTS, ["river valley", "forest"], limit=1)
        assert [[item["text"] for item in items] for items in found] == [["river valley"], ["forest"]]
        assert self.rerank(TEXTS, []) == []

    def test_retrieves_limit_times_factor_and_hands_on_the_rest(self) -> None:
        asked = []

        def retriever(query: str, limit: int, **kwargs: Any) -> list[str]:
            asked.append((query, limit, kwargs))
            return random_texts(limit)

        reranker = Reranker(retriever, ColbertReranker(WordEncoder()))
        assert len(reranker("river")) == 3
        assert len(reranker("river", 2, 7, weights=0.5)) == 2
        assert asked == [("river", 30, {}), ("river", 14, {"weights": 0.5})]

    def test_an_object_with_search_is_searched(self) -> None:
        class Embeddings:
            def search(self, query: str, limit: int | None = None, weights: float | None = None) -> list[Any]:
                return [{"id": place, "text": text, "score": weights} for place, text in enumerate(TEXTS)][:limit]

        found = Reranker(Embeddings(), ColbertReranker(WordEncoder()))("river valley", limit=2, weights=0.5)
        assert [item["id"] for item in found] == [1, 3]

    def test_a_collection_is_reranked_by_another_model(self) -> None:
        config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=8, r_reps=4))
        first, second = WordEncoder(salt="first"), WordEncoder()
        texts = random_texts(60)
        with ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=first, config=config) as docs:
            docs.upsert(Document(place, text) for place, text in enumerate(texts))
            found = Reranker(docs, ColbertReranker(second))("river zebra", limit=5, factor=20, mode="exact")
        wanted = expected("river zebra", texts)
        assert [hit.score for hit in found] == pytest.approx([score for _, score in wanted[:5]])
        assert [hit.score for hit in found] == pytest.approx([dict(wanted)[int(hit.id)] for hit in found])
        assert [hit.text for hit in found] == [texts[int(hit.id)] for hit in found]

    def test_any_callable_reranks_and_may_leave_items_out(self) -> None:
        def shortest(query: str, texts: list[str]) -> list[tuple[int, float]]:
            return [(place, -len(text)) for place, text in enumerate(texts) if text != "forest"]

        found = Reranker(retriever_of(TEXTS), shortest)("river", limit=5)
        assert [item["text"] for item in found] == ["zebra market", "river valley", "valley of the river"]

    def test_ties_keep_the_retriever_s_order(self) -> None:
        items = [{"id": place, "text": "river"} for place in range(5)]
        assert [item["id"] for item in self.rerank(items, limit=5)] == [0, 1, 2, 3, 4]

    def test_nothing_found_gives_nothing(self) -> None:
        assert self.rerank([]) == []

    @pytest.mark.parametrize(
        "item", [("1", 0.5), {"id": 1}, {"text": None}, SearchHit("a", 0.5), SimpleNamespace(page="river"), None]
    )
    def test_an_item_without_text_is_named(self, item: Any) -> None:
        with pytest.raises(InvalidDocumentError, match=r"item 1 has no text \("):
            self.rerank(["river", item])

    @pytest.mark.parametrize("query", ["", [" "], [3]])
    def test_an_empty_query_is_refused(self, query: Any) -> None:
        with pytest.raises(InvalidQueryError, match="query 0 is"):
            self.rerank(TEXTS, query)

    @pytest.mark.parametrize(("limit", "factor"), [(0, 10), (3, 0)])
    def test_limits_below_one_are_refused(self, limit: int, factor: int) -> None:
        with pytest.raises(ConfigurationError, match=r"(limit|factor) must be at least 1, got 0"):
            Reranker(retriever_of(TEXTS), ColbertReranker(WordEncoder()))("river", limit, factor)
