//! The operators of this module as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use prost::Message;

use super::{RangeExec, RangeSpec, TextExec, WriteFilesExec, WriteSpec};

#[derive(Clone, PartialEq, Message)]
struct Operator {
    #[prost(oneof = "Kind", tags = "1, 2, 3")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Range(Range),
    #[prost(message, tag = "2")]
    Text(Text),
    #[prost(message, tag = "3")]
    Write(Write),
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(int64, tag = "3")]
    step: i64,
    #[prost(uint64, tag = "4")]
    partitions: u64,
    #[prost(bool, tag = "5")]
    with_id: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, repeated, tag = "1")]
    files: Vec<String>,
    #[prost(bool, tag = "2")]
    whole: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(string, tag = "1")]
    directory: String,
    #[prost(string, tag = "2")]
    write_id: String,
    #[prost(string, tag = "3")]
    format: String,
    #[prost(btree_map = "string, string", tag = "4")]
    options: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "5")]
    partition_by: Vec<String>,
    #[prost(string, tag = "6")]
    time_zone: String,
    #[prost(string, tag = "7")]
    schema_json: String,
}

/// Serialises an operator of this module; `None` for any other.
///
/// # Errors
/// None today; the signature is that of its fellows.
pub fn try_encode(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
    let kind = if let Some(range) = node.downcast_ref::<RangeExec>() {
        let RangeSpec {
            start,
            end,
            step,
            partitions,
        } = range.spec();
        Kind::Range(Range {
            start,
            end,
            step,
            partitions: partitions as u64,
            with_id: range.with_id(),
        })
    } else if let Some(text) = node.downcast_ref::<TextExec>() {
        Kind::Text(Text {
            files: text.files().to_vec(),
            whole: text.whole(),
        })
    } else if let Some(write) = node.downcast_ref::<WriteFilesExec>() {
        let spec = write.spec().clone();
        Kind::Write(Write {
            directory: spec.directory,
            write_id: spec.write_id,
            format: spec.format,
            options: spec.options,
            partition_by: spec.partition_by,
            time_zone: spec.time_zone,
            schema_json: spec.schema_json,
        })
    } else {
        return Ok(None);
    };
    Ok(Some(Operator { kind: Some(kind) }.encode_to_vec()))
}

/// Reads back what [`try_encode`] wrote.
///
/// # Errors
/// When the bytes are no operator, or the inputs are not as many as it needs.
pub fn try_decode(
    bytes: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let operator = match Operator::decode(bytes) {
        Ok(operator) => operator,
        Err(error) => return internal_err!("an operator is malformed: {error}"),
    };
    match (operator.kind, inputs) {
        (Some(Kind::Range(r)), []) => {
            let spec = RangeSpec {
                start: r.start,
                end: r.end,
                step: r.step,
                partitions: r.partitions as usize,
            };
            Ok(Arc::new(RangeExec::new(spec, r.with_id)))
        }
        (Some(Kind::Text(t)), []) => Ok(Arc::new(TextExec::new(t.files, t.whole))),
        (Some(Kind::Write(w)), [input]) => {
            let spec = WriteSpec {
                directory: w.directory,
                write_id: w.write_id,
                format: w.format,
                options: w.options,
                partition_by: w.partition_by,
                time_zone: w.time_zone,
                schema_json: w.schema_json,
            };
            Ok(Arc::new(WriteFilesExec::new(Arc::clone(input), spec)))
        }
        _ => internal_err!("an operator has the wrong number of inputs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_survive_the_wire() {
        let spec = RangeSpec {
            start: 1,
            end: 10,
            step: 3,
            partitions: 2,
        };
        let range: Arc<dyn ExecutionPlan> = Arc::new(RangeExec::new(spec, true));
        let bytes = try_encode(&range).unwrap().expect("a range is ours");
        let back = try_decode(&bytes, &[]).unwrap();
        assert_eq!(
            back.downcast_ref::<RangeExec>().map(RangeExec::spec),
            Some(spec)
        );
        let write = WriteSpec {
            directory: "/tmp/x".into(),
            write_id: "id".into(),
            format: "csv".into(),
            options: BTreeMap::from([("header".into(), "true".into())]),
            partition_by: vec!["id".into()],
            time_zone: "UTC".into(),
            schema_json: "{}".into(),
        };
        let node: Arc<dyn ExecutionPlan> = Arc::new(WriteFilesExec::new(range, write.clone()));
        let bytes = try_encode(&node).unwrap().expect("a write is ours");
        let back = try_decode(
            &bytes,
            node.children()
                .into_iter()
                .cloned()
                .collect::<Vec<_>>()
                .as_slice(),
        );
        assert_eq!(
            back.unwrap()
                .downcast_ref::<WriteFilesExec>()
                .map(|w| w.spec().clone()),
            Some(write)
        );
    }
}
