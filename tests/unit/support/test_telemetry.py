"""What can be watched: spans, log records, and where the time of a search went. Never what is in a document."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    Document,
    MuveraConfig,
    RetryConfig,
    ServerError,
)
from colbert_qdrant.engines.server import RestEngine
from tests.encoders import WordEncoder
from tests.faults.server import Answer, FaultyServer, failing
from tests.grpc_server import Server, connect
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
QUICK = RetryConfig(attempts=2, first_wait=0.001, longest_wait=0.01)
SECRETS = ("confidential", "sesame", "privately")
DOCUMENT = Document("d1", "confidential river", {"note": "privately"})


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def docs(server: FaultyServer) -> Iterator[ColbertCollection]:
    url = f"http://127.0.0.1:{server.port}"
    client = QdrantClient(url, api_key="sesame", check_compatibility=False)
    yield ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)
    client.close()


def finished(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    spans = list(exporter.get_finished_spans())
    exporter.clear()
    return spans


pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"url": "http://user:sesame@qdrant.example.org:6333/path"}, ("qdrant.example.org", 6333)),
        ({"url": "https://qdrant.example.org", "prefer_grpc": True}, ("qdrant.example.org", 6334)),
        ({"url": "localhost:1234"}, ("localhost", 1234)),
        ({"location": "qdrant.example.org"}, ("qdrant.example.org", 6333)),
        ({"host": "::1", "prefer_grpc": True}, ("::1", 6334)),
        ({"host": "[::1]", "port": 1}, ("::1", 1)),
        ({}, ("localhost", 6333)),
    ],
)
def test_a_server_has_an_address_however_it_is_given(given: dict[str, Any], address: tuple[str, int]) -> None:
    client = QdrantClient(**given, check_compatibility=False)
    assert RestEngine(client).address == address
    client.close()


def test_a_search_is_a_span_with_its_request_in_it(
    exporter: InMemorySpanExporter, server: FaultyServer, docs: ColbertCollection
) -> None:
    finished(exporter)
    server.script = [failing(503)]
    docs.search("confidential river", limit=3)
    request, search = finished(exporter)
    assert (request.name, request.kind) == ("search docs", trace.SpanKind.CLIENT)
    assert request.parent is not None
    assert request.parent.span_id == search.context.span_id
    assert dict(request.attributes or {}) == {
        "db.system.name": "qdrant",
        "db.operation.name": "search",
        "db.collection.name": "docs",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "colbert_qdrant.attempts": 2,
    }
    assert (search.name, search.kind) == ("colbert_qdrant.search", trace.SpanKind.INTERNAL)
    attributes = dict(search.attributes or {})
    assert attributes == {f"colbert_qdrant.{key}": value for key, value in _search_attributes().items()}


def _search_attributes() -> dict[str, Any]:
    return {"mode": "two-stage", "queries": 1, "limit": 3}


def test_a_failure_is_its_class_and_not_what_the_server_says(
    exporter: InMemorySpanExporter, server: FaultyServer, docs: ColbertCollection
) -> None:
    finished(exporter)
    server.script = [failing(500, "cannot index confidential")] * 2
    with pytest.raises(ServerError):
        docs.upsert([DOCUMENT])
    *_, request, upsert = finished(exporter)
    for span in (request, upsert):
        assert span.status.status_code == trace.StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "ServerError"
    assert (request.attributes or {})["colbert_qdrant.attempts"] == 2


def test_nothing_of_a_document_is_in_a_span_or_a_record(
    exporter: InMemorySpanExporter, docs: ColbertCollection, caplog: pytest.LogCaptureFixture
) -> None:
    finished(exporter)
    with caplog.at_level(logging.DEBUG, logger="colbert_qdrant"):
        docs.upsert([DOCUMENT])
        docs.ingest([DOCUMENT])
        docs.search(DOCUMENT.text)
    shown = [span.to_json() for span in finished(exporter)]
    shown += [json.dumps(vars(record), default=repr) for record in caplog.records]
    assert len(shown) > 8
    assert not [text for text in shown for secret in SECRETS if secret in text]


def test_tasks_keep_their_spans_apart(exporter: InMemorySpanExporter, server: FaultyServer) -> None:
    async def search() -> None:
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        exporter.clear()
        await asyncio.gather(*(docs.search(f"river {number}") for number in range(3)))
        await client.close()

    asyncio.run(search())
    spans = finished(exporter)
    searches = {span.context.span_id for span in spans if span.name == "colbert_qdrant.search"}
    assert {span.parent.span_id for span in spans if span.name == "search docs" and span.parent} == searches
    assert len(searches) == 3


def test_without_opentelemetry_nothing_is_missing() -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from colbert_qdrant._support import telemetry\n"
        "with telemetry.operation('search'), telemetry.request('search', 'docs', None) as attributes:\n"
        "    attributes['a'] = 1\n"
        "print('opentelemetry.trace' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_records_have_fields(server: FaultyServer, docs: ColbertCollection, caplog: pytest.LogCaptureFixture) -> None:
    server.script = [failing(503, "busy")]
    with caplog.at_level(logging.DEBUG, logger="colbert_qdrant"):
        docs.count()
    failed, done = (vars(record) for record in caplog.records)
    assert (failed["levelname"], failed["operation"], failed["collection"]) == ("WARNING", "count", "docs")
    assert (failed["attempt"], failed["fault"]) == (1, "503: busy")
    assert (done["levelname"], done["operation"], done["attempts"]) == ("DEBUG", "count", 2)
    assert done["seconds"] > 0


def test_the_timings_of_a_search(server: FaultyServer, docs: ColbertCollection) -> None:
    server.script = [Answer(body=b'{"result": [{"points": []}, {"points": []}], "status": "ok", "time": 0.25}')]
    both = docs.search_batch(["river", "stone"], timings=True)
    for hits in both:
        assert hits == []
        assert hits.timings is not None
        assert hits.timings.server == 0.25
        assert min(hits.timings.encode, hits.timings.fde, hits.timings.request) > 0
    assert docs.search("river").timings is None


def test_the_timings_of_a_search_over_grpc() -> None:
    with serving_grpc(Server()) as server:
        client = connect(server.port)
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        timings = docs.search("river", timings=True).timings
        assert timings is not None
        assert timings.server == 0.125
        client.close()


def test_an_embedded_engine_does_not_say_how_long_it_worked() -> None:
    docs = ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=WordEncoder(), config=CONFIG)
    docs.upsert([DOCUMENT])
    hits = docs.search("river", timings=True)
    assert [hit.id for hit in hits] == ["d1"]
    assert hits.timings is not None
    assert hits.timings.server is None
