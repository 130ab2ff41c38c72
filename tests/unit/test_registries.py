"""Encodings, checkpoint layouts and engines that this library does not bring need one registration each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self
from unittest.mock import patch

import numpy as np
import pytest
import torch
from qdrant_client import QdrantClient

from colbert_qdrant import (
    ArtefactError,
    CapabilityError,
    CheckpointError,
    ColbertCollection,
    ColbertEncoder,
    CollectionConfig,
    ConfigurationError,
    Document,
    EdgeClient,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.config import fde as settings
from colbert_qdrant.encoders.checkpoint import CheckpointLayout, register_layout
from colbert_qdrant.encoders.checkpoint import registry as layouts
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Side
from colbert_qdrant.engines import ClientEngine, register_engine
from colbert_qdrant.engines import registry as engines
from colbert_qdrant.engines.local import LOCAL
from colbert_qdrant.fde import FdeKind, Fitted, encoder_from_bytes, fit_encoder, make_encoder, register_fde, version_of
from colbert_qdrant.fde import registry as fdes
from colbert_qdrant.fde.artefact import settings_of, tensors_of
from colbert_qdrant.inspection import inspect
from tests.checkpoints import tiny_bert
from tests.encoders import WordEncoder, random_texts
from tests.unit.encoders.reference import edit_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from colbert_qdrant import LateInteractionEncoder
    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles
    from colbert_qdrant.engines import Client

TEXTS = random_texts(30)
DOCUMENTS = [Document(number, text) for number, text in enumerate(TEXTS)]
QUERY = "river market candle"


@dataclass(frozen=True, kw_only=True)
class MeanConfig:
    """Settings of `MeanEncoder`."""

    tag: ClassVar[str] = "mean"
    needs_fit: ClassVar[bool] = False
    fit_documents: ClassVar[int] = 0

    dim: int = 24
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.tag, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{key: value for key, value in data.items() if key != "type"})


class MeanEncoder:
    """The mean token, projected by a random matrix."""

    def __init__(self, config: MeanConfig, *, token_dim: int) -> None:
        self.config = config
        self.token_dim = token_dim
        self._projection = np.random.RandomState(config.seed).standard_normal((token_dim, config.dim))

    @property
    def dim(self) -> int:
        return self.config.dim

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        means = np.stack([matrix.mean(axis=0) for matrix in tokens])
        return (means @ self._projection).astype(np.float32)

    encode_queries = encode_documents

    def fingerprint(self) -> dict[str, Any]:
        return {"config": self.config.to_dict(), "version": 3, "token_dim": self.token_dim}


@dataclass(frozen=True, kw_only=True)
class CentredConfig(MeanConfig):
    """Settings of `CentredEncoder`."""

    tag: ClassVar[str] = "centred"
    needs_fit: ClassVar[bool] = True
    fit_documents: ClassVar[int] = 100


class CentredEncoder(Fitted):
    """Like `MeanEncoder`, of tokens less the mean of a collection's tokens and of queries'."""

    VERSION = 5

    def __init__(self, config: CentredConfig, center: NDArray[np.float32]) -> None:
        self.config = config
        self.token_dim = len(center)
        self._center = center
        self._mean = MeanEncoder(config, token_dim=len(center))

    @classmethod
    def fit(
        cls, documents: TokenEmbeddings, *, query_tokens: TokenEmbeddings | None, config: CentredConfig, **_: Any
    ) -> Self:
        assert query_tokens is not None
        assert len(query_tokens)
        return cls(config, (documents.values.mean(axis=0) + query_tokens.values.mean(axis=0)) / 2)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        center = tensors_of(data, version=cls.VERSION)["center"]
        return cls(CentredConfig.from_dict(settings_of(data)), center)

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        return {"center": self._center}

    @property
    def dim(self) -> int:
        return self.config.dim

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        return self._mean.encode_documents(TokenEmbeddings(tokens.values - self._center, tokens.lengths))

    encode_queries = encode_documents


MEAN = FdeKind(config=MeanConfig, version=3, make=MeanEncoder)
CENTRED = FdeKind(
    config=CentredConfig,
    version=CentredEncoder.VERSION,
    fit=CentredEncoder.fit,
    from_bytes=CentredEncoder.from_bytes,
    learns_from_queries=True,
)


def read_toy(files: CheckpointFiles) -> CheckpointSpec:
    lengths = files.settings("toy.json")
    return CheckpointSpec(
        layout="toy",
        query=Side(length=lengths["query"], skip_special=True),
        document=Side(length=lengths["document"], skip_special=True, skip_punctuation=True),
    )


TOY = CheckpointLayout(
    name="toy",
    settings="toy.json",
    detect=lambda files: files.path("toy.json").is_file(),
    read=read_toy,
    projection="to_tokens.weight",
    limited_by_positions=True,
)


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    """Whatever a test registers is gone when it ends."""
    with patch.dict(fdes._KINDS), patch.dict(settings.FDE_CONFIGS), patch.dict(layouts._LAYOUTS):
        yield


@pytest.fixture(params=["memory", "edge"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    client: Client = QdrantClient(":memory:") if request.param == "memory" else EdgeClient(tmp_path / "store")
    yield client
    client.close()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tiny_bert(tmp_path / "toy")
    (path / "toy.json").write_text(json.dumps({"query": 8, "document": 100}))
    projection = torch.from_numpy(np.random.RandomState(0).standard_normal((6, 16)).astype(np.float32))
    edit_weights(path, lambda tensors: tensors.update({"to_tokens.weight": projection}))
    return path


def assert_exact(collection: ColbertCollection, encoder: LateInteractionEncoder, texts: list[str], query: str) -> None:
    """Two-stage search among all documents gives each one's MaxSim, the best first."""
    (asked,) = encoder.encode_queries([query])
    expected = [(asked @ matrix.T).max(axis=1).sum() for matrix in encoder.encode_documents(texts)]
    hits = collection.search(query, limit=len(texts), candidates=len(texts))
    assert sorted(int(hit.id) for hit in hits) == list(range(len(texts)))
    np.testing.assert_allclose([hit.score for hit in hits], [expected[int(hit.id)] for hit in hits], rtol=1e-4)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(("kind", "encoder_class"), [(MEAN, MeanEncoder), (CENTRED, CentredEncoder)])
