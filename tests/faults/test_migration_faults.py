"""Migrations over a network that fails: they end right, or fail with an error that says so and can be run again."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    AuthenticationError,
    ColbertCollection,
    ColbertQdrantWarning,
    EdgeClient,
    Migration,
    MigrationError,
    RequestError,
    TokenEmbeddings,
)
from tests.encoders import WordEncoder
from tests.faults.migrating import (
    ADDED,
    FAST,
    MUVERA,
    Kind,
    check_aliases,
    check_migrated,
    contents,
    fill,
    filled,
    on_server,
    planned,
    stand_for,
)
from tests.faults.server import Answer, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.faults.engine import EngineServer

LOST = Answer(stored=True, cut=0)
DONE = replace(failing(500), stored=True)
FAULTS: dict[str, Answer] = {
    "429": failing(429, Retry_After="0"),
    "500": failing(500),
    "reset": Answer(cut=0),
    "lost": LOST,
    "half": Answer(stored=True, status=200, body=b'{"result": true, "status": "ok", "time": 0}', cut=60),
    "not yet": Answer(
        stored=True, body=b'{"result": {"operation_id": 1, "status": "acknowledged"}, "status": "ok", "time": 0}'
    ),
}
REQUESTS: dict[str, tuple[str, str]] = {
    "create": ("PUT", "/collections/new"),
    "upsert": ("PUT", "/collections/new/points"),
    "metadata": ("PATCH", "/collections/new"),
    "index": ("PUT", "/collections/new/index"),
    "read": ("POST", "/collections/docs/points"),
    "look": ("POST", "/collections/new/points"),
    "count": ("POST", "/collections/new/points/count"),
    "aliases": ("POST", "/collections/aliases"),
}
IN_PLACE: dict[str, tuple[str, str]] = {
    "metadata": ("PATCH", "/collections/docs"),
    "add": ("PUT", "/collections/docs/vectors/fde"),
    "add origin": ("PUT", "/collections/docs/vectors/colbert__origin"),
    "add tokens": ("PUT", "/collections/docs/vectors/colbert"),
    "update": ("PUT", "/collections/docs/points/vectors"),
    "remove": ("DELETE", "/collections/docs/vectors/fde"),
    "remove origin": ("DELETE", "/collections/docs/vectors/colbert__origin"),
    "remove tokens": ("DELETE", "/collections/docs/vectors/colbert"),
}


@pytest.fixture
def remote(engine: EngineServer) -> Iterator[QdrantClient]:
    with filled(engine.port, count=16) as client:
        yield client


def first(request: tuple[str, str], answer: Answer, times: int) -> Callable[[str, str, Any], Answer | None]:
    """Answers so the first times that such a request comes."""
    left = [times]

    def fault(method: str, path: str, body: Any) -> Answer | None:
        if (method, path) != request or not left[0]:
            return None
        left[0] -= 1
        return answer

    return fault


def attempts_of(step: Callable[[], Any]) -> int:
    """How often its failing request was sent; 1: none failed."""
    try:
        step()
    except RequestError as error:
        return error.attempts
    return 1


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("kind", ["computed", "in place"])
def test_a_fault_that_passes_does_no_harm(engine: EngineServer, remote: QdrantClient, kind: Kind, name: str) -> None:
    before = contents(remote, "docs")
    stand_for(remote, "live", "docs")
    in_place = kind == "in place"
    wanted = set((IN_PLACE if in_place else REQUESTS).values())
    if name == "not yet":  # only writes of points are taken without being done
        wanted = {each for each in wanted if each[0] == "PUT" and each[1].endswith("/points")}
    waiting = set(wanted)

    def fault(method: str, path: str, body: Any) -> Answer | None:
        if (method, path) not in waiting:
            return None
        waiting.remove((method, path))
        return FAULTS[name]

    engine.fault = fault
    migration = planned(remote, kind)
    for _ in range(2):
        migration.run()
        waiting |= {REQUESTS["metadata"], REQUESTS["aliases"]} & wanted
        verdict = migration.verify(queries=3)
        assert verdict.passed, verdict.reasons
        check_migrated(remote, kind, before)
        if not in_place:
            migration.switch("live")
            check_aliases(remote, {"live": {"new"}})
        waiting |= {REQUESTS["metadata"], REQUESTS["aliases"], IN_PLACE["metadata"]} & wanted
        migration.rollback()
        check_aliases(remote, {"live": {"docs"}})
        assert contents(remote, "docs") == before
    assert not waiting


@pytest.mark.parametrize(("kind", "name"), [("computed", "500"), ("computed", "lost"), ("in place", "lost")])
def test_a_fault_that_lasts_is_an_error_and_it_can_be_done_again(
    engine: EngineServer, remote: QdrantClient, kind: Kind, name: str
) -> None:
    before = contents(remote, "docs")
    in_place = kind == "in place"
    for which, request in (IN_PLACE if in_place else REQUESTS).items():
        if which in ("aliases", "remove", "remove origin", "remove tokens", "index", "count"):
            continue
        migration = planned(remote, kind)
        engine.fault = first(request, FAULTS[name], 3)
        attempts = attempts_of(migration.run)
        assert attempts == 3 or name == "lost", request  # what was done can be found out in another way
        engine.fault = lambda method, path, body: None
        migration = planned(remote, kind)
        migration.run()
        verdict = migration.verify(queries=3)
        assert verdict.passed, (request, verdict.reasons)
        check_migrated(remote, kind, before)
        migration.rollback()
        if not in_place:
            migration.cleanup(confirm=lambda _: True)
        assert contents(remote, "docs") == before


@pytest.mark.parametrize("answer", [failing(500), DONE], ids=["not done", "done"])
def test_a_switch_that_fails_leaves_the_alias_whole_and_can_be_done_again(
    engine: EngineServer, remote: QdrantClient, answer: Answer
) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    steps: list[tuple[Callable[[], None], str, str]] = [
        (partial(migration.switch, "live"), "docs", "new"),
        (migration.rollback, "new", "docs"),
    ]
    for step, before, after in steps:
        for request in (REQUESTS["aliases"], REQUESTS["metadata"]):
            engine.fault, done = first(request, answer, 3), len(engine.log)
            if attempts_of(step) == 1:  # what was lost was done, and nothing is left to do
                assert request not in {each[:2] for each in engine.log[done:]}
            check_aliases(remote, {"live": {before, after}})
        engine.fault = lambda method, path, body: None
        step()
        assert check_aliases(remote, {"live": {after}}) == {"live": after}


def test_an_answer_that_comes_too_late(engine: EngineServer, remote: QdrantClient) -> None:
    before = contents(remote, "docs")
    client = QdrantClient(host="127.0.0.1", port=engine.port, check_compatibility=False, timeout=1)
    late = {
        key: Answer(stored=True, late=3.0) for key in (REQUESTS["create"], REQUESTS["upsert"], REQUESTS["metadata"])
    }
    engine.fault = lambda method, path, body: late.pop((method, path), None)
    migration = planned(client, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    assert not late
    check_migrated(client, "computed", before)
    client.close()


def test_points_that_the_server_refuses_are_named_and_all_others_are_written(
    engine: EngineServer, remote: QdrantClient
) -> None:
    refused = {3, 5, "00000000-0000-4000-8000-000000000010"}

    def fault(method: str, path: str, body: Any) -> Answer | None:
        if (method, path) == REQUESTS["upsert"] and refused & {point["id"] for point in body["points"]}:
            return failing(422, "Validation error: payload.meta")
        return None

    engine.fault = fault
    before = contents(remote, "docs")
    migration = planned(remote, "computed")
    with pytest.raises(MigrationError, match="refuses 3 points, and all other points are migrated") as caught:
        migration.run()
    assert all(repr(id) in str(caught.value) for id in refused)
    assert "Validation error: payload.meta" in str(caught.value)
    assert set(contents(remote, "new")) == set(before) - refused
    verdict = migration.verify(queries=3)
    assert not verdict.passed
    assert any("missing" in reason for reason in verdict.reasons)
    with pytest.raises(MigrationError, match="did not pass"):
        migration.switch("live")
    engine.fault = lambda method, path, body: None
    report = migration.run()
    assert (report.points, report.present) == (3, len(before) - 3)
    assert migration.verify(queries=3).passed
    check_migrated(remote, "computed", before)


def test_points_that_are_deleted_while_vectors_are_added_in_place_do_no_harm(
    engine: EngineServer, remote: QdrantClient
) -> None:
    left = [1]

    def fault(method: str, path: str, body: Any) -> Answer | None:
        if (method, path) == IN_PLACE["update"] and left[0]:
            left[0] = 0
            engine.local.delete("docs", [body["points"][0]["id"]])
            return failing(404, f"Not found: No point with id {body['points'][0]['id']} found")
        return None

    engine.fault = fault
    planned(remote, "in place").run()
    assert not left[0]
    check_migrated(remote, "in place", contents_without(remote))


def contents_without(client: Client) -> dict[Any, Any]:
    """What the source is without what was added to it."""
    found = contents(client, "docs")
    return {id: (payload, {n: v for n, v in named.items() if n not in ADDED}) for id, (payload, named) in found.items()}


@pytest.mark.parametrize("where", ["server", "store"])
def test_searches_of_an_alias_see_one_collection_or_the_other_during_switch_and_rollback(
    engine: EngineServer, tmp_path: Path, where: str
) -> None:
    client: Client = on_server(engine.port) if where == "server" else EdgeClient(tmp_path)
    reader: Client = on_server(engine.port) if where == "server" else client
    fill(client, count=16)
    stand_for(client, "live", "docs")
    migration = planned(client, "computed")
    migration.run()
    for record in client.scroll("docs", limit=1000)[0]:  # so that hits say which collection they are from
        client.set_payload("new", {"new": True}, [record.id]) if where == "store" else engine.local.set_payload(
            "new", {"new": True}, [record.id]
        )
    seen, errors, over = [], [], threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                hits = reader.query_points("live", [1.0, 0.5, 0.0, 0.0], using="dense", limit=15).points
                seen.append({("new" in (hit.payload or {})) for hit in hits} if len(hits) == 15 else {None})
            except Exception as error:  # noqa: BLE001 - whatever it is, the main thread is to know
                errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(5):
            migration.switch("live", force="to and fro")
            wait_for(seen, {True})
            migration.rollback(force="to and fro")
            wait_for(seen, {False})
    finally:
        over.set()
        thread.join()
    assert errors == []
    assert {frozenset(each) for each in seen} == {frozenset({True}), frozenset({False})}
    reader.close()
    client.close()


def wait_for(seen: list[Any], what: set[bool]) -> None:
    """Wait until the reader has come by."""
    count = len(seen)
    for _ in range(2_000):
        if any(each == what for each in seen[count:]):
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"no search saw {what}")


def test_docs_are_opened_by_the_alias_on_both_sides_of_a_switch(engine: EngineServer, remote: QdrantClient) -> None:
    stand_for(remote, "live", "docs")
    first_step = planned(remote, "computed")
    first_step.run()
    first_step.verify(queries=3)
    first_step.switch("live")
    assert ColbertCollection.open("live", client=remote, encoder=WordEncoder()).search("river bridge", limit=3)
    aliases = [body for _, path, body in engine.log if path == "/collections/aliases"][1:]
    assert [len(body["actions"]) for body in aliases] == [2]
    first_step.rollback()
    assert len([1 for _, path, _ in engine.log if path == "/collections/aliases"]) == 3


def test_what_is_written_to_a_target_in_use_is_never_deleted(engine: EngineServer, remote: QdrantClient) -> None:
    migration = planned(remote, "computed")
    migration.run()
    stand_for(remote, "live", "new")  # by somebody who did not use switch()
    remote.upsert("live", [models.PointStruct(id=999, payload={"document": "river"}, vector={})])
    with pytest.raises(MigrationError, match=r"aliases \['live'\] .* applications may already write"):
        planned(remote, "computed").run()
    assert remote.retrieve("new", [999])


def test_a_verification_forgets_no_switch_that_was_made_meanwhile(engine: EngineServer, remote: QdrantClient) -> None:
    stand_for(remote, "live", "docs")
    planned(remote, "computed").run()
    other = planned(remote, "computed")

    class Meanwhile(WordEncoder):
        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            if verifying and engine.local.aliases["live"] == "docs":
                other.switch("live", force="in a hurry")
            return super().encode_documents(texts)

    verifying = False
    slow = planned(remote, "computed", encoder=Meanwhile())
    verifying = True
    slow.verify(queries=3)
    assert check_aliases(remote, {"live": {"new"}})
    slow.rollback()
    assert check_aliases(remote, {"live": {"docs"}}) == {"live": "docs"}


def test_a_cleanup_that_was_not_ended_can_be_done_again(engine: EngineServer, remote: QdrantClient) -> None:
    migration = planned(remote, "computed")
    migration.run()
    migration.verify(queries=3)
    migration.switch("live")
    engine.fault = first(("DELETE", "/collections/docs"), DONE, 3)
    assert attempts_of(lambda: migration.cleanup(confirm=lambda _: True)) == 3
    assert not remote.collection_exists("docs")
    assert migration.cleanup(confirm=lambda _: True) == "docs"


def test_a_key_for_the_source_alone(engine: EngineServer, remote: QdrantClient) -> None:
    def fault(method: str, path: str, body: Any) -> Answer | None:
        return failing(403, "Forbidden: Access to collection docs_colbert is required") if "docs_" in path else None

    engine.fault = fault
    with pytest.raises(AuthenticationError, match=r"'docs_colbert', the target of 'docs'.* may create .*target=…"):
        planned(remote, "computed", target=None)
    assert not planned(remote, "in place").details.blocked


def test_in_place_what_others_wrote_meanwhile_can_be_verified(remote: QdrantClient) -> None:
    migration = planned(remote, "in place")
    migration.run()
    remote.upsert("docs", [models.PointStruct(id=999, payload={"document": "river"}, vector={})])
    verdict = migration.verify(queries=3)
    assert any("if another client wrote to" in reason for reason in verdict.reasons)
    report = migration.run()
    assert report.points == 1
    assert migration.verify(queries=3).passed


# at the moment when an alias moves


def text(id: int, text: str) -> models.PointStruct:
    return models.PointStruct(id=id, vector={}, payload={"document": text})


def as_aliases_move(engine: EngineServer, action: Callable[[], object]) -> None:
    """Have somebody write between all that was read before and the move, once."""
    left = [action]

    def fault(method: str, path: str, body: Any) -> None:
        if (method, path) == REQUESTS["aliases"] and left:
            left.pop()()

    engine.fault = fault


def test_what_is_written_to_the_source_as_the_alias_moves_is_copied_after_it(
    engine: EngineServer, remote: QdrantClient
) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed

    def write() -> None:
        engine.local.upsert("docs", [text(1, "zeppelin above mountains"), text(999, "quokka near a submarine")])
        engine.local.delete("docs", [3])
        engine.local.set_payload("docs", {"more": 1}, [5])
        engine.local.delete("new", [7])  # by an application that uses the alias already
        engine.local.set_payload("new", {"more": 2}, [9])

    as_aliases_move(engine, write)
    migration.switch("live")
    docs = ColbertCollection.open("live", client=remote, encoder=WordEncoder())
    assert [hit.id for hit in docs.search("quokka near a submarine", limit=1)] == [999]
    assert [hit.id for hit in docs.search("zeppelin above mountains", limit=1)] == [1]
    after = contents(remote, "new")
    assert {3, 7}.isdisjoint(after)
    assert [after[id][0]["more"] for id in (5, 9)] == [1, 2]
    assert migration.cleanup(confirm=lambda _: True) == "docs"
    assert contents(remote, "live") == after


def test_what_is_written_on_both_sides_as_the_alias_moves_is_named(engine: EngineServer, remote: QdrantClient) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed

    def write() -> None:
        engine.local.set_payload("docs", {"more": 1}, [5])
        engine.local.set_payload("new", {"more": 2}, [5])
        engine.local.set_payload("docs", {"more": 1}, [7])
        engine.local.delete("new", [7])

    as_aliases_move(engine, write)
    with pytest.warns(ColbertQdrantWarning, match=r"points \(5, 7\) were written both to 'docs' and to 'new'"):
        migration.switch("live")
    after = contents(remote, "new")
    assert after[5][0]["more"] == 2
    assert 7 not in after
    assert migration.cleanup(confirm=lambda question: "points (5, 7)" not in question) is None


def test_what_is_written_to_the_target_as_aliases_are_taken_back_is_named_and_kept(
    engine: EngineServer, remote: QdrantClient
) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    migration.switch("live")
    as_aliases_move(engine, lambda: engine.local.upsert("new", [text(999, "river")]))
    with pytest.raises(MigrationError, match=r"aliases are switched back, but .*1 point only in 'new' \(999\)"):
        migration.rollback()
    assert check_aliases(remote, {"live": {"docs"}}) == {"live": "docs"}
    for step in (migration.run, partial(migration.cleanup, confirm=lambda _: True)):
        with pytest.raises(MigrationError, match=r"1 point only in 'new' \(999\)"):
            step()
    assert remote.retrieve("new", [999])
    remote.upsert("docs", [text(999, "river")])
    assert migration.cleanup(confirm=lambda _: True) == "new"


def test_a_switch_that_ended_as_the_alias_moved_is_not_taken_for_done(
    engine: EngineServer, remote: QdrantClient
) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    as_aliases_move(engine, lambda: engine.local.upsert("docs", [text(999, "river")]))
    answer = engine.fault
    moved: list[str] = []

    def fault(method: str, path: str, body: Any) -> Answer | None:
        if moved and (method, path) == ("POST", "/collections/docs/points/scroll"):
            return failing(500)
        moved.extend([path] if (method, path) == REQUESTS["aliases"] else [])
        return answer(method, path, body)

    engine.fault = fault
    with pytest.raises(RequestError):
        migration.switch("live")
    engine.fault = lambda method, path, body: None
    assert check_aliases(remote, {"live": {"new"}}) == {"live": "new"}
    for step in (partial(migration.switch, "live"), partial(migration.cleanup, confirm=lambda _: True)):
        with pytest.raises(MigrationError, match=r"1 point only in 'docs' \(999\)"):
            step()
    assert remote.retrieve("docs", [999])


def test_a_cleanup_that_was_killed_is_gone_on_with_elsewhere_and_leaves_nothing(
    engine: EngineServer, remote: QdrantClient
) -> None:
    planned(remote, "fitted").run()
    stand_for(remote, "live", "new")
    second = Migration.plan(remote, "live", "newer", fde=MUVERA, retry=FAST)
    second.run()
    assert second.verify(queries=3).passed
    second.switch("live")
    engine.fault = first(("DELETE", "/collections/new__fde"), failing(500), 3)
    assert attempts_of(lambda: second.cleanup(confirm=lambda _: True)) == 3
    assert remote.collection_exists("new__fde")
    assert not remote.collection_exists("new")
    assert Migration.resume(remote, "newer").cleanup(confirm=lambda _: True) == "new"
    assert not remote.collection_exists("new__fde")


def test_no_write_through_an_alias_is_lost_while_it_is_switched(engine: EngineServer, remote: QdrantClient) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    writer, over = on_server(engine.port), threading.Event()
    acknowledged: list[int] = []
    errors: list[Exception] = []

    def write() -> None:
        try:
            while not over.is_set():
                number = len(acknowledged)
                writer.upsert("live", [text(1_000 + number, f"note {number}"), text(1, f"version {number}")])
                acknowledged.append(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread is to know
            errors.append(error)

    def wait_for_more() -> None:
        wanted = len(acknowledged) + 5
        for _ in range(2_000):
            if len(acknowledged) >= wanted or errors:
                return
            threading.Event().wait(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for_more()
        migration.switch("live")
        wait_for_more()
    finally:
        over.set()
        thread.join()
        writer.close()
    assert errors == []
    after = contents(remote, "live")
    assert set(after) >= {1_000 + number for number in acknowledged}
    assert after[1][0]["document"] == f"version {acknowledged[-1]}"
    assert migration.cleanup(confirm=lambda _: True) == "docs"
