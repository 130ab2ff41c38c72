"""The gRPC interface of the stub server with any collections."""

# ruff: noqa: N802  a servicer's methods have the names of the protocol

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from tests.faults.engine import OF_SHARDS
from tests.grpc_server import Server, operation_done

if TYPE_CHECKING:
    from tests.faults.engine import EngineServer


class GrpcEngine(Server):
    """Answers from the collections of an `EngineServer`, to whose log requests are added by their names.

    Attributes:
        calls: Requests by their names.
        nodes: Where the shard of a collection is, and that of the companion of a fitted one.
    """

    def __init__(self, engine: EngineServer) -> None:
        super().__init__()
        self.engine = engine
        self.calls: list[tuple[str, Any]] = []
        self.nodes: tuple[set[int], set[int]] = ({2, 3}, {2})

    def CollectionExists(self, request: Any, context: Any) -> Any:
        exists = self.engine.local.collection_exists(request.collection_name)
        return messages.CollectionExistsResponse(result=messages.CollectionExists(exists=exists))

    def Create(self, request: Any, context: Any) -> Any:
        self.calls.append(("Create", request))
        body = models.CreateCollection(
            vectors=GrpcToRest.convert_vectors_config(request.vectors_config),
            sparse_vectors=GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config),
            **{name: getattr(request, name) for name in OF_SHARDS[:3] if request.HasField(name)},
            metadata=GrpcToRest.convert_payload(request.metadata),
        )
        return self._whole("PUT", request.collection_name, body.model_dump(mode="json", exclude_none=True))

    def Update(self, request: Any, context: Any) -> Any:
        self.calls.append(("Update", request))
        body: dict[str, Any] = {"metadata": GrpcToRest.convert_payload(request.metadata)}
        if request.HasField("strict_mode_config"):
            strict = GrpcToRest.convert_strict_mode_config(request.strict_mode_config)
            body["strict_mode_config"] = strict.model_dump(mode="json", exclude_none=True)
        self.engine.params[request.collection_name] |= {
            name: getattr(request.params, name) for name in OF_SHARDS[1:3] if request.params.HasField(name)
        }
        return self._whole("PATCH", request.collection_name, body)

    def Delete(self, request: Any, context: Any) -> Any:
        if isinstance(request, messages.DeletePoints):
            self.engine.local.delete(request.collection_name, GrpcToRest.convert_points_selector(request.points))
            return operation_done()
        return self._whole("DELETE", request.collection_name, {})

    def ListAliases(self, request: Any, context: Any) -> Any:
        aliases = [RestToGrpc.convert_alias_description(each) for each in self.engine.local.get_aliases().aliases]
        return messages.ListAliasesResponse(aliases=aliases)

    def UpdateAliases(self, request: Any, context: Any) -> Any:
        self.calls.append(("UpdateAliases", request))
        self.engine.local.update_collection_aliases(
            [GrpcToRest.convert_alias_operations(each) for each in request.actions]
        )
        return messages.CollectionOperationResponse(result=True)

    def Get(self, request: Any, context: Any) -> Any:
        if isinstance(request, messages.GetPoints):
            records = self.engine.local.retrieve(
                request.collection_name,
                [GrpcToRest.convert_point_id(each) for each in request.ids],
                GrpcToRest.convert_with_payload_selector(request.with_payload),
                GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            )
            return messages.GetResponse(result=[_record(each) for each in records])
        info = models.CollectionInfo(**self.engine.described(request.collection_name))
        return messages.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    def Upsert(self, request: Any, context: Any) -> Any:
        points = [GrpcToRest.convert_point_struct(each) for each in request.points]
        only = GrpcToRest.convert_filter(request.update_filter) if request.HasField("update_filter") else None
        self.calls.append(("Upsert", request))
        self.engine.local.upsert(request.collection_name, points, update_filter=only)
        return operation_done()

    def UpdateVectors(self, request: Any, context: Any) -> Any:
        points = [GrpcToRest.convert_point_vectors(each) for each in request.points]
        self.engine.local.update_vectors(request.collection_name, points)
        return operation_done()

    def DeleteVectors(self, request: Any, context: Any) -> Any:
        chosen = GrpcToRest.convert_points_selector(request.points_selector)
        self.engine.local.delete_vectors(request.collection_name, list(request.vectors.names), chosen)
        return operation_done()

    def SetPayload(self, request: Any, context: Any) -> Any:
        chosen = GrpcToRest.convert_points_selector(request.points_selector)
        payload = GrpcToRest.convert_payload(request.payload)
        key = request.key if request.HasField("key") else None
        self.engine.local.set_payload(request.collection_name, payload, chosen, key)
        return operation_done()

    def DeletePayload(self, request: Any, context: Any) -> Any:
        chosen = GrpcToRest.convert_points_selector(request.points_selector)
        self.engine.local.delete_payload(request.collection_name, list(request.keys), chosen)
        return operation_done()

    def CollectionClusterInfo(self, request: Any, context: Any) -> Any:
        nodes = self.nodes[request.collection_name.endswith("__fde")]
        remote = [
            messages.RemoteShardInfo(shard_id=0, peer_id=node, state=messages.ReplicaState.Active)
            for node in sorted(nodes)
        ]
        return messages.CollectionClusterInfoResponse(peer_id=1, shard_count=1, remote_shards=remote)

    def UpdateCollectionClusterSetup(self, request: Any, context: Any) -> Any:
        self.nodes[1].add(request.replicate_shard.to_peer_id)
        return messages.UpdateCollectionClusterSetupResponse(result=True)

    def CreateVectorName(self, request: Any, context: Any) -> Any:
        dense = request.dense_config
        multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        params = models.VectorParams(
            size=dense.size,
            distance=GrpcToRest.convert_distance(dense.distance),
            multivector_config=multi if dense.HasField("multivector_config") else None,
        )
        body = {"dense": params.model_dump(mode="json", exclude_none=True)}
        self.engine.of_vector("PUT", request.collection_name, request.vector_name, body)
        return operation_done()

    def DeleteVectorName(self, request: Any, context: Any) -> Any:
        self.engine.of_vector("DELETE", request.collection_name, request.vector_name, {})
        return operation_done()

    def Scroll(self, request: Any, context: Any) -> Any:
        records, following = self.engine.local.scroll(
            request.collection_name,
            GrpcToRest.convert_filter(request.filter),
            request.limit,
            None,
            GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
            GrpcToRest.convert_with_payload_selector(request.with_payload),
            GrpcToRest.convert_with_vectors_selector(request.with_vectors),
        )
        return messages.ScrollResponse(
            result=[_record(each) for each in records],
            next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following),
        )

    def Count(self, request: Any, context: Any) -> Any:
        chosen = GrpcToRest.convert_filter(request.filter)
        count = self.engine.local.count(request.collection_name, chosen)
        return messages.CountResponse(result=RestToGrpc.convert_count_result(count))

    def QueryBatch(self, request: Any, context: Any) -> Any:
        searches = [GrpcToRest.convert_query_points(each) for each in request.query_points]
        found = self.engine.local.query_batch_points(request.collection_name, searches)
        results = [
            messages.BatchResult(result=[RestToGrpc.convert_scored_point(_whole(hit)) for hit in each.points])
            for each in found
        ]
        return messages.QueryBatchResponse(result=results)

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:
        self.calls.append(("CreateFieldIndex", request))
        kind = messages.FieldType.Name(request.field_type).removeprefix("FieldType").lower()
        self.engine.indexes[request.collection_name][request.field_name] = kind
        return operation_done()

    def _whole(self, method: str, name: str, body: dict[str, Any]) -> Any:
        self.engine.of_collection(method, name, body)
        return messages.CollectionOperationResponse(result=True)


def _record(record: models.Record) -> Any:
    return RestToGrpc.convert_record(_whole(record))


def _whole(point: Any) -> Any:
    return point if point.payload is not None else point.model_copy(update={"payload": {}})
