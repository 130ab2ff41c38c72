"""Documents with ready token embeddings, and collections without an encoder, on every engine."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    FingerprintMismatchError,
    InvalidDocumentError,
    InvalidQueryError,
    InvalidTokensError,
    LemurConfig,
    Migration,
    MuveraConfig,
    ReadyTokens,
    SearchMode,
    TokenEmbeddings,
    maxsim,
)
from tests.contract.conftest import empty
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio

    from numpy.typing import NDArray

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

DIM = 16
MODEL = "vidore/colpali-v1.3"
FDE = MuveraConfig(k_sim=2, dim_proj=8, r_reps=4)
READY = ReadyTokens(dim=DIM, model=MODEL)


def matrices(count: int, *, seed: int = 0) -> list[NDArray[np.float32]]:
    """Token matrices of pages, with numbers that float16 has, so that scores can be compared."""
    random = np.random.default_rng(seed)
    drawn = [random.standard_normal((random.integers(2, 9), DIM)) for _ in range(count)]
    return [(np.round(each * 16) / 16).astype(np.float32) for each in drawn]


PAGES = matrices(40)
QUERY = TokenEmbeddings.from_matrices(matrices(1, seed=7))


def create(client: Client, name: str, encoder: Any = READY, **settings: Any) -> ColbertCollection:
    config = CollectionConfig(**{"fde": FDE, **settings})
    return ColbertCollection.create(name, client=client, encoder=encoder, config=config)


def best(pages: list[NDArray[np.float32]], query: TokenEmbeddings = QUERY) -> list[tuple[int, float]]:
    """The ranking by exact MaxSim, in NumPy."""
    scores = [float((query[0] @ page.T).max(axis=1).sum()) for page in pages]
    return sorted(enumerate(scores), key=lambda pair: -pair[1])


def found(
    docs: ColbertCollection, mode: SearchMode = "exact", query: TokenEmbeddings = QUERY
) -> list[tuple[Any, float]]:
    return [(hit.id, hit.score) for hit in docs.search(query, limit=40, candidates=40, mode=mode)]


def are_equal(hits: list[tuple[Any, float]], wanted: list[tuple[int, float]]) -> bool:
    return [id for id, _ in hits] == [id for id, _ in wanted] and np.allclose(
        [score for _, score in hits], [score for _, score in wanted], rtol=1e-5
    )


@pytest.mark.parametrize("id_scheme", ["uuid5", "native"])
def test_pages_without_a_text_are_ranked_by_exact_maxsim(engine: Engine, client: Client, id_scheme: str) -> None:
    docs = create(client, engine.name, id_scheme=id_scheme)
    tensor = torch.from_numpy(PAGES[3]).to(torch.bfloat16).requires_grad_()
    forms: list[Any] = [
        PAGES[0].tolist(),
        PAGES[1].astype(np.float16),
        TokenEmbeddings.from_matrices([PAGES[2]]),
        tensor,
        np.asfortranarray(PAGES[4], np.float64),
        *PAGES[5:],
    ]
    pages = [*PAGES[:3], tensor.detach().float().numpy(), *PAGES[4:]]
    report = docs.ingest(Document(id, payload={"page": id}, tokens=form) for id, form in enumerate(forms))
    assert (report.documents, report.tokens) == (40, sum(map(len, PAGES)))
    for mode in ("exact", "two-stage"):
        assert are_equal(found(docs, mode), best(pages))
    (hit,) = docs.search(QUERY, limit=1, where={"page": 8})
    assert (hit.id, hit.text, hit.payload) == (8, None, {"page": 8})
    (stored,) = docs.get([8])
    assert stored == Document(8, "", {"page": 8})
    assert docs.check() == ()


def test_an_encoder_service_and_its_texts(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name, payload_indexes={"book": "keyword"})
    batch = TokenEmbeddings.from_matrices(PAGES)
    marked = TokenEmbeddings(batch.values, batch.lengths, truncated=[True] + [False] * 39)
    texts, payloads = [f"page {id}" for id in range(40)], [{"book": f"b{id % 2}"} for id in range(40)]
    with pytest.warns(match=r"1 of 40 documents \(0\) are longer"):
        report = docs.ingest_tokens(range(40), marked, payloads, texts=texts)
    assert (report.documents, report.truncated) == (40, 1)
    assert are_equal(found(docs), best(PAGES))
    assert docs.get(7) == [Document(7, "page 7", {"book": "b1"})]
    assert docs.search(QUERY, limit=1)[0].text == texts[best(PAGES)[0][0]]
    docs.ingest_tokens(["one more"], [PAGES[5].tolist()])  # as a service returns them
    assert docs.get("one more") == [Document("one more")]
    assert [hit.id for hit in docs.more_like("one more", limit=1, candidates=41)] == [
        best([*PAGES], TokenEmbeddings.from_matrices([PAGES[5]]))[0][0]
    ]
    if engine.kind not in ("memory", "path"):
        groups = docs.search_groups(QUERY, "book", group_size=1)
        assert groups[0].hits[0].id == best(PAGES)[0][0]


def test_a_collection_is_opened_by_the_name_of_its_model(engine: Engine, client: Client) -> None:
    create(client, engine.name).ingest_tokens(range(40), PAGES)
    for encoder in (None, READY):
        docs = ColbertCollection.open(engine.name, client=client, encoder=encoder)
        assert docs.encoder.dim == DIM
        assert docs.encoder.fingerprint() == READY.fingerprint()
        assert are_equal(found(docs), best(PAGES))
    with pytest.raises(FingerprintMismatchError, match="colqwen") as caught:
        ColbertCollection.open(engine.name, client=client, encoder=ReadyTokens(dim=DIM, model="vidore/colqwen2"))
    assert caught.value.differences == {"encoder.model": (MODEL, "vidore/colqwen2")}
    with pytest.raises(
        FingerprintMismatchError, match=r"encoder\.model: built with 'vidore/colpali-v1\.3', opened with 'words"
    ):
        ColbertCollection.open(engine.name, client=client, encoder=WordEncoder(dim=DIM))
    with pytest.raises(FingerprintMismatchError, match="16"):
        ColbertCollection.open(engine.name, client=client, encoder=ReadyTokens(dim=32, model=MODEL))


def test_an_encoder_of_the_same_name_reads_what_a_service_wrote(engine: Engine, client: Client) -> None:
    encoder, texts = WordEncoder(dim=DIM), ["river bridge", "old temple", "yellow window"]
    named = ReadyTokens(dim=DIM, model="words")
    create(client, engine.name, named).ingest_tokens(range(3), encoder.encode_documents(texts), texts=texts)
    docs = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    docs.upsert([Document(3, "orange river")])
    assert [hit.id for hit in docs.search("orange", limit=1)] == [3]
    client.delete_collection(engine.name)
    # and the other way, also with all that an encoder tells of itself
    create(client, engine.name, encoder).upsert([Document(0, texts[0])])
    for model in ("words", encoder.fingerprint()):
        ready = ReadyTokens(dim=DIM, model=model)
        again = ColbertCollection.open_or_create(engine.name, client=client, encoder=ready)
        assert again.search(encoder.encode_queries(["river"]), limit=1)[0].id == 0
    other = ReadyTokens(dim=DIM, model=WordEncoder(dim=DIM, salt="x").fingerprint())
    with pytest.raises(FingerprintMismatchError, match="salt"):
        ColbertCollection.open(engine.name, client=client, encoder=other)


def test_texts_need_an_encoder(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name)
    docs.ingest_tokens([0], PAGES[:1])
    with pytest.raises(InvalidQueryError, match=r"no encoder of model 'vidore/colpali-v1\.3'.*pass TokenEmbeddings"):
        docs.search("a text")
    for write in (docs.upsert, docs.ingest):
        with pytest.raises(InvalidDocumentError, match=r"document 2 has no tokens.*pass Document\(id=…, tokens=…\)"):
            write([Document(1, tokens=PAGES[1]), Document(2, "a text")])
    assert docs.count() == 1
    with pytest.raises(InvalidDocumentError, match=r"document 3 has no text: leave it out, or pass tokens=…"):
        docs.upsert([Document(3)])
    with pytest.raises(ConfigurationError, match=r"ReadyTokens\(dim=…, model=…\)"):
        ColbertCollection.create("another", client=client, encoder=None)  # type: ignore[arg-type]
    assert not client.collection_exists("another")


def test_only_documents_without_tokens_go_through_the_model(engine: Engine, client: Client) -> None:
    encoder = WordEncoder(dim=DIM)
    docs = create(client, engine.name, encoder)
    documents = [
        Document(0, "river bridge"),
        Document(0, tokens=PAGES[0]),  # the last of an id wins, whichever way it was encoded
        Document(1, tokens=PAGES[1]),
        Document(1, "old temple"),
        Document(2, "yellow window", tokens=PAGES[2]),
    ]
    report = docs.upsert(documents)
    assert (report.documents, report.replaced, encoder.encoded) == (3, 2, 2)
    assert are_equal(found(docs), best([PAGES[0], encoder.encode_documents(["old temple"])[0], PAGES[2]]))
    assert [each.text for each in docs.get([0, 1, 2])] == ["", "old temple", "yellow window"]


BAD: dict[str, tuple[Any, str]] = {
    "NaN": (np.full((2, DIM), np.nan), "has NaN or infinite values"),
    "dimensions": (np.ones((2, DIM + 1)), "have 17 dimensions, expected 16"),
    "one vector": (np.ones(DIM), r"must be a matrix \(n_tokens, dim\)"),
    "no tokens": (np.ones((0, DIM)), "has no tokens"),
    "too many": (np.ones((70_000, DIM), np.float16), "at most 1,048,575 per document"),
    "float16": (np.full((2, DIM), 1e6), "float16 stores at most 65504"),
    "words": ("no numbers", "cannot be read as an array"),
    "two texts": (TokenEmbeddings.from_matrices(PAGES[:2]), "2 matrices of 16 dimensions: pass one matrix"),
}


@pytest.mark.parametrize("kind", BAD)
def test_tokens_that_cannot_be_stored_name_their_document(engine: Engine, client: Client, kind: str) -> None:
    docs, (tokens, message) = create(client, engine.name), BAD[kind]
    documents = [Document("good", tokens=PAGES[0]), Document("bad/1", tokens=tokens)]
    for write in (docs.upsert, docs.ingest):
        with pytest.raises(InvalidTokensError, match=f"document 'bad/1'.*{message}"):
            write(documents)
        assert docs.count() == 0
    (rejected,) = docs.ingest(iter(documents), on_error="skip").rejected
    assert rejected.id == "bad/1"
    assert [each.id for each in docs.get(["good", "bad/1"])] == ["good"]


def test_arguments_of_different_lengths_write_nothing(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name)
    with pytest.raises(ConfigurationError, match=r"ids has 2, tokens has 3\): pass one item per document"):
        docs.ingest_tokens([1, 2], PAGES[:3])
    with pytest.raises(ConfigurationError, match="payloads has 1"):
        docs.ingest_tokens([1, 2], PAGES[:2], [{}])
    with pytest.raises(ConfigurationError, match="ids must be a list"):
        docs.ingest_tokens("ab", PAGES[:2])
    assert docs.count() == 0


def test_options_for_the_rows_of_a_source_have_no_use(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name)
    for option in ({"id": "key"}, {"text": "body"}, {"shard": (0, 2)}, {"chunker": None}):
        with pytest.raises(TypeError, match=r"ingest_tokens\(\) got an unexpected keyword argument"):
            docs.ingest_tokens([1], PAGES[:1], **option)
    shown = set(inspect.signature(docs.ingest_tokens).parameters)
    assert shown >= {"resume", "on_conflict", "progress"}
    assert not shown & {"id", "text", "payload", "shard", "chunker"}


def test_an_encoding_learns_from_the_tokens_alone(engine: Engine, client: Client) -> None:
    fde = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=25)
    docs = create(client, engine.name, fde=fde)
    docs.ingest_tokens(range(40), PAGES, texts=[f"page {id}" for id in range(40)])  # of which no query can be made
    assert docs.fde is not None
    for mode in get_args(SearchMode):
        if mode in ("exact", "two-stage"):
            assert are_equal(found(docs, mode), best(PAGES))
    again = ColbertCollection.open(engine.name, client=client)
    again.fit(refit=True)
    assert are_equal(found(again, "two-stage"), best(PAGES))


def test_bm25_finds_the_documents_with_a_text(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name, bm25=Bm25Config())
    docs.ingest_tokens([0, 1, 2], PAGES[:3], texts=["", "the old temple", "a yellow window"])
    assert docs.check() == ()
    encoder = WordEncoder(dim=DIM)
    other = create(client, f"{engine.name}-words", encoder, bm25=Bm25Config())
    other.upsert([Document(0, tokens=PAGES[0]), Document(1, "old temple"), Document(2, "temple", tokens=PAGES[2])])
    assert {hit.id for hit in other.search("temple", mode="hybrid", prefetch={"bm25": 3}, limit=3)} == {1, 2}


def test_a_document_that_another_program_wrote_without_tokens_is_named(engine: Engine, client: Client) -> None:
    if engine.kind in ("memory", "path"):
        pytest.skip("the client's local mode cannot tell which points lack a vector")
    docs = create(client, engine.name, id_scheme="native")
    docs.ingest_tokens([0], PAGES[:1])
    client.upsert(engine.name, points=[models.PointStruct(id=5, vector={}, payload={"text": "a text"})])
    assert "1 document has a text" in docs.check()[0]
    (said,) = docs.repair()
    assert "5: there is no encoder of model" in said
    with pytest.raises(InvalidDocumentError, match="5: there is no encoder"):
        docs.repair(on_error="raise")


def test_a_collection_without_a_model_is_migrated(engine: Engine, client: Client) -> None:
    docs = create(client, engine.name)
    docs.ingest_tokens(range(40), PAGES)
    other = MuveraConfig(k_sim=3, dim_proj=8, r_reps=4)
    target = f"{engine.name}-2"
    migration = Migration.plan(client, engine.name, target=target, fde=other, encoder=READY)
    migration.run()
    assert migration.verify().passed
    moved = ColbertCollection.open(target, client=client)
    assert moved.config.fde == other
    assert moved.encoder.fingerprint() == READY.fingerprint()
    assert are_equal(found(moved, "two-stage"), best(PAGES))
    with pytest.raises(ConfigurationError, match="pass encoder="):
        Migration.plan(client, engine.name, target=f"{engine.name}-3", encoder=READY, reencode=True)


def test_awaited(runner: asyncio.Runner, async_edge: AsyncEdgeClient) -> None:
    async def main() -> list[tuple[Any, float]]:
        docs = await AsyncColbertCollection.create("pages", client=async_edge, encoder=READY)
        await docs.ingest_tokens(range(40), torch.stack([torch.from_numpy(page[:2]) for page in PAGES]))
        docs = await AsyncColbertCollection.open("pages", client=async_edge)
        hits = await docs.search(QUERY, limit=40, mode="exact")
        await empty(async_edge)
        return [(hit.id, hit.score) for hit in hits]

    assert are_equal(runner.run(main()), best([page[:2] for page in PAGES]))


def test_scores_are_those_of_maxsim() -> None:
    scores = maxsim(QUERY, TokenEmbeddings.from_matrices(PAGES))[0]
    assert np.allclose([score for _, score in best(PAGES)], np.sort(scores)[::-1], rtol=1e-5)