def test_a_collection_with_a_registered_encoding(client: Client, kind: FdeKind, encoder_class: type) -> None:
    register_fde(kind)
    encoder = WordEncoder()
    wanted = CollectionConfig(fde=kind.config(), fde_datatype="float32")
    created = ColbertCollection.create("toy", client=client, encoder=encoder, config=wanted)
    created.ingest(DOCUMENTS)
    reopened = ColbertCollection.open("toy", client=client, encoder=encoder)
    assert reopened.config == wanted
    for collection in (created, reopened):
        assert_exact(collection, encoder, TEXTS, QUERY)
    assert created.fde is not None
    assert reopened.fde is not None
    assert isinstance(reopened.fde, encoder_class)
    assert reopened.fde.fingerprint() == created.fde.fingerprint()
    (asked,) = reopened.fde.encode_queries(encoder.encode_queries([QUERY]))
    products = reopened.fde.encode_documents(encoder.encode_documents(TEXTS)) @ asked
    hits = reopened.search(QUERY, limit=len(TEXTS), mode="fde")
    np.testing.assert_allclose(
        [hit.score for hit in hits], [products[int(hit.id)] for hit in hits], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", [MEAN, CENTRED], ids=["mean", "centred"])
def test_an_encoding_that_is_not_registered(client: Client, kind: FdeKind) -> None:
    encoder, config = WordEncoder(), kind.config()
    with patch.dict(fdes._KINDS), patch.dict(settings.FDE_CONFIGS):
        register_fde(kind)
        wanted = CollectionConfig(fde=config)
        ColbertCollection.create("toy", client=client, encoder=encoder, config=wanted).ingest(DOCUMENTS)
    with pytest.raises(ConfigurationError, match=f"unknown FDE type {config.tag!r}: use one of muvera, lemur"):
        ColbertCollection.open("toy", client=client, encoder=encoder)
    with pytest.raises(ConfigurationError, match="fde must be MuveraConfig, LemurConfig or 'auto'"):
        CollectionConfig(fde=config)
    with pytest.raises(ConfigurationError, match="register_fde"):
        version_of(config)


def test_an_artefact_of_an_encoding_that_is_not_registered() -> None:
    data = CentredEncoder(CentredConfig(), np.zeros(4, np.float32)).to_bytes()
    with pytest.raises(ArtefactError, match="has type 'centred', but this release reads only lemur, muvera"):
        encoder_from_bytes(data)
    register_fde(CENTRED)
    assert isinstance(encoder_from_bytes(data), CentredEncoder)


def test_an_encoding_that_needs_no_fit_cannot_be_fitted() -> None:
    register_fde(MEAN)
    config = MeanConfig()
    assert isinstance(make_encoder(config, token_dim=4), MeanEncoder)
    tokens = TokenEmbeddings(np.eye(4), [4])
    with pytest.raises(ConfigurationError, match="'mean' needs no fit"):
        fit_encoder(config, tokens, query_tokens=None, device="cpu", progress=False)


@pytest.mark.parametrize(
    "other",
    [replace(MEAN, version=4), FdeKind(config=MuveraConfig, version=1, make=MuveraEncoder)],
    ids=["another version", "a tag of this library"],
)
def test_a_tag_is_one_encoding(other: FdeKind) -> None:
    register_fde(MEAN)
    register_fde(MEAN)
    before = CollectionConfig(fde=MeanConfig()), dict(settings.FDE_CONFIGS)
    existing = f"{other.tag!r} is registered for {other.config.__name__}: choose another"
    with pytest.raises(ConfigurationError, match=existing):
        register_fde(other)
    assert (CollectionConfig.from_dict(before[0].to_dict()), settings.FDE_CONFIGS) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"make": None}, "neither make nor fit"),
        ({"fit": CentredEncoder.fit}, "only one of fit and from_bytes"),
        ({"from_bytes": CentredEncoder.from_bytes}, "only one of fit and from_bytes"),
        ({"version": 0}, "version must be at least 1"),
        ({"config": type("Nameless", (MeanConfig,), {"tag": ""})}, "does not name the encoding"),
    ],
)
def test_an_encoding_that_could_not_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(MEAN, **changes)


