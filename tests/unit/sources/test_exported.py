"""The files of exports keep every document unchanged, in both formats."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colbert_qdrant import CollectionConfig, Document, MuveraConfig, MuveraEncoder
from colbert_qdrant.collection.exporting import file_writer
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.points.fingerprint import Fingerprint
from colbert_qdrant.sources.exported import Header, export_info
from tests.unit.sources.rows import documents as documents_of
from tests.unit.sources.rows import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

DIM = 3
MUVERA = MuveraConfig(k_sim=2, dim_proj=2, r_reps=2)
CONFIG = CollectionConfig(fde=MUVERA)
FDE = MuveraEncoder(MUVERA, token_dim=DIM)
FINGERPRINT = Fingerprint.of(encoder={"name": "words"}, fde=FDE.fingerprint(), config=CONFIG, canary=None)
TEXT = st.text(max_size=5)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(TEXT, SCALARS, max_size=2)
HALVES = st.floats(width=16, allow_nan=False, allow_infinity=False)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def matrices(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    rows = st.lists(st.lists(numbers, min_size=DIM, max_size=DIM), min_size=1, max_size=2)
    return rows.map(lambda values: np.array(values, np.float32))


def documents(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[list[Document]]:
    sparse = st.dictionaries(st.integers(0, 2**32 - 1), SINGLES, max_size=3)
    dense = st.lists(SINGLES, min_size=2, max_size=2).map(lambda values: np.array(values, np.float32))
    made = st.builds(
        Document,
        st.integers(-(2**63), 2**63 - 1) | TEXT | st.uuids(),
        TEXT,
        st.dictionaries(TEXT, JSON, max_size=3),
        st.fixed_dictionaries({}, optional={"dense": dense, "sparse": sparse}),
        st.none() | matrices(numbers),
    )
    return st.lists(made, max_size=3)


def written(name: str, pages: Sequence[list[Document]], datatype: str) -> bytes:
    from qdrant_client import models

    def stored(document: Document) -> Document:
        vectors = {
            key: models.SparseVector(indices=list(each), values=list(each.values())) if key == "sparse" else each
            for key, each in document.vectors.items()
        }
        return Document(document.id, document.text, document.payload, vectors, document.tokens)

    stream = io.BytesIO()
    header = Header(fingerprint=FINGERPRINT, with_tokens=True, token_datatype=datatype)
    writer = file_writer(Path(name), stream, header)
    for page in pages:
        writer.write([stored(each) for each in page])
    writer.close()
    return stream.getvalue()


def comparable(document: Document) -> Any:
    tokens = None if document.tokens is None else np.asarray(document.tokens).tolist()
    vectors = {key: each if key == "sparse" else list(each) for key, each in document.vectors.items()}
    return type(document.id), document.id, document.text, repr(document.payload), vectors, tokens


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.jsonl.gz", "docs.parquet"])
@pytest.mark.parametrize("datatype", ["float16", "float32"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_documents_come_back_as_they_were(tmp_path: Path, name: str, datatype: str, data: st.DataObject) -> None:
    pages = data.draw(st.lists(documents(HALVES if datatype == "float16" else SINGLES), max_size=2))
    path = tmp_path / name
    path.write_bytes(written(name, pages, datatype))
    found: list[Any] = documents_of(path)
    assert [comparable(each) for each in found] == [comparable(each) for page in pages for each in page]
    info = export_info(path)
    assert (info.config, info.with_tokens, info.encoder.dim) == (CONFIG, True, DIM)


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.parquet"])
def test_shards_of_an_export_have_every_document_once(tmp_path: Path, name: str) -> None:
    pages = [[Document(number, "x", tokens=np.ones((1, DIM)))] for number in range(10)]
    (tmp_path / name).write_bytes(written(name, pages, "float16"))
    parts = [[item.id for item in documents_of(tmp_path / name, shard=(i, 3))] for i in range(3)]
    assert parts == [[*range(i, 10, 3)] for i in range(3)]


def test_joined_exports_are_read_and_one_without_its_header_is_refused(tmp_path: Path) -> None:
    whole = [Document("a", "one", {"n": 1}, tokens=np.ones((2, DIM), np.float32)), Document(2, "two")]
    data = written("docs.jsonl", [whole], "float32")
    (tmp_path / "joined.jsonl").write_bytes(data + data)
    assert [each.id for each in documents_of(tmp_path / "joined.jsonl")] == ["a", 2, "a", 2]
    assert [each.id for each in documents_of(tmp_path / "joined.jsonl", shard=(1, 2))] == [2, 2]
    (tmp_path / "split.jsonl").write_bytes(data.partition(b"\n")[2])
    found = errors(tmp_path / "split.jsonl")
    assert len(found) == 2
    assert "line 1: the line is of an export, and the export's first line is missing: put it in front" in found[0]


def test_a_mapping_has_no_rows_in_an_export(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(written("docs.jsonl", [[Document("a", "one", {"n": 1})]], "float32"))
    with pytest.raises(ConfigurationError, match=r"docs.jsonl' is an export, whose documents are complete: leave"):
        documents_of(path, payload=["n"])
    (tmp_path / "more.jsonl").write_text('{"key": 2, "text": "two"}')
    assert [each.id for each in documents_of([path, tmp_path / "more.jsonl"], id="key")] == ["a", 2]
