"""Texts that an encoder cuts off are warned of once for each side, at the line of who called it."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    ColbertCollection,
    ColbertEncoder,
    ColbertQdrantWarning,
    ColbertReranker,
    CollectionConfig,
    Document,
    Migration,
    MuveraConfig,
    TokenEmbeddings,
    attach,
)
from tests.unit.encoders.reference import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SMALL = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
LONG = "cat " * 11


@pytest.fixture
def encoder(bert: Path) -> ColbertEncoder:
    return load(bert, query_length=5, document_length=12)


@contextmanager
def recording() -> Iterator[list[str]]:
    """Have all that is warned of here, also what is said again, in a list."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", ColbertQdrantWarning)
        yield messages
    ours = [each for each in shown if each.category is ColbertQdrantWarning]
    assert {each.filename for each in ours} <= {__file__}
    messages += [str(each.message) for each in ours]


def test_once_for_each_side(encoder: ColbertEncoder) -> None:
    with recording() as messages:
        encoder.encode_documents(["cat " * 10])
        for _ in "abc":
            encoder.encode_documents([LONG, "cat", LONG])
            encoder.encode_queries([LONG])
    documents, queries = messages
    assert documents.startswith("2 of 3 documents are longer than the encoder's maximum")
    assert "load it with a larger document_length, or load it with long_documents='split', or shorten them" in documents
    assert queries.startswith("1 of 1 queries are longer")
    assert "load it with a larger query_length, or shorten them" in queries


def test_no_remedy_that_the_model_refuses(bert: Path) -> None:
    encoder = load(bert, query_length=64, document_length=64)
    with recording() as messages:
        encoder.encode_documents(["cat " * 100])
        encoder.encode_queries(["cat " * 100])
    documents, queries = messages
    assert "(see TokenEmbeddings.truncated): load it with long_documents='split', or shorten them" in documents
    assert "(see TokenEmbeddings.truncated): shorten them" in queries


def test_of_an_iterator(encoder: ColbertEncoder) -> None:
    with recording() as messages:
        assert len([*encoder.encode_documents(iter([LONG, "cat"]))]) == 2
    (message,) = messages
    assert message.startswith("1 of 2 documents")


class Own:
    """An encoder of a user's, which uses another."""

    def __init__(self, encoder: ColbertEncoder) -> None:
        self.dim, self._encoder = encoder.dim, encoder

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        return self._encoder.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        return TokenEmbeddings.from_matrices([*self._encoder.encode_documents(texts)])  # which texts is lost

    def fingerprint(self) -> dict[str, Any]:
        return self._encoder.fingerprint()


def test_an_encoder_around_another_says_what_only_that_one_knows(encoder: ColbertEncoder) -> None:
    docs = ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=Own(encoder), config=SMALL)
    with recording() as messages:
        docs.upsert([Document(1, LONG), Document(2, "cat")])
    (message,) = messages
    assert message.startswith("1 of 2 documents")


def ingest(encoder: ColbertEncoder) -> None:
    docs = ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=encoder, config=SMALL)
    assert docs.ingest([Document(1, LONG), Document(2, "cat")]).truncated == 1


def rerank(encoder: ColbertEncoder) -> None:
    ColbertReranker(encoder)("cat", [LONG, "cat"])


def filled() -> QdrantClient:
    client = QdrantClient(":memory:")
    client.create_collection("docs", vectors_config=models.VectorParams(size=1, distance=models.Distance.DOT))
    texts = [LONG, "cat in a tree"]
    client.upsert(
        "docs", [models.PointStruct(id=n, vector=[1.0], payload={"text": text}) for n, text in enumerate(texts)]
    )
    return client


def rank_attached(encoder: ColbertEncoder) -> None:
    attach(filled(), "docs", encoder=encoder).search("cat", models.QueryRequest(query=[1.0], limit=10))


def migrate(encoder: ColbertEncoder) -> None:
    migration = Migration.plan(filled(), "docs", "new", encoder=encoder, config=SMALL, text_key="text")
    assert migration.run().truncated == 1
    assert migration.run().truncated == 0


@pytest.mark.parametrize("work", [ingest, rerank, rank_attached, migrate])
def test_who_uses_it_says_it_once_and_names_the_documents(
    encoder: ColbertEncoder, work: Callable[[ColbertEncoder], None]
) -> None:
    with recording() as messages:
        work(encoder)
    (message,) = messages
    assert "1 of 2 documents (" in message