def test_a_collection_with_a_registered_checkpoint_layout(client: Client, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'to_tokens\.weight' .* looks like a projection"):
        ColbertEncoder.from_pretrained(checkpoint)
    plain = ColbertEncoder.from_pretrained(tiny_bert(checkpoint.with_name("plain")))
    register_layout(TOY)
    encoder = ColbertEncoder.from_pretrained(checkpoint)
    assert (encoder.spec.layout, encoder.dim) == ("toy", 6)
    assert (encoder.spec.query.length, encoder.spec.document.length) == (8, 64)
    texts = ["fast python", "the cat and the dog", "a river, a tree", "search with token vectors"]
    projection = np.random.RandomState(0).standard_normal((6, 16)).astype(np.float32)
    projected = plain.encode_documents(texts).values @ projection.T
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode_documents(texts).values, expected, atol=1e-5)
    config = CollectionConfig(fde=MuveraConfig(k_sim=2, r_reps=4), token_datatype="float32")
    created = ColbertCollection.create("toy", client=client, encoder=encoder, config=config)
    created.ingest(Document(number, text) for number, text in enumerate(texts))
    assert_exact(created, encoder, texts, "python cat")


def test_inspecting_a_registered_checkpoint_layout(checkpoint: Path) -> None:
    register_layout(TOY)
    found = inspect(checkpoint, documents=random_texts(12))
    assert (found.spec.layout, found.dim, found.spec.dense[0].out_features) == ("toy", 6, 6)


@pytest.mark.parametrize("name", ["toy", "plain"])
def test_a_name_is_one_layout(checkpoint: Path, name: str) -> None:
    register_layout(TOY)
    register_layout(TOY)
    with pytest.raises(ConfigurationError, match=f"layout '{name}' already"):
        register_layout(replace(TOY, name=name, settings="other.json"))
    assert ColbertEncoder.from_pretrained(checkpoint).spec.layout == "toy"


def test_a_layout_without_a_name() -> None:
    with pytest.raises(ConfigurationError, match="has the name ''"):
        replace(TOY, name="")


def test_a_specification_of_a_layout_that_is_not_registered(checkpoint: Path) -> None:
    register_layout(replace(TOY, name="twin"))
    with pytest.raises(ConfigurationError, match="unknown checkpoint layout 'toy': use one of plain, pylate"):
        ColbertEncoder.from_pretrained(checkpoint)


class ToyClient:
    """The client of another engine, which has ``QdrantClient``'s method names and a store of its own."""

    def __init__(self) -> None:
        self._store = QdrantClient(":memory:")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class ToyEngine(ClientEngine):
    """All that a new engine has to say."""

    NAME = "toy"
    BLOCKING: ClassVar = (ToyClient,)

    async def capabilities(self) -> Capabilities:
        return Capabilities(engine=self.NAME, lacks=LOCAL.lacks)


def test_what_is_no_engine_cannot_be_registered() -> None:
    for wrong in (5, WordEncoder, ToyClient()):
        with pytest.raises(ConfigurationError, match="engine must be a subclass of ClientEngine"):
            register_engine(wrong)  # type: ignore[arg-type]


def test_an_engine_is_one_class_and_one_registration() -> None:
    client: Any = ToyClient()
    with pytest.raises(ConfigurationError, match="got ToyClient"):
        ColbertCollection.create("docs", client=client, encoder=WordEncoder())
    with patch.object(engines, "_ENGINES", [*engines._ENGINES]):
        register_engine(ToyEngine)
        register_engine(ToyEngine)  # once more changes nothing
        with ColbertCollection.create("docs", client=client, encoder=WordEncoder()) as docs:
            assert docs.ingest(DOCUMENTS).documents == len(DOCUMENTS)
        docs = ColbertCollection.open("docs", client=client, encoder=WordEncoder())
        hits = docs.search(QUERY, limit=5, candidates=len(DOCUMENTS))
        expected = maxsim(docs.encoder.encode_queries([QUERY]), docs.encoder.encode_documents(TEXTS))[0]
        assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True)[:5], abs=1e-3)
        assert docs.info().engine == "toy"
        with pytest.raises(CapabilityError, match="the engine 'toy' does not support it"):
            ColbertCollection.create(
                "more", client=client, encoder=WordEncoder(), config=CollectionConfig(sharding="custom")
            )
