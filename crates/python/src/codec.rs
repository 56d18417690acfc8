//! Python operators on the wire between driver and executors.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::physical_plan::{DefaultPhysicalExtensionCodec, PhysicalExtensionCodec};
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;
use pyrite_proto::core::PythonFunction;

use crate::errors::{external, internal};
use crate::{
    EvalType, PythonArg, PythonEvalExec, PythonGroupMapExec, PythonMapBatchesExec, PythonMapExec,
    PythonUdf, PythonUdfCall,
};

/// Messages of this codec; nothing else reads them.
mod message {
    use std::collections::BTreeMap;

    use pyrite_proto::core::PythonFunction;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Operator {
        #[prost(int64, tag = "1")]
        pub(super) job_id: i64,
        #[prost(int64, tag = "2")]
        pub(super) operator_id: i64,
        #[prost(enumeration = "Kind", tag = "3")]
        pub(super) kind: i32,
        /// Of a function over frames.
        #[prost(message, optional, tag = "4")]
        pub(super) function: Option<PythonFunction>,
        #[prost(message, repeated, tag = "5")]
        pub(super) calls: Vec<Call>,
        #[prost(btree_map = "string, string", tag = "6")]
        pub(super) conf: BTreeMap<String, String>,
        /// Arrow IPC stream without batches, of operators with a schema of their own.
        #[prost(bytes = "vec", tag = "7")]
        pub(super) schema: Vec<u8>,
        /// `PhysicalExprNode`s.
        #[prost(bytes = "vec", repeated, tag = "8")]
        pub(super) keys: Vec<Vec<u8>>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
    #[repr(i32)]
    pub(super) enum Kind {
        Unknown = 0,
        Map = 1,
        Eval = 2,
        MapBatches = 3,
        GroupMap = 4,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Call {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) function: Option<PythonFunction>,
        #[prost(int32, tag = "3")]
        pub(super) eval_type: i32,
        /// Arrow IPC stream of one column.
        #[prost(bytes = "vec", tag = "4")]
        pub(super) return_type: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) return_type_json: String,
        #[prost(message, repeated, tag = "6")]
        pub(super) args: Vec<Arg>,
        #[prost(string, tag = "7")]
        pub(super) output_name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Arg {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) expr: Vec<u8>,
        #[prost(string, optional, tag = "2")]
        pub(super) name: Option<String>,
    }
}

use message::{Kind, Operator};

/// Serialises an operator of this crate; `None` for any other.
///
/// Functions inside argument expressions are written by name; see [`try_encode_with`] for a
/// codec that knows more.
///
/// # Errors
/// When an expression cannot be serialised.
pub fn try_encode(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
    try_encode_with(node, &DefaultPhysicalExtensionCodec {})
}

/// Serialises an operator of this crate with `codec` for its expressions; `None` for any other.
///
/// # Errors
/// When an expression cannot be serialised.
pub fn try_encode_with(
    node: &Arc<dyn ExecutionPlan>,
    codec: &dyn PhysicalExtensionCodec,
) -> Result<Option<Vec<u8>>> {
    let operator = if let Some(map) = node.downcast_ref::<PythonMapExec>() {
        Operator {
            function: Some(map.function().clone()),
            ..operator(Kind::Map, map.job_id(), map.operator_id())
        }
    } else if let Some(eval) = node.downcast_ref::<PythonEvalExec>() {
        Operator {
            calls: encode_calls(eval.calls(), codec)?,
            conf: eval.conf().clone(),
            ..operator(Kind::Eval, eval.job_id(), eval.operator_id())
        }
    } else if let Some(map) = node.downcast_ref::<PythonMapBatchesExec>() {
        Operator {
            calls: vec![encode_udf(map.udf())?],
            conf: map.conf().clone(),
            schema: encode_schema(&map.schema())?,
            ..operator(Kind::MapBatches, map.job_id(), map.operator_id())
        }
    } else if let Some(group) = node.downcast_ref::<PythonGroupMapExec>() {
        let keys = group.keys().iter().map(|key| encode_expr(key, codec));
        Operator {
            calls: encode_calls(group.calls(), codec)?,
            conf: group.conf().clone(),
            schema: encode_schema(&group.schema())?,
            keys: keys.collect::<Result<_>>()?,
            ..operator(Kind::GroupMap, group.job_id(), group.operator_id())
        }
    } else {
        return Ok(None);
    };
    Ok(Some(operator.encode_to_vec()))
}

