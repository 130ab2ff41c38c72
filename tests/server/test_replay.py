"""The model answers as a real server 1.19 did.

`fixtures/facts.jsonl` has the facts that matter. With the environment variable `QDRANT_RECORDINGS`, a folder with
`answers.jsonl` and `contract.jsonl`, everything that was recorded is replayed.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.server.listener import serving
from tests.server.replay import Client, Exchange, differences, read
from tests.server.states import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTS: Final = Path(__file__).parent / "fixtures" / "facts.jsonl"
RECORDINGS: Final = os.environ.get("QDRANT_RECORDINGS", "")

EXCEPTIONS: Final = {
    "telemetry refused or not": "the model counts nothing",
    "snapshot": "the model makes none",
    "snapshots": "the model makes none",
}
"""The cases that the model answers otherwise, and why."""

POINTS: Final = [
    {
        "id": id,
        "vector": {"fde": [1.0, 0.0, 0.0, 0.0], "colbert": [[1.0, 0.0], [0.0, 1.0]]},
        "payload": {"year": 2020},
    }
    for id in (1, 2, 3)
]
"""What was in each collection whose strict mode was tried."""
COLLECTION: Final = {
    "vectors": {
        "fde": {"size": 4, "distance": "Dot", "datatype": "float16"},
        "colbert": {
            "size": 2,
            "distance": "Dot",
            "datatype": "float16",
            "hnsw_config": {"m": 0},
            "multivector_config": {"comparator": "max_sim"},
        },
    },
    "sparse_vectors": {"bm25": {"modifier": "idf"}},
}


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path) as url:
        client = Client(url)
        yield client
        client.close()


def recording(name: str) -> list[Exchange]:
    if not RECORDINGS:
        pytest.skip("no recordings: set QDRANT_RECORDINGS to the folder that has them")
    return read(Path(RECORDINGS) / name)


def replayed(exchanges: list[Exchange], client: Client, *, whole: bool) -> dict[str, list[str]]:
    """What the model answers otherwise, by case.

    Args:
        exchanges: A recording.
        client: A client of the model.
        whole: Whether nothing is left out between the exchanges, so that the values have to be the same, too.
    """
    found = {}
    for number, exchange in enumerate(exchanges):
        clear_the_way(exchange, client)
        differing = list(differences(exchange, client.send(*request(exchange)), values=whole))
        if differing and not whole:
            prepare(exchange, client)
            differing = list(differences(exchange, client.send(*request(exchange)), values=False))
        if differing:
            found[exchange.case or f"{number}: {exchange.method} {exchange.path}"] = differing
    return found


def request(exchange: Exchange) -> tuple[str, str, object]:
    return exchange.method, exchange.path, exchange.request


def clear_the_way(exchange: Exchange, client: Client) -> None:
    """Does what was done between the requests that were recorded: each new collection was deleted before."""
    new = exchange.method == "PUT" and re.fullmatch(r"/collections/[^/]+", exchange.path)
    if new and exchange.status != 409 and "alias" not in exchange.case:
        client.send("DELETE", exchange.path)
    if re.fullmatch("strict mode .* set", exchange.case):
        client.send("DELETE", exchange.path)
        client.send("PUT", exchange.path, COLLECTION)
        client.send("PUT", f"{exchange.path}/points", {"points": POINTS})
        client.send("PUT", f"{exchange.path}/index", {"field_name": "year", "field_schema": "integer"})


def test_the_facts_that_matter(model: Client) -> None:
    assert replayed(read(FACTS), model, whole=True) == {}


def test_all_answers(model: Client) -> None:
    assert replayed(recording("answers.jsonl"), model, whole=True).keys() == EXCEPTIONS.keys()


def test_all_exchanges_of_the_contract_tests(model: Client) -> None:
    assert replayed(recording("contract.jsonl"), model, whole=False) == {}


@pytest.mark.parametrize(
    ("case", "response", "status"),
    [
        ("missing collection", {"status": {"error": "Not found: Collection `other` doesn't exist!"}}, 404),
        ("missing collection", {"status": {"error": "Not found: Collection `none` doesn't exist!"}}, 400),
        ("delete missing collection", {"result": True, "status": "ok", "time": 0.0}, 200),
        ("filter: text 'brid' without an index", {"result": {"count": 0}, "status": "ok", "time": 0.0}, 200),
        ("create", {"result": True, "status": "ok"}, 200),
        ("beyond float16, stored as", {"result": [], "status": "ok", "time": 0.0}, 200),
    ],
)
def test_a_wrong_answer_is_noticed(case: str, response: object, status: int) -> None:
    right = next(each for each in read(FACTS) if each.case == case)
    assert list(differences(right, right, values=True)) == []
    assert list(differences(right, replace(right, response=response, status=status), values=True))
