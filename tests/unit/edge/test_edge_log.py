"""Operations in the engine's log that cannot be applied: they are set aside, and everything else is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import qdrant_edge
from qdrant_client import models

from colbert_qdrant import ColbertQdrantWarning, ConfigurationError, EdgeClient, EngineError
from colbert_qdrant.edge import depth, log
from tests.processes import Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)
WARNING = (
    r"cannot be applied \(.*recursion limit.*\)\. It is saved in .*not-applied-\d+\.cbor; all other operations are"
)

DEEP = """
import sys
from colbert_qdrant.edge import EdgeClient, depth
from qdrant_client import models
depth.MAX_DEPTH = 1000  # as in earlier versions, which had no bound
client = EdgeClient(sys.argv[1])
client.create_collection("docs", models.VectorParams(size=2, distance="Dot"))
number = 0
def write(count):
    global number
    for _ in range(count):
        client.upsert("docs", [models.PointStruct(id=number, vector=[1.0, float(number)], payload={"n": number})])
        number += 1
def spoil(kind):
    condition = models.Filter(must=[models.FieldCondition(key="n", match=models.MatchValue(value=0))])
    payload = {"n": 0}
    for _ in range(130):
        condition, payload = models.Filter(must=[condition]), {"a": payload}
    if kind == "filter":
        client.set_payload("docs", {"x": 1}, condition)
    else:
        try:
            client.set_payload("docs", payload, [1])
        except Exception as error:
            print("refused", type(error).__name__, flush=True)
for step in sys.argv[2:]:
    if step == "flush":
        client.flush("docs")
    elif step == "large":  # so that the log is cut
        for _ in range(8):
            large = {"text": "x" * 12_000_000}
            client.upsert("docs", [models.PointStruct(id=10**6, vector=[1.0, 2.0], payload=large)])
        client.delete("docs", [10**6])
    elif step.isdigit():
        write(int(step))
    else:
        spoil(step)