/// Rebuilds an operator over `inputs` from the bytes of [`try_encode`].
///
/// # Errors
/// When the bytes are not those of an operator of this crate.
pub fn try_decode(
    bytes: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &TaskContext,
    codec: &dyn PhysicalExtensionCodec,
) -> Result<Arc<dyn ExecutionPlan>> {
    let operator = Operator::decode(bytes).map_err(|e| malformed(&e.to_string()))?;
    let [input] = inputs else {
        return Err(malformed("a Python operator has one input"));
    };
    let schema = input.schema();
    let decoder = Decoder {
        context,
        codec,
        schema: &schema,
    };
    let input = Arc::clone(input);
    let (job_id, operator_id) = (operator.job_id, operator.operator_id);
    Ok(match operator.kind() {
        Kind::Unknown => return Err(malformed("a Python operator of no kind")),
        Kind::Map => {
            let function = operator.function.ok_or_else(|| malformed("no function"))?;
            Arc::new(PythonMapExec::new(input, function, job_id, operator_id))
        }
        Kind::Eval => {
            let calls = decoder.calls(operator.calls)?;
            let conf = operator.conf;
            Arc::new(PythonEvalExec::try_new(
                input,
                calls,
                conf,
                job_id,
                operator_id,
            )?)
        }
        Kind::MapBatches => {
            let schema = decode_schema(&operator.schema)?;
            let mut calls = decoder.calls(operator.calls)?;
            let udf = calls.pop().ok_or_else(|| malformed("no function"))?.udf;
            let conf = operator.conf;
            Arc::new(PythonMapBatchesExec::new(
                input,
                udf,
                schema,
                conf,
                job_id,
                operator_id,
            ))
        }
        Kind::GroupMap => {
            let keys = operator.keys.iter().map(|key| decoder.expr(key));
            let keys = keys.collect::<Result<_>>()?;
            let calls = decoder.calls(operator.calls)?;
            let schema = decode_schema(&operator.schema)?;
            let conf = operator.conf;
            Arc::new(PythonGroupMapExec::new(
                input,
                keys,
                calls,
                schema,
                conf,
                job_id,
                operator_id,
            ))
        }
    })
}

fn operator(kind: Kind, job_id: i64, operator_id: i64) -> Operator {
    Operator {
        job_id,
        operator_id,
        kind: kind.into(),
        function: None,
        calls: Vec::new(),
        conf: BTreeMap::new(),
        schema: Vec::new(),
        keys: Vec::new(),
    }
}

fn malformed(what: &str) -> DataFusionError {
    external(internal(format!("cannot read a Python operator: {what}")))
}

fn encode_schema(schema: &SchemaRef) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    Ok(StreamReader::try_new(bytes, None)?.schema())
}

fn encode_expr(
    expr: &Arc<dyn PhysicalExpr>,
    codec: &dyn PhysicalExtensionCodec,
) -> Result<Vec<u8>> {
    Ok(serialize_physical_expr(expr, codec)?.encode_to_vec())
}

fn encode_calls(
    calls: &[PythonUdfCall],
    codec: &dyn PhysicalExtensionCodec,
) -> Result<Vec<message::Call>> {
    calls
        .iter()
        .map(|call| {
            let args = call.args.iter().map(|arg| {
                Ok(message::Arg {
                    expr: encode_expr(&arg.expr, codec)?,
                    name: arg.name.clone(),
                })
            });
            Ok(message::Call {
                args: args.collect::<Result<_>>()?,
                output_name: call.output_name.clone(),
                ..encode_udf(&call.udf)?
            })
        })
        .collect()
}

fn encode_udf(udf: &PythonUdf) -> Result<message::Call> {
    let field = Field::new("", udf.return_type.clone(), true);
    Ok(message::Call {
        name: udf.name.clone(),
        function: Some(udf.function.clone()),
        eval_type: udf.eval_type as i32,
        return_type: encode_schema(&Arc::new(Schema::new(vec![field])))?,
        return_type_json: udf.return_type_json.clone(),
        args: Vec::new(),
        output_name: String::new(),
    })
}

struct Decoder<'a> {
    context: &'a TaskContext,
    codec: &'a dyn PhysicalExtensionCodec,
    /// Of the operator's input.
    schema: &'a Schema,
}

