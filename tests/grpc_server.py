"""A stub of Qdrant's gRPC interface with one collection: keeps what it is sent, and fails as it is told to."""

# ruff: noqa: N802  a servicer's methods have the names of the protocol

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

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
        read_only: Whether everything that changes something is forbidden, as to a read-only key.
        failure: What everything is answered with, if with anything.
        heads, texts: What came: metadata and messages.
        most: The most bytes of a request that is not answered with `failure`, whatever that is for.
    """

    def __init__(self) -> None:
        self.port = 0
        self.upserts: list[messages.UpsertPoints] = []
        self.metadata: dict[str, Any] = {}
        self.created: messages.CreateCollection | None = None
        self.error: tuple[grpc.StatusCode, str] | None = None
        self.retry_after: str | None = None
        self.script: list[tuple[grpc.StatusCode, str, bool]] = []
        self.read_only = False
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.heads: list[dict[str, Any]] = []
        self.texts: list[bytes] = []
        self.most: int | None = None

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

    def Delete(self, request: Any, context: Any) -> Any:
        gone = {id.uuid for id in request.points.points.ids}
        for upsert in self.upserts:
            left = [point for point in upsert.points if point.id.uuid not in gone]
            del upsert.points[:]
            upsert.points.extend(left)
        return operation_done()

    def Scroll(self, request: Any, context: Any) -> Any:
        return messages.ScrollResponse()

    def HealthCheck(self, request: Any, context: Any) -> Any:
        return messages.HealthCheckReply(title="qdrant", version="1.20.0")

    def CollectionExists(self, request: Any, context: Any) -> Any:
        exists = self.created is not None and request.collection_name == self.created.collection_name
        return messages.CollectionExistsResponse(result=messages.CollectionExists(exists=exists))

    def Create(self, request: Any, context: Any) -> Any:
        self.created = request
        return messages.CollectionOperationResponse(result=True)

    def Count(self, request: Any, context: Any) -> Any:
        stored = {point.id.uuid for upsert in self.upserts for point in upsert.points}
        return messages.CountResponse(result=messages.CountResult(count=len(stored)))

    def Get(self, request: Any, context: Any) -> Any:
        """Both services have a method of this name: one fetches points, the other describes a collection."""
        if isinstance(request, messages.GetPoints):
            stored = {point.id.uuid: point for upsert in self.upserts for point in upsert.points}
            found = [stored[id.uuid] for id in request.ids if id.uuid in stored]
            points = [messages.RetrievedPoint(id=point.id, payload=point.payload) for point in found]
            return messages.GetResponse(result=points)
        assert self.created is not None
        config = messages.CollectionConfig(
            params=messages.CollectionParams(
                vectors_config=self.created.vectors_config,
                sparse_vectors_config=self.created.sparse_vectors_config,
                shard_number=1,
            ),
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


Stub = TypeVar("Stub", bound=Server)

READS = frozenset({"HealthCheck", "Scroll", "CollectionExists", "Get", "Count", "QueryBatch", "ListAliases"})


class Door(grpc.ServerInterceptor):
    """Sees every call before the server does, and may turn it away."""

    def __init__(self, service: Server) -> None:
        self.service = service

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        self.service.heads.append(dict(handler_call_details.invocation_metadata))
        refusal = self.service.failure
        if self.service.read_only and handler_call_details.method.rpartition("/")[2] not in READS:
            refusal = (grpc.StatusCode.PERMISSION_DENIED, "Forbidden: only read access")

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            self.service.texts.append(request.SerializeToString())
            is_small = self.service.most is not None and request.ByteSize() <= self.service.most
            if refusal is not None and not is_small:
                context.abort(*refusal)
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)


def operation_done() -> Any:
    result = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
    return messages.PointsOperationResponse(result=result)


@contextmanager
def serving(service: Stub, *, credentials: grpc.ServerCredentials | None = None) -> Iterator[Stub]:
    """Listen on a free port of this machine, with TLS if there are credentials."""
    options = [("grpc.max_receive_message_length", -1)]
    running = grpc.server(ThreadPoolExecutor(2), options=options, interceptors=[Door(service)])
    messages.add_PointsServicer_to_server(service, running)
    messages.add_CollectionsServicer_to_server(service, running)
    messages.add_QdrantServicer_to_server(service, running)
    service.port = (
        running.add_insecure_port("127.0.0.1:0")
        if credentials is None
        else running.add_secure_port("127.0.0.1:0", credentials)
    )
    running.start()
    try:
        yield service
    finally:
        running.stop(None).wait()


def connect(port: int, **options: Any) -> QdrantClient:
    """A client of it."""
    return QdrantClient(host="127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False, **options)
