"""A repair that is killed, or interrupted, is gone on with by the next: nothing is lost, doubled or half done."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    Document,
    EdgeClient,
    edge,
)
from colbert_qdrant.collection import without_tokens
from tests.encoders import WordEncoder, random_texts
from tests.faults.migrating import FAST, LEMUR, MUVERA, contents, killed, on_server
from tests.processes import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colbert_qdrant import TokenEmbeddings
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client
    from tests.faults.engine import EngineServer

TEXTS = random_texts(30, seed=5)
OWN = 8
"""Documents that are written by the library, and have all vectors."""

FITS: dict[str, FdeConfig] = {"muvera": MUVERA, "lemur": LEMUR}


def fill(client: Client, fde: FdeConfig) -> dict[Any, Any]:
    """Make a collection with documents of its own and others that another program writes; gives its contents."""
    for each in client.get_collections().collections:
        client.delete_collection(each.name)
    bm25 = Bm25Config() if isinstance(client, EdgeClient) else None  # the stub makes none
    config = CollectionConfig(
        fde=fde, text_key="body", id_scheme="native", dense={"own": DenseConfig(dim=2)}, bm25=bm25
    )
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, retry=FAST)
    docs.ingest([Document(number, TEXTS[number], {"n": number}, {"own": [1, number]}) for number in range(OWN)])
    others = [
        models.PointStruct(id=number, vector={"own": [2.0, number]}, payload={"body": TEXTS[number], "n": number})
        for number in range(OWN, len(TEXTS))
    ]
    client.upsert("docs", [*others, models.PointStruct(id=500, vector={"own": [0.0, 0.0]}, payload={"n": 500})])
    return contents(client, "docs")


def opened(client: Client, encoder: WordEncoder | None = None) -> ColbertCollection:
    return ColbertCollection.open("docs", client=client, encoder=encoder or WordEncoder(), retry=FAST)


def repair(client: Client) -> None:
    vars(without_tokens)["_PAGE_POINTS"] = 4  # more requests, and so more points in time
    opened(client).repair()


def repair_on_server(port: int) -> None:
    """In a process of its own, which its server kills."""
    repair(on_server(port))


def repair_in_edge(path: str, deadly: int, counted: Any) -> None:
    """In a process of its own, which ends at a call of a function of the embedded engine's client, or its return."""
    folder, calls = str(Path(edge.__file__).parent), 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event in ("call", "return", "c_call", "c_return") and frame.f_code.co_filename.startswith(folder):
            calls += 1
            if calls == deadly:
                os._exit(9)

    with EdgeClient(path) as client:
        sys.setprofile(count)
        repair(client)
        sys.setprofile(None)
    counted.value = calls


def check_unharmed(client: Client, before: dict[Any, Any]) -> int:
    """All that there was is there, and every document has all its vectors or none; gives how many lack them."""
    docs, lacking = opened(client), 0
    now = contents(client, "docs")
    assert set(now) == set(before)
    for id, (payload, named) in now.items():
        assert payload == before[id][0]
        assert named["own"] == before[id][1]["own"]
        if set(named) == {"own"}:
            lacking += "body" in payload
            continue
        tokens = WordEncoder().encode_documents([payload["body"]])
        assert docs.fde is not None
        assert set(named) == {"own", "colbert", "fde"} | ({"bm25"} if docs.config.bm25 else set())
        np.testing.assert_allclose(np.array(named["colbert"]), tokens[0], atol=1e-3)
        np.testing.assert_allclose(named["fde"], docs.fde.encode_documents(tokens)[0], rtol=5e-3, atol=5e-3)
    return lacking


def check_gone_on_with(client: Client, before: dict[Any, Any]) -> None:
    """The same call encodes what lacks vectors, and nothing else."""
    lacking, encoder = check_unharmed(client, before), WordEncoder()
    docs = opened(client, encoder)
    encoder.encoded = 0
    assert len(docs.repair()) == (lacking > 0)
    assert encoder.encoded == lacking
    assert check_unharmed(client, before) == 0
    assert docs.check() == docs.repair() == ()
    assert docs.count() == len(before)
    assert docs.search(TEXTS[-1], limit=1)[0].text == TEXTS[-1]


