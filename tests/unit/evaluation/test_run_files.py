"""Run files keep a run exactly, and a bad line is an error with its place."""

from __future__ import annotations

import gzip
import json
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colbert_qdrant import SearchHit
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation import Run

if TYPE_CHECKING:
    from pathlib import Path

ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
words = ids.filter(lambda text: text.split() == [text])
scores = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hits=st.dictionaries(words, st.dictionaries(words, scores, min_size=1), min_size=1))
@pytest.mark.parametrize("name", ["run.txt", "run.trec.gz"])
def test_trec_files_are_read_back_exactly_by_us_and_by_pytrec_eval(name: str, hits: Any, tmp_path: Path) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    Run(name="my run", hits=hits).write(tmp_path / name)
    read = Run.read(tmp_path / name)
    assert (read.hits, read.name) == (hits, "my-run")
    data = (tmp_path / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    assert pytrec_eval.parse_run(text.split("\n")[:-1]) == hits


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hits=st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1), min_size=1))
@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_json_files_take_any_id(name: str, hits: Any, tmp_path: Path) -> None:
    Run(name="mine", hits=hits).write(tmp_path / name)
    read = Run.read(tmp_path / name)
    assert (read.hits, read.name) == (hits, "run")


def test_lines_have_the_order_of_trec_eval(tmp_path: Path) -> None:
    Run(name="mine", hits={"q": {"a": 1.0, "c": 1.0 + 1e-9, "b": 3.5, "d": 1.0}}).write(tmp_path / "run")
    assert (tmp_path / "run").read_text() == (
        "q Q0 b 1 3.5 mine\nq Q0 d 2 1.0 mine\nq Q0 c 3 1.000000001 mine\nq Q0 a 4 1.0 mine\n"
    )


def test_files_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "other.run"
    path.write_bytes("\ufeff1\tQ0\tdé\t0\t1e-3\tBM25\r\n\r\n  1 0 d2 1   -7 BM25 \r\n2 Q0 a\u00a0b 5 .5 x".encode())
    run = Run.read(path)
    assert run.hits == {"1": {"dé": 0.001, "d2": -7.0}, "2": {"a\u00a0b": 0.5}}
    assert (run.name, Run.read(str(path), name="mine").name) == ("BM25", "mine")


GOOD = b"q Q0 a 1 2.0 x\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + b"q Q0 b 2 1.0\n", "line 2 has 5 columns instead of 6: write query id, Q0"),
        (GOOD + b"q Q0 b c 2 1.0 x\n", "line 2 has 7 columns instead of 6.*use JSON if ids have spaces"),
        (GOOD + b"\nq Q0 b 2 high x\n", "line 3: the score is 'high', not a finite number"),
        (GOOD + b"q Q0 b 2 nan x\n", "line 2: the score is 'nan', not a finite number"),
        (GOOD + b"q Q0 b 2 1e999 x\n", "line 2: the score is '1e999', not a finite number"),
        (GOOD + b"q Q0 b 2 1_0 x\n", "line 2: the score is '1_0', not a finite number"),
        (GOOD + b"q Q0 a 2 1.0 x\n", "line 2: document 'a' was found before for query 'q': remove one line"),
        (GOOD + b"q Q0 \xff 2 1.0 x\n", "line 2: byte 0xff at position 6 is not UTF-8: convert"),
        (b"\n\n", "has no hits: pass a run file"),
        (b"", "has no hits: pass a run file"),
        (
            gzip.compress(GOOD * 100, mtime=0)[:-20],
            r"cannot be read after line 1 \(EOFError: .*: download or copy it again",
        ),
    ],
)
def test_bad_trec_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.run"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=rf"bad\.run,? {message}"):
        Run.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"q": {"a": 1.0,\n}}', ", line 2 is not JSON"),
        ('{"q": {"a": NaN}}', ": a score is NaN: write a finite number"),
        ('{"q": {"a": 1e999}}', ": the score of document 'a' for query 'q' is inf"),
        ('{"q": {"a": true}}', ": the score of document 'a' for query 'q' is True"),
        ('{"q": {"a": "1"}}', ": the score of document 'a' for query 'q' is '1'"),
        ('{"q": {"a": 1, "a": 2}}', ": the key 'a' is there twice"),
        ('{"q": ["a"]}', " has other JSON than"),
        ("[]", " has other JSON than"),
        ("{}", " has no hits"),
        ("[" * 100_000, ""),
    ],
)
def test_bad_json_files(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DatasetError, match=rf"bad\.json{message}"):
        Run.read(tmp_path / "bad.json")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.run cannot be read \(.*No such file.*\): pass the path of a file"):
        Run.read(tmp_path / "none.run")
    with pytest.raises(DatasetError, match="cannot be read"):
        Run.read(tmp_path)
    with pytest.raises(ConfigurationError, match="path must be the path of a run file"):
        Run.read(7)  # type: ignore[arg-type]


