"""Arguments of the sink that are refused before Ray starts anything, and its pickle."""

from __future__ import annotations

import pickle
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import CapabilityError, ConfigurationError, EdgeClient, Secret, connect
from colbert_qdrant.ray import ColbertBatchEncoder, ColbertDatasink
from tests.encoders import WordEncoder
from tests.ray.rows import rows

if TYPE_CHECKING:
    from pathlib import Path

KEY = "correct-horse-battery-staple"


def make(**options: Any) -> ColbertDatasink:
    made: dict[str, Any] = {"make_client": partial(connect, "http://localhost:6333"), "make_encoder": WordEncoder}
    return ColbertDatasink(options.pop("name", "docs"), **made | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "name"),
        ({"mode": "replace"}, "mode='replace': use one of 'create', 'open', 'open_or_create'"),
        ({"on_error": "reject"}, "on_error='reject': use one of 'raise', 'skip'"),
        ({"text": 1.5}, "text must be the name of a column"),
        ({"fit_sample": "rows"}, "documents must be a list"),
        ({"make_encoder": WordEncoder()}, "make_encoder must be a function without arguments"),
        ({"make_client": "http://localhost:6333"}, "make_client must be a function .*: pass lambda: connect"),
        ({"make_client": partial(connect, "http://localhost:6333", api_key=KEY)}, "pass api_key_env or api_key_file"),
        ({"make_client": partial(partial(connect, api_key=KEY), "http://localhost:6333")}, "api_key_env"),
    ],
)
def test_mistakes_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        make(**options)
    assert KEY not in str(caught.value)


def test_a_secret_does_not_travel() -> None:
    sink = make(make_client=partial(connect, "http://localhost:6333", api_key=Secret(KEY)))
    assert KEY not in repr(sink)
    with pytest.raises(TypeError, match="api_key_env or api_key_file"):
        pickle.dumps(sink)


def test_the_sample_stays_on_the_driver() -> None:
    large = make(fit_sample=rows(600))
    assert len(pickle.dumps(large)) == len(pickle.dumps(make()))


@pytest.mark.parametrize("kind", [ColbertDatasink, ColbertBatchEncoder])
def test_type_hints_resolve(kind: type) -> None:
    own = [value for value in vars(kind).values() if isinstance(value, FunctionType)]
    assert all("return" in get_type_hints(value) for value in own)


@pytest.mark.parametrize("kind", ["edge", "memory"])
def test_stores_that_one_process_opens_are_refused(kind: str, tmp_path: Path) -> None:
    def make_client() -> Any:
        return EdgeClient(tmp_path / "store") if kind == "edge" else QdrantClient(":memory:")

    with pytest.raises(CapabilityError, match=r"which several processes write.*use ingest"):
        make(make_client=make_client).on_write_start()
    if kind == "edge":
        with EdgeClient(tmp_path / "store") as client:  # it was closed
            assert client.get_collections().collections == []