@pytest.mark.parametrize(("fde", "version"), [("muvera", "1.15.5"), ("muvera", "1.19.1"), ("lemur", "1.19.1")])
def test_on_a_server(engine: EngineServer, fde: str, version: str) -> None:
    engine.version = version
    client, draw = on_server(engine.port), random.Random(fde + version)
    before = fill(client, FITS[fde])
    engine.log.clear()
    repair_on_server(engine.port)
    writes = [number for number, (_, path, _) in enumerate(engine.log, 1) if path.endswith("/points/vectors")]
    assert len(writes) == 6
    numbers = [draw.choice(writes), draw.randint(writes[0], writes[-1]), draw.randint(1, len(engine.log))]
    for number in numbers:
        before = fill(client, FITS[fde])
        engine.log.clear()
        engine.deadly = number, draw.random() < 0.5

        def deadly(process: Any) -> None:
            engine.victim = lambda: process.pid

        assert killed(repair_on_server, engine.port, deadly=deadly) == -9
        engine.deadly = None
        if number == numbers[0]:
            assert 0 < check_unharmed(client, before) <= len(TEXTS) - OWN
        check_gone_on_with(client, before)
    client.close()


@pytest.mark.parametrize("fde", FITS)
def test_in_a_store(tmp_path: Path, fde: str) -> None:
    path, draw, counted = tmp_path / "store", random.Random(fde), PROCESSES.Value("q", 0)
    lacking = []
    for part in (0.0, 0.5, 0.8, draw.random()):
        with EdgeClient(path) as client:
            before = fill(client, FITS[fde])
        deadly = int(part * counted.value)
        assert killed(repair_in_edge, str(path), deadly, counted) == (9 if deadly else 0)
        with EdgeClient(path) as client:
            lacking.append(check_unharmed(client, before))
            check_gone_on_with(client, before)
    assert lacking[0] == 0
    assert any(0 < count < len(TEXTS) - OWN for count in lacking)


class Interrupted(WordEncoder):
    """Somebody presses Ctrl-C while some texts are encoded."""

    left: int = 2

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        if self.calls >= self.left:
            raise KeyboardInterrupt
        return super().encode_documents(texts)


class Bar:
    """A reporter that notes what it is told, and may have Ctrl-C pressed while it is."""

    def __init__(self, interrupt: int | None = None) -> None:
        self.told: list[Any] = []
        self._interrupt = interrupt

    def start(self, total: int | None) -> None:
        self.told.append(total)

    def advance(self, documents: int) -> None:
        self.told.append(documents)
        if len(self.told) == self._interrupt:
            raise KeyboardInterrupt

    def stop(self) -> None:
        self.told.append("stop")


@pytest.mark.parametrize(
    ("encoder", "bar", "told"),
    [
        (Interrupted(), Bar(), [22, 4, 4, "stop"]),
        (WordEncoder(), Bar(interrupt=4), [22, 4, 4, 4, "stop"]),
    ],
    ids=["while encoding", "while writing"],
)
@pytest.mark.parametrize("make", [EdgeClient, None], ids=["edge", "server"])
def test_ctrl_c(
    engine: EngineServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], EdgeClient] | None,
    encoder: WordEncoder,
    bar: Bar,
    told: list[Any],
) -> None:
    monkeypatch.setattr(without_tokens, "_PAGE_POINTS", 4)
    client = on_server(engine.port) if make is None else make(tmp_path)
    before = fill(client, MUVERA)
    encoder.calls = 0
    bar.told.clear()
    docs = opened(client, encoder)
    encoder.calls = 0
    with pytest.raises(KeyboardInterrupt):
        docs.repair(progress=bar)
    assert bar.told == told
    assert check_unharmed(client, before) == 22 - sum(told[1:-1])
    check_gone_on_with(client, before)
    client.close()