def test_ids_with_white_space_are_written_as_json_only(tmp_path: Path) -> None:
    run = Run(name="mine", hits={"q": {"a b": 1.0}})
    with pytest.raises(DatasetError, match=r"document id 'a b' has white space.*: write JSON to .*run\.json instead"):
        run.write(tmp_path / "run.trec")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DatasetError, match="query id '' is empty"):
        Run(name="mine", hits={"": {"a": 1.0}}).write(tmp_path / "run.trec")
    run.write(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == {"q": {"a b": 1.0}}


def test_a_run_of_hits() -> None:
    number: Any = np.int64(7)
    uuid = UUID(int=7)
    run = Run.from_hits("mine", {"q": [SearchHit(id=number, score=2.5), SearchHit(id=uuid, score=1)], "r": []})
    assert run.hits == {"q": {"7": 2.5, str(uuid): 1.0}, "r": {}}
    with pytest.raises(DatasetError, match="query 'q' has the documents 1 and '1', which are the same as strings"):
        Run.from_hits("mine", {"q": [SearchHit(id=1, score=2.0), SearchHit(id="1", score=1.0)]})
    with pytest.raises(DatasetError, match="query 'q' has the document 1 twice"):
        Run.from_hits("mine", {"q": [SearchHit(id=1, score=2.0), SearchHit(id=1, score=1.0)]})
    with pytest.raises(ConfigurationError, match="the hits of query 'q' must be a list of SearchHit, got 'hits'"):
        Run.from_hits("mine", {"q": "hits"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("hits", "message"),
    [
        ({"q": {"a": math.nan}}, "the score of document 'a' for query 'q' is nan: pass a finite number"),
        ({"q": {"a": -math.inf}}, "is -inf: pass a finite number"),
        ({"q": {"a": 10**400}}, "pass a finite number"),
        ({"q": {"a": True}}, "is True: pass a finite number"),
        ({"q": {"a": "1.0"}}, "is '1.0': pass a finite number"),
        ({"q": {1: 1.0}}, "document id 1 is an int: use strings, as in qrels"),
        ({1: {"a": 1.0}}, "query id 1 is an int: use strings, as in qrels"),
        ({"q": ["a"]}, "the hits of query 'q' are a list"),
    ],
)
def test_hits_are_checked(hits: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Run(name="mine", hits=hits)


class Broken(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("closed")


@pytest.mark.parametrize("hits", [Broken(q={"a": 1.0}), {"q": Broken(a=1.0)}])
def test_dicts_that_cannot_be_read_are_refused(hits: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"hits.* cannot be read \(RuntimeError: closed\): pass a dict"):
        Run(name="mine", hits=hits)


@pytest.mark.parametrize(
    "run", [Run(name="a", hits={"q": {"\ud800": 1.0}}), Run(name="\ud800", hits={"q": {"a": 1.0}})]
)
def test_text_that_is_no_unicode_is_not_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"mine\.run would not be valid Unicode .*: correct the ids and the name"):
        run.write(tmp_path / "mine.run")
    assert not list(tmp_path.iterdir())


def test_scores_become_floats_and_later_changes_have_no_effect() -> None:
    hits: dict[str, dict[str, Any]] = {"q": {"a": np.float32(0.5), "b": 2}}
    run = Run(name="mine", hits=hits)
    hits["q"]["a"] = 9.0
    assert run.hits == {"q": {"a": 0.5, "b": 2.0}}
    assert {type(score) for score in run.hits["q"].values()} == {float}
