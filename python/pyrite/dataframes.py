"""Where RDDs and DataFrames meet: Arrow streams in frames, converted inside Python workers."""

from functools import partial
from typing import Any, List, Optional

from google.protobuf.any_pb2 import Any as AnyMessage
from pyspark.errors import PySparkTypeError, PySparkValueError
from pyspark.serializers import NoOpSerializer
from pyspark.sql.connect import proto
from pyspark.sql.connect.client import SparkConnectClient
from pyspark.sql.connect.dataframe import DataFrame
from pyspark.sql.connect.plan import LogicalPlan
from pyspark.sql.connect.session import SparkSession
from pyspark.sql.connect.types import pyspark_types_to_proto_types
from pyspark.sql.types import (
    DataType,
    StructType,
    _create_converter,
    _has_nulltype,
    _infer_schema,
    _merge_type,
)

from pyrite import arrow, graph
from pyrite.graph import build_graph
from pyrite.rdd import RDD

_RELATION_TYPE = "type.googleapis.com/pyrite.core.RddRelation"
_DEFAULT_BATCH_ROWS = 10_000


class _RddPlan(LogicalPlan):
    """The rows of an RDD of Arrow streams."""

    def __init__(self, rdd: "RDD[bytes]", schema: StructType):
        super().__init__(None)
        self._rdd = rdd
        self._schema = schema
        self._encoded: Optional[bytes] = None

    def plan(self, session: SparkConnectClient) -> proto.Relation:
        if self._encoded is None:
            message = self._rdd.ctx._core.messages.RddRelation(
                schema=pyspark_types_to_proto_types(self._schema).SerializeToString()
            )
            build_graph(message.graph, self._rdd)
            self._encoded = message.SerializeToString()
        relation = self._create_proto_relation()
        relation.extension.CopyFrom(AnyMessage(type_url=_RELATION_TYPE, value=self._encoded))
        return relation

    def print(self, indent: int = 0) -> str:
        return f"{' ' * indent}<RddPlan rdd={self._rdd.id()}>\n"


def rows_of(df: Any) -> "RDD[Any]":
    """Return the RDD of a DataFrame's rows."""
    session = df._session
    base: RDD[Any] = RDD(
        graph.DataFrameRows(
            relation=df._plan.plan(session.client).SerializeToString(),
            session_id=session.session_id,
            user_id=session.client._user_id or "",
        ),
        session.sparkContext,
        NoOpSerializer(),
    )
    return base._apply(partial(arrow.rows_from_streams, df.schema))


def json_of(df: Any, use_unicode: bool) -> "RDD[Any]":
    """Return an RDD with each row as JSON text."""
    from pyspark.sql.connect.functions import builtin as functions

    text = df.select(functions.to_json(functions.struct(functions.col("*"))).alias("value"))
    lines = rows_of(text).map(arrow.only_value)
    return lines if use_unicode else lines.map(arrow.encode_text)


def from_rdd(
    session: SparkSession,
    rdd: "RDD[Any]",
    schema: Any,
    sampling_ratio: Optional[float],
    verify: bool,
) -> DataFrame:
    """Return a DataFrame of an RDD's rows.

    Without a schema, or with only names, the first row decides the types (or a sample, with a
    ratio), which runs a job.
    """
    if isinstance(schema, str):
        schema = session._parse_ddl(schema)
    elif isinstance(schema, (list, tuple)):
        schema = [name.decode("utf-8") if isinstance(name, bytes) else name for name in schema]
    single = isinstance(schema, DataType) and not isinstance(schema, StructType)
    if isinstance(schema, DataType):
        check = arrow.RowCheck(schema, single) if verify else None
        struct = StructType().add("value", schema) if single else schema
        convert = None
    elif schema is None or isinstance(schema, list):
        struct = _inferred(session, rdd, sampling_ratio, schema)
        check, convert = None, _create_converter(struct)
        for field, name in zip(struct.fields, schema or []):
            field.name = name
        struct.names = [field.name for field in struct.fields]
    else:
        raise PySparkTypeError(
            errorClass="NOT_EXPECTED_TYPE",
            messageParameters={
                "arg_name": "schema",
                "expected_type": "list, None or StructType",
                "arg_type": type(schema).__name__,
            },
        )
    streams = rdd._apply(
        partial(arrow.streams_from_rows, struct, check, convert, single, _DEFAULT_BATCH_ROWS),
        serializer=NoOpSerializer(),
    )
    df = DataFrame(_RddPlan(streams, struct), session)
    df._cached_schema = struct
    return df


def _inferred(
    session: SparkSession,
    rdd: "RDD[Any]",
    sampling_ratio: Optional[float],
    names: Optional[List[str]],
) -> StructType:
    infer = partial(_infer_schema, names=names, **_inference_settings(session))
    if sampling_ratio is not None:
        sampled = rdd.sample(False, float(sampling_ratio)) if sampling_ratio < 0.99 else rdd
        merged: StructType = sampled.map(infer).reduce(_merge_type)
        return merged
    first = rdd.first()
    if hasattr(first, "__len__") and len(first) == 0:
        raise PySparkValueError(errorClass="CANNOT_INFER_EMPTY_SCHEMA", messageParameters={})
    struct = infer(first)
    if not _has_nulltype(struct):
        return struct
    for row in rdd.take(100)[1:]:
        struct = _merge_type(struct, infer(row))
        if not _has_nulltype(struct):
            return struct
    raise PySparkValueError(errorClass="CANNOT_DETERMINE_TYPE", messageParameters={})


def _inference_settings(session: SparkSession) -> Any:
    keys = {
        "infer_dict_as_struct": "spark.sql.pyspark.inferNestedDictAsStruct.enabled",
        "infer_array_from_first_element": ("spark.sql.pyspark.legacy.inferArrayTypeFromFirstElement.enabled"),
        "infer_map_from_first_pair": "spark.sql.pyspark.legacy.inferMapTypeFromFirstPair.enabled",
    }
    values = session._client.get_config_dict(*keys.values(), "spark.sql.timestampType")
    settings = {name: values[key] == "true" for name, key in keys.items()}
    settings["prefer_timestamp_ntz"] = values["spark.sql.timestampType"] == "TIMESTAMP_NTZ"
    return settings
