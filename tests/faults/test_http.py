"""Writes and searches over HTTP while the server fails: nothing is lost, nothing is stored twice, all ends in time."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import (
    AuthenticationError,
    ColbertCollection,
    CollectionConfig,
    CollectionNotFoundError,
    Document,
    MuveraConfig,
    RateLimitedError,
    RequestError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestTooLargeError,
    RetryConfig,
    ServerError,
    UnreachableError,
)
from colbert_qdrant.collection import writer
from colbert_qdrant.engines.runtime import BlockingRuntime
from colbert_qdrant.engines.transport import bound
from colbert_qdrant.points.ids import point_id
from colbert_qdrant.points.stamp import STAMP
from tests.encoders import WordEncoder, random_texts
from tests.faults.server import OK, Answer, FaultyServer, failing, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
QUICK = RetryConfig(attempts=4, first_wait=0.001, longest_wait=0.01, deadline=20)
DOCUMENTS = [Document(f"d{number}", text) for number, text in enumerate(random_texts(60))]
BRIEF = RetryConfig(attempts=2, first_wait=0.01, longest_wait=0.02, deadline=0.3)
GARBLED = Answer(stored=True, body=b'{"result": {"operation_id": 1, "stat')
NOT_JSON = Answer(stored=True, body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"})


@pytest.fixture
def docs(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> ColbertCollection:
    monkeypatch.setattr(writer, "MAX_BATCH_BYTES", 45_000)  # a handful of documents a request
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)


def replace_client(docs: ColbertCollection, client: QdrantClient, retry: RetryConfig = QUICK) -> None:
    """Have a collection that is open talk to another server."""
    engine: Any = docs._opened.engine
    engine.client, engine.retry = bound(client), retry


def assert_complete(server: FaultyServer, documents: list[Document]) -> None:
    """Every document is in the ledger; where it came more than once, it came the same under the same id."""
    assert set(server.ledger) == {point_id(document.id) for document in documents}
    for document in documents:
        bodies = server.ledger[str(point_id(document.id))]
        for body in bodies:  # one that follows another of unknown outcome says so
            body["payload"].pop(STAMP, None)
        assert all(body == bodies[0] for body in bodies)
        assert bodies[0]["payload"]["text"] == document.text


def _said(status: str) -> Answer:
    return replace(OK, body=OK.body.replace(b"completed", status.encode()))


PASSING: dict[str, list[Answer]] = {
    "nothing fails": [],
    "500 once": [failing(500)],
    "500 with a body nested deeply": [replace(failing(500), body=b"[" * 100_000)],
    "502 once": [failing(502)],
    "503 in a burst": [failing(503)] * 3,
    "503, every second time": [failing(503), OK, failing(503), OK, failing(503)],
    "504 after it was stored": [replace(failing(504), stored=True)],
    "408": [failing(408)],
    "429 that says when": [failing(429, Retry_After="0"), failing(429, Retry_After="0")],
    "429 that does not": [failing(429)] * 2,
    "429 that says a date": [failing(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")],
    "429 that says nonsense": [failing(429, Retry_After=when) for when in ("soon", "nan")],
    "429 that says a time gone by": [failing(429, Retry_After="-5")],
    "503 that says when": [failing(503, Retry_After="0")],
    "reset before the answer": [Answer(cut=0)],
    "reset in the status line": [Answer(body=OK.body, cut=5)],
    "reset in the headers": [Answer(body=OK.body, cut=30)],
    "reset in the body": [Answer(body=OK.body, cut=110)],
    "reset after it was stored": [Answer(stored=True, cut=0)],
    "resets in a burst": [Answer(cut=0)] * 3,
    "answer cut off": [GARBLED],
    "answer is no JSON": [NOT_JSON],
    "answer is nested deeply": [Answer(stored=True, body=b'{"result": ' + b"[" * 100_000)],
    "answer is empty": [Answer(stored=True, body=b"")],
    "taken, but not applied in time": [_said("acknowledged")],
    "the server stopped waiting": [_said("wait_timeout")] * 2,
    "answer is another's": [Answer(stored=True, body=b'{"pages": 3}')],
    "answer is late": [replace(OK, late=0.05)] * 4,
    "answer comes when nobody waits any more": [replace(OK, late=1.2), replace(OK, late=1.2)],
    "answer comes twice": [replace(OK, twice=True)] * 3,
    "answer calls itself text": [replace(OK, headers={"Content-Type": "text/plain"})],
    "one after another": [failing(500), Answer(cut=0), failing(429), OK, GARBLED, failing(503)],
}


@pytest.mark.parametrize("script", PASSING.values(), ids=PASSING)
def test_what_passes_is_sat_out(server: FaultyServer, docs: ColbertCollection, script: list[Answer]) -> None:
    server.script = list(script)
    report = docs.ingest(DOCUMENTS)
    assert (report.documents, report.rejected) == (60, ())
    assert server.script == []
    assert_complete(server, DOCUMENTS)


LASTING: dict[str, tuple[Answer, type[RequestError], str, int]] = {
    "500": (
        failing(500, "disk full"),
        ServerError,
        r"failed after 4 attempts: the server failed \(500: disk full\)",
        4,
    ),
    "503": (failing(503), ServerError, "after 4 attempts", 4),
    "429": (failing(429, "too fast", Retry_After="0"), RateLimitedError, r"overloaded \(too fast\)", 4),
    "garbled": (GARBLED, ServerError, "the response could not be read", 4),
    "401": (
        failing(401, "no key"),
        AuthenticationError,
        r"does not permit the request \(401: no key\); give the client a key",
        1,
    ),
    "403": (failing(403, "read-only"), AuthenticationError, "read-only", 1),
}


lasting = pytest.mark.parametrize(("answer", "error", "message", "attempts"), LASTING.values(), ids=LASTING)


@lasting
def test_what_lasts_is_an_error_that_says_so(
    server: FaultyServer,
    docs: ColbertCollection,
    answer: Answer,
    error: type[RequestError],
    message: str,
    attempts: int,
) -> None:
    docs.upsert(DOCUMENTS[:1])
    server.script, before = [answer] * 20, server.requests
    with pytest.raises(error, match=message) as caught:
        docs.ingest(DOCUMENTS[1:3])
    assert (caught.value.operation, caught.value.collection, caught.value.attempts) == ("upsert", "docs", attempts)
    assert server.requests - before == attempts
    server.script = []
    docs.ingest(DOCUMENTS[1:])
    assert_complete(server, DOCUMENTS)


@lasting
def test_searches_too(
    server: FaultyServer,
    docs: ColbertCollection,
    answer: Answer,
    error: type[RequestError],
    message: str,
    attempts: int,
) -> None:
    server.script = [answer] * 20
    with pytest.raises(error, match=message) as caught:
        docs.search("river")
    assert (caught.value.operation, server.requests) == ("search", attempts)
    server.script = [failing(503)] if attempts > 1 else []
    assert docs.search("river") == []


@pytest.mark.parametrize("operation", ["get", "count", "delete"])
def test_so_is_everything_else(server: FaultyServer, docs: ColbertCollection, operation: str) -> None:
    def call() -> Any:
        return docs.count() if operation == "count" else getattr(docs, operation)(ids="d1")

    server.script = [failing(503), Answer(cut=0), _about(operation)]
    assert call() == {"get": [], "count": 7, "delete": None}[operation]
    assert server.requests == 3
    server.script = [failing(401, "no key")]
    with pytest.raises(AuthenticationError, match=f"^{operation} in collection 'docs' failed: .*no key"):
        call()


def _about(operation: str) -> Answer:
    result = {"get": b"[]", "count": b'{"count": 7}', "delete": b'{"operation_id": 1, "status": "completed"}'}
    return Answer(body=b'{"result": %b, "status": "ok", "time": 0}' % result[operation])


def test_a_read_only_key_is_enough_to_open_and_search(server: FaultyServer, client: QdrantClient) -> None:
    ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG).ingest(DOCUMENTS)
    server.read_only = True
    docs = ColbertCollection.open_or_create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)
    assert docs.search("river") == []
    assert docs.get("d7") == [DOCUMENTS[7]]
    assert docs.count() == docs.info().documents == 60
    docs.check()
    docs.wait_until_ready(timeout=1)
    with pytest.raises(AuthenticationError, match="only read access"):
        docs.upsert(DOCUMENTS[:1])
    with pytest.raises(AuthenticationError, match="only read access"):
        docs.delete(ids="d1")


def test_a_collection_that_was_deleted_meanwhile(server: FaultyServer, docs: ColbertCollection) -> None:
    server.script = [failing(404, "Collection `docs` doesn't exist!")]
    with pytest.raises(CollectionNotFoundError, match="doesn't exist!"):
        docs.search("river")


@pytest.mark.parametrize("limit", [60_000, 20_000])
@pytest.mark.parametrize("status", [413, 400])
def test_what_is_too_large_is_sent_in_smaller_parts(
    server: FaultyServer, docs: ColbertCollection, limit: int, status: int
) -> None:
    said = failing(status, f"Payload error: JSON payload is larger than allowed (limit: {limit} bytes).")
    server.judge = lambda body, size: said if "points" in body and size > limit else None
    assert docs.ingest(DOCUMENTS).documents == 60
    assert_complete(server, DOCUMENTS)


@pytest.mark.parametrize("poison", [{7}, {0}, {59}, {3, 4, 40}])
@pytest.mark.parametrize("status", [400, 422])
def test_a_document_that_is_refused_does_not_take_others_with_it(
    server: FaultyServer, docs: ColbertCollection, poison: set[int], status: int
) -> None:
    ids = {point_id(f"d{number}") for number in poison}
    said = failing(status, "Format error: cannot index this")
    server.judge = lambda body, _: said if any(point["id"] in ids for point in body.get("points", [])) else None
    report = docs.ingest(DOCUMENTS)
    assert {each.id for each in report.rejected} == {f"d{number}" for number in poison}
    assert all("cannot index this" in each.reason for each in report.rejected)
    assert report.documents == 60 - len(poison)
    assert_complete(server, [document for number, document in enumerate(DOCUMENTS) if number not in poison])


def test_an_upsert_stores_the_others_and_names_those_refused(server: FaultyServer, docs: ColbertCollection) -> None:
    bad = point_id("d7")
    said = failing(400, "cannot index this")
    server.judge = lambda body, _: said if any(point["id"] == bad for point in body["points"]) else None
    with pytest.raises(
        RequestRefusedError,
        match=r"the server refused \d+ documents, and all others are stored(.|\n)*'d7': .*cannot index this",
    ):
        docs.upsert(DOCUMENTS)
    assert_complete(server, [document for document in DOCUMENTS if document.id != "d7"])


def test_documents_under_the_ids_of_points_are_named_as_they_were_given(
    server: FaultyServer, client: QdrantClient
) -> None:
    config = replace(CONFIG, id_scheme="native", text_key="meta.text")
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, retry=QUICK)
    ids: list[Any] = [5, UUID(int=7), UUID(int=8).hex, 6]
    bad = {5, str(UUID(int=7)), str(UUID(int=8))}
    said = failing(400, "cannot index this")
    server.judge = lambda body, _: said if any(point["id"] in bad for point in body.get("points", [])) else None
    report = docs.ingest([Document(id, f"river {number}") for number, id in enumerate(ids)][::-1])
    assert [each.id for each in report.rejected] == ids[2::-1]
    assert report.documents == 1
    (body,) = server.ledger.values()
    assert (body[0]["id"], body[0]["payload"]) == (6, {"meta": {"text": "river 3"}})


@pytest.mark.parametrize(("status", "error"), [(400, RequestRefusedError), (413, RequestTooLargeError)])
def test_where_everything_is_refused_it_is_not_about_documents(
    server: FaultyServer, docs: ColbertCollection, status: int, error: type[RequestError]
) -> None:
    server.judge = lambda body, size: failing(status, "Wrong input: Vector dimension error")
    with pytest.raises(error, match="Vector dimension error"):
        docs.ingest(DOCUMENTS)
    assert server.ledger == {}
    assert server.requests < 12  # not one for every document


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    with serving(FaultyServer()) as server:
        client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=1)
        retry = replace(QUICK, attempts=2)
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=retry)
        with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says anything
            hanging = QdrantClient(host="127.0.0.1", port=silent.getsockname()[1], check_compatibility=False, timeout=1)
            replace_client(docs, hanging)
            started = time.monotonic()
            with pytest.raises(RequestTimeoutError, match="did not answer in time"):
                docs.search("river")
            assert time.monotonic() - started < 10
            hanging.close()
        client.close()


def test_an_answer_that_never_ends_is_given_up_in_time(server: FaultyServer, client: QdrantClient) -> None:
    retry = replace(QUICK, deadline=0.5)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=retry)
    server.script = [Answer(trickles=True)] * 4  # each of its bytes comes well within the client's timeout
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError, match=r"in time \(.*within the deadline of 0\.5 s\); raise RetryConfig"):
        docs.upsert(DOCUMENTS[:1])
    assert time.monotonic() - started < 5
    server.script = []
    ColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=QUICK).upsert(DOCUMENTS)
    assert_complete(server, DOCUMENTS)


@pytest.mark.parametrize("version", ["1.20.0", "1.18.4", "1.10.0"])
def test_a_server_that_comes_back_as_another_version(
    server: FaultyServer, docs: ColbertCollection, version: str
) -> None:
    def documents() -> Iterator[Document]:
        yield from DOCUMENTS[:20]
        server.restart()
        server.version = version
        server.script = [failing(503)]
        yield from DOCUMENTS[20:]

    assert docs.ingest(documents()).documents == 60
    assert_complete(server, DOCUMENTS)
    assert docs.search("river") == []


def test_one_that_is_away_for_a_while(server: FaultyServer, client: QdrantClient) -> None:
    retry = RetryConfig(attempts=1_000, first_wait=0.01, longest_wait=0.02, deadline=20)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=retry)
    stopped = server.script = [Answer(cut=0)] * 30
    assert docs.ingest(DOCUMENTS).documents == 60
    assert stopped == []
    assert_complete(server, DOCUMENTS)


def test_broken_connections_are_no_attempts(server: FaultyServer, client: QdrantClient) -> None:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=BRIEF)
    server.script = [Answer(cut=0)] * 4 + [failing(503)] + [Answer(cut=0)] * 2
    docs.upsert(DOCUMENTS[:1])
    assert_complete(server, DOCUMENTS[:1])
    server.script = [Answer(cut=0)] * 1_000
    with pytest.raises(UnreachableError, match="could not be reached") as caught:
        docs.upsert(DOCUMENTS[:1])
    assert caught.value.attempts > BRIEF.attempts


def test_an_ingest_survives_a_restart_of_a_minute(server: FaultyServer, client: QdrantClient) -> None:
    """Time is not the clock's here: each wait of the retries moves it on."""
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    engine: Any = docs._opened.engine
    engine.runtime = clock = Clock(at=60, then=server.start)
    server.stop()
    assert docs.ingest(DOCUMENTS).documents == 60
    assert_complete(server, DOCUMENTS)
    assert 60 < clock.time < RetryConfig().deadline