print("done", flush=True)
sys.stdin.read()
"""


def spoiled(path: Path, *steps: object) -> None:
    """A store with a collection that was written to in so many steps, by a process that was killed."""
    with Script(DEEP, path, *steps) as process:
        while (line := process.stdout.readline()) != "done\n":
            assert line, process.stderr.read()
        process.kill()


def check(client: EdgeClient, count: int) -> None:
    points, _ = client.scroll("docs", limit=10_000, with_vectors=True)
    assert [(point.id, point.payload, point.vector) for point in points] == [
        (n, {"n": n}, [1.0, float(n)]) for n in range(count)
    ]


@pytest.mark.parametrize(
    ("steps", "bad"),
    [
        ([3, "filter"], 1),
        (["filter", 3], 1),
        ([40, "filter", 25], 1),
        ([5, "filter", "filter", 4, "filter", 1], 3),
        ([30, "flush", 5, "filter", 5], 1),
        ([2, "large", 2, "flush", "filter", 5], 1),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_cannot_be_read_is_set_aside(
    tmp_path: Path, steps: list[Any], bad: int, recwarn: pytest.WarningsRecorder
) -> None:
    store = tmp_path / "store"
    spoiled(store, *steps)
    count = sum(step for step in steps if isinstance(step, int))
    for opening in range(3):
        with EdgeClient(store) as client:
            check(client, count + opening)
            point = models.PointStruct(
                id=count + opening, vector=[1.0, count + opening], payload={"n": count + opening}
            )
            client.upsert("docs", [point])
            check(client, count + opening + 1)
    files = list(store.glob("collections/docs/not-applied-*.cbor"))
    assert len(files) == bad
    assert all(b"set_payload" in file.read_bytes() for file in files)
    warnings = [str(each.message) for each in recwarn if each.category is ColbertQdrantWarning]
    assert len(warnings) == bad
    assert {str(file) in warning for file, warning in zip(sorted(files), sorted(warnings), strict=True)} == {True}


def test_a_write_that_failed_half_way_stops_no_other(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload: dict[str, Any] = {"n": 0}
    for _ in range(130):
        payload = {"a": payload}
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTOR)
        points = [models.PointStruct(id=n, vector=[1.0, float(n)], payload={"n": n}) for n in range(4)]
        client.upsert("docs", points[:3])
        with monkeypatch.context() as patch:
            patch.setattr(depth, "MAX_DEPTH", 1000)
            with pytest.raises(EngineError, match="recursion limit"):
                client.set_payload("docs", payload, [1])
        client.upsert("docs", points[3:])
        client.overwrite_payload("docs", {"n": 1}, [1])
        check(client, 4)
    with EdgeClient(tmp_path) as client:
        check(client, 4)
    assert len([each for each in recwarn if each.category is ColbertQdrantWarning]) == 1


def test_a_payload_that_was_written_too_deep_spoils_no_other_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = models.PointStruct(id=1, vector=[1.0, 1.0], payload={"n": 1})
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTOR)
        client.upsert("docs", [models.PointStruct(id=n, vector=[1.0, float(n)], payload={"n": n}) for n in range(3)])
        with monkeypatch.context() as patch:
            patch.setattr(depth, "MAX_DEPTH", 1000)
            with pytest.raises(EngineError, match="recursion limit"):
                client.set_payload("docs", {"x": 1}, [1], key=".".join("a" * 130))
    with EdgeClient(tmp_path) as client:
        assert client.count("docs").count == 3
        assert [each.id for each in client.query_points("docs", query=[1.0, 1.0], with_payload=False).points] == [
            2,
            1,
            0,
        ]
        assert client.retrieve("docs", [2])[0].payload == {"n": 2}
        client.upsert("docs", [point])
        check(client, 3)


def test_a_kill_while_the_log_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    spoiled(store, 20, "filter", 20)

    class KilledError(BaseException):
        pass

    def killing(after: int) -> Iterator[Any]:
        yield from [None] * after
        while True:
            raise KilledError

    for after in range(12):
        steps = killing(after)
        real = qdrant_edge.EdgeShard

        class Dying:
            @staticmethod
            def load(*arguments: Any, steps: Any = steps, real: Any = real) -> Any:
                next(steps, None)
                return real.load(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(qdrant_edge, "EdgeShard", Dying)
            patch.setattr(log, "_put_back", lambda *_: None)  # nor does a process that is killed
            with EdgeClient(store) as client:
                try:
                    check(client, 40)
                except KilledError:
                    continue
                break
    else:
        pytest.fail("it was never done")
    with EdgeClient(store) as client:
        check(client, 40)
    assert not list(store.glob("**/wal-*"))


def test_a_shard_that_fails_for_another_reason_is_left_as_it_is(tmp_path: Path) -> None:
    store = tmp_path / "store"
    spoiled(store, 5, "filter", 5)
    version = next(store.glob("collections/docs/shard/segments/*/segment.json"))
    text = version.read_text()
    version.write_text("{")
    logs = {path.name: path.read_bytes() for path in store.glob("collections/docs/shard/wal/*")}
    with EdgeClient(store) as client, pytest.raises(EngineError, match="load on collection 'docs' failed"):
        client.count("docs")
    assert {path.name: path.read_bytes() for path in store.glob("collections/docs/shard/wal/*")} == logs
    version.write_text(text)
    with EdgeClient(store) as client:
        check(client, 10)


@pytest.mark.filterwarnings("error")
def test_more_than_a_few_are_not_set_aside(tmp_path: Path) -> None:
    store = tmp_path / "store"
    spoiled(store, 2, *["filter"] * 20)
    with EdgeClient(store) as client, pytest.raises(EngineError, match="RecursionLimit"):
        client.count("docs")
    assert not list(store.glob("**/not-applied-*"))


def test_what_is_set_aside_is_no_attached_file(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTOR)
        with pytest.raises(ConfigurationError, match="is a reserved name in a collection"):
            client.attach("docs", "not-applied-3.cbor", b"mine")