impl Decoder<'_> {
    fn expr(&self, bytes: &[u8]) -> Result<Arc<dyn PhysicalExpr>> {
        let node = PhysicalExprNode::decode(bytes).map_err(|e| malformed(&e.to_string()))?;
        parse_physical_expr(&node, self.context, self.schema, self.codec)
    }

    fn calls(&self, calls: Vec<message::Call>) -> Result<Vec<PythonUdfCall>> {
        calls.into_iter().map(|call| self.call(call)).collect()
    }

    fn call(&self, call: message::Call) -> Result<PythonUdfCall> {
        let args = call.args.into_iter().map(|arg| {
            Ok(PythonArg {
                expr: self.expr(&arg.expr)?,
                name: arg.name,
            })
        });
        let function: PythonFunction = call.function.ok_or_else(|| malformed("no function"))?;
        let return_type = decode_schema(&call.return_type)?;
        let return_type: DataType = match return_type.fields().first() {
            Some(field) => field.data_type().clone(),
            None => return Err(malformed("no return type")),
        };
        Ok(PythonUdfCall {
            args: args.collect::<Result<_>>()?,
            output_name: call.output_name,
            udf: PythonUdf {
                name: call.name,
                function,
                eval_type: EvalType::try_from(call.eval_type).map_err(external)?,
                return_type,
                return_type_json: call.return_type_json,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_expr::expressions::col;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::frames::frame_schema;

    fn round_trip(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let bytes = try_encode(&plan)
            .unwrap()
            .expect("an operator of this crate");
        let inputs: Vec<_> = plan.children().into_iter().cloned().collect();
        let context = SessionContext::new().task_ctx();
        try_decode(&bytes, &inputs, &context, &DefaultPhysicalExtensionCodec {}).unwrap()
    }

    fn function() -> PythonFunction {
        PythonFunction {
            command: b"command".as_slice().into(),
            python_version: "3.11".into(),
            broadcast_ids: vec![4, 9],
            env: BTreeMap::from([("A".into(), "1".into())]),
            ..PythonFunction::default()
        }
    }

    fn call(eval_type: EvalType) -> PythonUdfCall {
        let schema = input().schema();
        PythonUdfCall {
            udf: PythonUdf {
                name: "f".into(),
                function: function(),
                eval_type,
                return_type: DataType::new_list(DataType::Decimal128(9, 2), true),
                return_type_json: "\"x\"".into(),
            },
            args: vec![
                PythonArg::positional(col("b", &schema).unwrap()),
                PythonArg {
                    expr: col("a", &schema).unwrap(),
                    name: Some("scale".into()),
                },
            ],
            output_name: "f(b)".into(),
        }
    }

    fn input() -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
        ]))))
    }

    #[test]
    fn a_map_over_frames_survives() {
        let input = Arc::new(EmptyExec::new(frame_schema()));
        let plan = round_trip(Arc::new(PythonMapExec::new(input, function(), 11, 5)));
        let map = plan.downcast_ref::<PythonMapExec>().unwrap();
        assert_eq!(map.function(), &function());
        assert_eq!((map.job_id(), map.operator_id()), (11, 5));
    }

    #[test]
    fn scalar_calls_survive() {
        let calls = vec![call(EvalType::Batched)];
        let conf = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let plan = PythonEvalExec::try_new(input(), calls.clone(), conf.clone(), 1, 2).unwrap();
        let plan = round_trip(Arc::new(plan));
        let eval = plan.downcast_ref::<PythonEvalExec>().unwrap();
        assert!(eval.calls() == calls.as_slice());
        assert_eq!(eval.conf(), &conf);
        assert_eq!(eval.schema().field(2).name(), "f(b)");
    }

    #[test]
    fn groups_and_batches_survive() {
        let schema = input().schema();
        let udf = call(EvalType::MapArrowIter).udf;
        let plan = PythonMapBatchesExec::new(
            input(),
            udf.clone(),
            Arc::clone(&schema),
            BTreeMap::new(),
            1,
            2,
        );
        let plan = round_trip(Arc::new(plan));
        let map = plan.downcast_ref::<PythonMapBatchesExec>().unwrap();
        assert_eq!((map.udf(), map.schema()), (&udf, Arc::clone(&schema)));

        let keys = vec![col("a", &schema).unwrap()];
        let calls = vec![call(EvalType::GroupedMapPandas)];
        let plan = PythonGroupMapExec::new(
            input(),
            keys,
            calls.clone(),
            Arc::clone(&schema),
            BTreeMap::new(),
            1,
            2,
        );
        let plan = round_trip(Arc::new(plan));
        let group = plan.downcast_ref::<PythonGroupMapExec>().unwrap();
        assert!(group.calls() == calls.as_slice());
        assert_eq!(group.keys()[0].to_string(), "a@0");
        assert_eq!(group.schema(), schema);
    }

    #[test]
    fn other_operators_are_not_ours() {
        assert_eq!(try_encode(&input()).unwrap(), None);
    }
}
