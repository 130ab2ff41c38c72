"""A stub of Qdrant's gRPC interface with one collection: keeps what it is sent, and fails as it is told to."""

# ruff: noqa: N802  a servicer's methods have the names of the protocol

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from qdrant_client import QdrantClient
from qdrant_client import grpc as messages

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(messages.PointsServicer, messages.CollectionsServicer, messages.QdrantServicer):
    """Just enough of a server.

    Attributes:
        upserts: What was stored.
        error: What every write is answered with; else it is done.
        script: What single writes are answered with before that, and whether they are done all the same.
    """

    def __init__(self) -> None:
        self.port = 0
        self.upserts: list[messages.UpsertPoints] = []
        self.metadata: dict[str, Any] = {}
        self.created: messages.CreateCollection | None = None
        self.error: tuple[grpc.StatusCode, str] | None = None
        self.retry_after: str | None = None
        self.script: list[tuple[grpc.StatusCode, str, bool]] = []

    def Upsert(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.metadata = dict(context.invocation_metadata())
        if self.retry_after:
            context.set_trailing_metadata((("retry-after", self.retry_after),))
        if self.script:
            code, details, done = self.script.pop(0)
            if done:
                self.upserts.append(request)
            context.abort(code, details)
        if self.error:
            context.abort(*self.error)
        self.upserts.append(request)
        return operation_done()

    def QueryBatch(self, request: Any, context: Any) -> Any:
        return messages.QueryBatchResponse(result=[messages.BatchResult() for _ in request.query_points], time=0.125)

    def HealthCheck(self, request: Any, context: Any) -> Any:
        return messages.HealthCheckReply(title="qdrant", version="1.20.0")

    def CollectionExists(self, request: Any, context: Any) -> Any:
        exists = self.created is not None and request.collection_name == self.created.collection_name
        return messages.CollectionExistsResponse(result=messages.CollectionExists(exists=exists))

    def Create(self, request: Any, context: Any) -> Any:
        self.created = request
        return messages.CollectionOperationResponse(result=True)

    def Get(self, request: Any, context: Any) -> Any:
        assert self.created is not None
        config = messages.CollectionConfig(
            params=messages.CollectionParams(vectors_config=self.created.vectors_config, shard_number=1),
            hnsw_config=messages.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
            optimizer_config=messages.OptimizersConfigDiff(
                deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
            ),
            wal_config=messages.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
            metadata=self.created.metadata,
        )
        info = messages.CollectionInfo(
            status=messages.CollectionStatus.Green,
            optimizer_status=messages.OptimizerStatus(ok=True),
            segments_count=1,
            config=config,
        )
        return messages.GetCollectionInfoResponse(result=info)


def operation_done() -> Any:
    result = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
    return messages.PointsOperationResponse(result=result)


@contextmanager
def serving(service: Server) -> Iterator[Server]:
    """Listen on a free port of this machine."""
    running = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    messages.add_PointsServicer_to_server(service, running)
    messages.add_CollectionsServicer_to_server(service, running)
    messages.add_QdrantServicer_to_server(service, running)
    service.port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield service
    finally:
        running.stop(None).wait()


def connect(port: int, **options: Any) -> QdrantClient:
    """A client of it."""
    return QdrantClient(host="127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False, **options)