def test_a_server_that_stays_away_is_given_up_at_the_deadline(server: FaultyServer, client: QdrantClient) -> None:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    engine: Any = docs._opened.engine
    engine.runtime = clock = Clock(at=math.inf, then=server.start)
    server.stop()
    with pytest.raises(UnreachableError, match="could not be reached"):
        docs.search("river")
    assert RetryConfig().deadline - 6 < clock.time < RetryConfig().deadline
    server.start()


class Clock(BlockingRuntime):
    """Waits take no time, but move it on; at some time something happens."""

    def __init__(self, *, at: float, then: Callable[[], None]) -> None:
        super().__init__()
        self.time = 0.0
        self._at, self._then = at, then

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.time > self._at:
            self._at = math.inf
            self._then()


def test_a_server_that_is_gone(client: QdrantClient, docs: ColbertCollection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = QdrantClient(host="127.0.0.1", port=port, check_compatibility=False, timeout=1)
    replace_client(docs, gone, BRIEF)
    with pytest.raises(UnreachableError, match=r"could not be reached .*check that the server is running"):
        docs.search("river")
    gone.close()


def test_a_name_that_nobody_has(docs: ColbertCollection) -> None:
    lost = QdrantClient(host="qdrant.invalid", check_compatibility=False, timeout=1)
    replace_client(docs, lost, BRIEF)
    with pytest.raises(UnreachableError, match=r"the server could not be reached"):
        docs.search("river")
    lost.close()


def test_tls_to_a_server_without_it(server: FaultyServer, docs: ColbertCollection) -> None:
    secure = QdrantClient(url=f"https://127.0.0.1:{server.port}", check_compatibility=False, timeout=1)
    replace_client(docs, secure)
    with pytest.raises(UnreachableError, match=r"use different protocols .*check https:// or http://"):
        docs.search("river")
    secure.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_a_certificate_that_nobody_vouches_for_is_not_tried_again(docs: ColbertCollection, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    with serving(FaultyServer(), certificate=certificate, key=key) as server:
        secure = QdrantClient(url=f"https://localhost:{server.port}", check_compatibility=False, timeout=5)
        replace_client(docs, secure)
        with pytest.raises(UnreachableError, match=r"certificate is not trusted .*pass the certificate auth") as caught:
            docs.search("river")
        assert caught.value.attempts == 1
        secure.close()


def test_nothing_is_tried_after_the_deadline(server: FaultyServer, client: QdrantClient) -> None:
    retry = RetryConfig(attempts=1_000, first_wait=0.05, longest_wait=0.05, deadline=1)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=retry)
    server.script = [failing(503)] * 1_000
    started = time.monotonic()
    with pytest.raises(ServerError):
        docs.search("river")
    assert time.monotonic() - started < 10
    assert 1 < server.requests < 1_000


def test_a_wait_that_the_server_asks_for_is_not_begun_if_it_ends_too_late(
    server: FaultyServer, docs: ColbertCollection
) -> None:
    server.script = [failing(429, Retry_After="3600")] * 5
    with pytest.raises(RateLimitedError) as caught:
        docs.search("river")
    assert (caught.value.retry_after, server.requests) == (3600, 1)


@pytest.mark.parametrize("arguments", [{"attempts": 0}, {"first_wait": -1}, {"deadline": float("nan")}])
def test_bad_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RetryConfig(**arguments)
