"""The little of Spark Connect that sessions of the fake driver need: settings, schemas, RDDs as relations."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyspark.sql.connect.proto as pb
from pyspark.sql.connect.proto import base_pb2_grpc
from pyspark.sql.connect.types import pyspark_types_to_proto_types
from pyspark.sql.types import _parse_datatype_json_string

DEFAULTS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.sql.session.localRelationCacheThreshold": str(1 << 30),
    "spark.sql.session.localRelationSizeLimit": str(1 << 30),
    "spark.sql.session.localRelationChunkSizeRows": "10000",
    "spark.sql.session.localRelationChunkSizeBytes": str(1 << 24),
    "spark.sql.session.localRelationBatchOfChunksSizeBytes": str(1 << 29),
    "spark.connect.session.planCompression.threshold": "-1",
    "spark.connect.session.planCompression.defaultAlgorithm": "NONE",
    "spark.sql.pyspark.plotting.max_rows": "1000",
}


class Connect(base_pb2_grpc.SparkConnectServiceServicer):
    """``spark.connect.SparkConnectService`` over the RDD engine of the fake driver."""

    def __init__(self, service: Any, conf: dict[str, str]):
        self.service = service
        self.conf = conf

    def streams(self, relation: Any) -> list[list[bytes]]:
        """Return the Arrow streams of each partition of a relation."""
        kind = relation.WhichOneof("rel_type")
        if kind == "local_relation":
            return [[relation.local_relation.data]]
        assert kind == "extension", kind
        assert relation.extension.type_url.endswith("/pyrite.core.RddRelation")
        message = self.service.messages.RddRelation.FromString(relation.extension.value)
        with self.service.lock:
            return self.service.engine.run(message.graph)

    def schema(self, relation: Any) -> Any:
        if relation.WhichOneof("rel_type") == "extension":
            message = self.service.messages.RddRelation.FromString(relation.extension.value)
            return pb.DataType.FromString(message.schema)
        return pyspark_types_to_proto_types(_parse_datatype_json_string(relation.local_relation.schema))

    def Config(self, request: Any, context: Any) -> Any:
        self.service.check(context)
        response = pb.ConfigResponse(session_id=request.session_id, server_side_session_id="fake")
        operation = request.operation
        kind = operation.WhichOneof("op_type")
        if kind == "set":
            self.conf.update((pair.key, pair.value) for pair in operation.set.pairs)
            return response
        pairs = operation.get_with_default.pairs if kind == "get_with_default" else []
        for key in [pair.key for pair in pairs] or getattr(operation, kind).keys:
            value = self.conf.get(key, DEFAULTS.get(key, "false"))
            response.pairs.add(key=key, value=value)
        return response

    def AnalyzePlan(self, request: Any, context: Any) -> Any:
        self.service.check(context)
        response = pb.AnalyzePlanResponse(session_id=request.session_id, server_side_session_id="fake")
        if request.WhichOneof("analyze") == "spark_version":
            response.spark_version.version = "4.2.0"
        else:
            response.schema.schema.CopyFrom(self.schema(request.schema.plan.root))
        return response

    def ExecutePlan(self, request: Any, context: Any) -> Iterator[Any]:
        self.service.check(context)
        if "die" in request.tags:
            os._exit(9)
        common = {
            "session_id": request.session_id,
            "server_side_session_id": "fake",
            "operation_id": request.operation_id or str(uuid.uuid4()),
        }
        relation = request.plan.root
        start = 0
        for stream in [s for partition in self.streams(relation) for s in partition]:
            rows = pa.ipc.open_stream(stream).read_all().num_rows
            batch = pb.ExecutePlanResponse.ArrowBatch(row_count=rows, data=stream, start_offset=start)
            start += rows
            yield pb.ExecutePlanResponse(arrow_batch=batch, response_id=str(uuid.uuid4()), **common)
        yield pb.ExecutePlanResponse(schema=self.schema(relation), response_id=str(uuid.uuid4()), **common)
        yield pb.ExecutePlanResponse(
            result_complete=pb.ExecutePlanResponse.ResultComplete(), response_id=str(uuid.uuid4()), **common
        )

    def ReleaseExecute(self, request: Any, context: Any) -> Any:
        return pb.ReleaseExecuteResponse(session_id=request.session_id, operation_id=request.operation_id)

    def ReleaseSession(self, request: Any, context: Any) -> Any:
        return pb.ReleaseSessionResponse(session_id=request.session_id)
