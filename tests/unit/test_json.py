"""Web frameworks make schemas and JSON of what this library returns and is configured with."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

import colbert_qdrant as cq
from tests.encoders import WordEncoder
from tests.parity.checkpoints import build

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = [getattr(cq, name) for name in sorted(cq.__all__)]
DATACLASSES = [each for each in PUBLIC if inspect.isclass(each) and dataclasses.is_dataclass(each)]
MUVERA = cq.MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG = cq.CollectionConfig(fde=MUVERA)


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
def test_every_public_dataclass_makes_a_schema(kind: Any) -> None:
    for mode in ("validation", "serialization"):
        assert TypeAdapter(kind).json_schema(mode=mode)["properties"]


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        cq.CollectionConfig(fde=cq.MuveraConfig(center=True, fit_documents=9), payload_indexes={"a b": "integer"}),
        cq.CollectionConfig(
            fde=cq.LemurConfig(dim=8, hidden=16), bm25=cq.Bm25Config(), dense={"d": cq.DenseConfig(dim=3)}
        ),
    ],
)
def test_a_config_survives_json(config: cq.CollectionConfig) -> None:
    kind = TypeAdapter(cq.CollectionConfig)
    assert kind.validate_json(kind.dump_json(config)) == config
    assert kind.validate_python(kind.dump_python(config)) == config
    assert kind.validate_python(config) == config
    assert json.loads(kind.dump_json(config))["fde"] == config.encoding.to_dict()


def test_what_is_wrong_with_a_config_is_said() -> None:
    with pytest.raises(ValidationError, match="unknown FDE type 'lattice': use one of muvera, lemur"):
        TypeAdapter(cq.CollectionConfig).validate_json('{"fde": {"type": "lattice"}}')


def test_token_embeddings_are_lists() -> None:
    batch = cq.TokenEmbeddings(np.array([[0.1, 2], [3, 4], [5, 6]]), [1, 2], truncated=[False, True])
    kind = TypeAdapter(cq.TokenEmbeddings)
    read = kind.validate_json(kind.dump_json(batch))
    for name in ("values", "lengths", "truncated"):
        assert getattr(read, name).dtype == getattr(batch, name).dtype
        assert np.array_equal(getattr(read, name), getattr(batch, name))
    assert kind.validate_python(batch) is batch
    assert not kind.validate_json('{"values": [[1, 2]], "lengths": [1]}').truncated.any()
    with pytest.raises(ValidationError, match="lengths add up to 2 tokens, but there are 1 rows"):
        kind.validate_json('{"values": [[1, 2]], "lengths": [2]}')


def returned(folder: Path) -> list[Any]:
    """What the calls of this library return."""
    encoder = WordEncoder()
    with cq.EdgeClient(folder / "store") as client:
        docs = cq.ColbertCollection.create("docs", client=client, encoder=encoder, config=CONFIG)
        written = [cq.Document(n, f"river {n}", {"n": n, "when": None}) for n in range(12)]
        ingested = docs.ingest([*written, cq.Document("x", "")], on_error="skip")
        hits = docs.search("river", timings=True, prefetch=["fde"])
        plan = cq.Migration.plan(client, "docs", "target", fde=cq.MuveraConfig(k_sim=1, dim_proj=4, r_reps=2))
        report = plan.run()
        tokens = encoder.encode_documents([each.text for each in written])
        fde = cq.MuveraEncoder(MUVERA, token_dim=tokens.dim)
        return [
            *(ingested, hits, hits.timings, docs.search_groups("river", "n"), docs.get([1]), docs.info()),
            *(plan.details, report, plan.verify(), cq.muvera_fitness(tokens, tokens)),
            *(cq.fde_report(fde, tokens, tokens, qrels=[{n: 1} for n in range(12)], graph=True),),
            cq.inspect(build("stanford-bert", folder / "model")),
        ]


@pytest.mark.filterwarnings("error:.*serializ.*:UserWarning")
def test_what_calls_return_becomes_json(tmp_path: Path) -> None:
    found = returned(tmp_path)
    for each in found:
        kind: Any = type(each[0]) if type(each) is list else type(each)
        adapter: Any = TypeAdapter(list[kind] if type(each) is list else kind)
        text = adapter.dump_json(each)
        assert adapter.dump_json(adapter.validate_json(text)) == text
    assert json.loads(TypeAdapter(list[cq.SearchHit]).dump_json(found[1]))[0]["payload"]["when"] is None
