//! The operators of this crate on the wire between driver and executors.
//!
//! Partition tables travel as what they are, in-memory sources; so these messages hold only
//! what an operator knows beside its inputs.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use datafusion_proto::protobuf;
use prost::Message;
use pyrite_proto::core::StorageLevel;

use crate::errors::internal;
use crate::operators::{
    CartesianExec, DecodeArrowFramesExec, EncodeArrowFramesExec, LostRowsExec, NumberedExec,
    ParallelCollectionExec, PartitionGroupsExec, PersistExec, ShuffleFramesExec, ShuffleKeyExec,
    TextFileExec, WriteTextFileExec, ZipExec, take_children,
};
use crate::text_input::Compression;

#[derive(Clone, PartialEq, Message)]
struct Operator {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    ParallelCollection(()),
    #[prost(message, tag = "2")]
    TextFile(()),
    #[prost(message, tag = "3")]
    PartitionGroups(()),
    #[prost(message, tag = "4")]
    Numbered(()),
    #[prost(message, tag = "5")]
    ShuffleKey(ShuffleKey),
    #[prost(message, tag = "6")]
    ShuffleFrames(()),
    #[prost(message, tag = "7")]
    Zip(()),
    #[prost(message, tag = "8")]
    Cartesian(()),
    #[prost(message, tag = "9")]
    Persist(Persist),
    #[prost(message, tag = "10")]
    WriteText(WriteText),
    #[prost(message, tag = "11")]
    EncodeArrow(()),
    #[prost(message, tag = "12")]
    DecodeArrow(DecodeArrow),
    #[prost(message, tag = "13")]
    LostRows(LostRows),
}

#[derive(Clone, PartialEq, Message)]
struct ShuffleKey {
    #[prost(uint64, tag = "1")]
    num_partitions: u64,
    #[prost(int64, tag = "2")]
    rdd_id: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Persist {
    #[prost(int64, tag = "1")]
    rdd_id: i64,
    #[prost(message, optional, tag = "2")]
    level: Option<StorageLevel>,
}

#[derive(Clone, PartialEq, Message)]
struct LostRows {
    #[prost(message, optional, tag = "1")]
    schema: Option<protobuf::Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct WriteText {
    #[prost(string, tag = "1")]
    attempts: String,
    #[prost(enumeration = "TextCompression", tag = "2")]
    compression: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum TextCompression {
    None = 0,
    Gzip = 1,
    Bzip2 = 2,
    Zstd = 3,
    Deflate = 4,
}

#[derive(Clone, PartialEq, Message)]
struct DecodeArrow {
    #[prost(message, optional, tag = "1")]
    schema: Option<protobuf::Schema>,
    #[prost(message, optional, tag = "2")]
    projection: Option<Projection>,
}

#[derive(Clone, PartialEq, Message)]
struct Projection {
    #[prost(uint64, repeated, tag = "1")]
    columns: Vec<u64>,
}

/// Serialises an operator of this crate; `None` for any other.
///
/// # Errors
/// When the operator cannot leave its process.
pub fn try_encode(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
    Ok(kind_of(node)?.map(|kind| Operator { kind: Some(kind) }.encode_to_vec()))
}

fn kind_of(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Kind>> {
    let kind = if node.is::<ParallelCollectionExec>() {
        Kind::ParallelCollection(())
    } else if node.is::<TextFileExec>() {
        Kind::TextFile(())
    } else if node.is::<PartitionGroupsExec>() {
        Kind::PartitionGroups(())
    } else if node.is::<NumberedExec>() {
        Kind::Numbered(())
    } else if let Some(key) = node.downcast_ref::<ShuffleKeyExec>() {
        Kind::ShuffleKey(ShuffleKey {
            num_partitions: key.num_partitions() as u64,
            rdd_id: key.rdd_id(),
        })
    } else if node.is::<ShuffleFramesExec>() {
        Kind::ShuffleFrames(())
    } else if node.is::<ZipExec>() {
        Kind::Zip(())
    } else if node.is::<CartesianExec>() {
        Kind::Cartesian(())
    } else if let Some(persist) = node.downcast_ref::<PersistExec>() {
        Kind::Persist(Persist {
            rdd_id: persist.rdd_id(),
            level: Some(*persist.level()),
        })
    } else if let Some(write) = node.downcast_ref::<WriteTextFileExec>() {
        Kind::WriteText(WriteText {
            attempts: write.attempts().to_string_lossy().into_owned(),
            compression: wire_compression(write.compression()).into(),
        })
    } else if node.is::<EncodeArrowFramesExec>() {
        Kind::EncodeArrow(())
    } else if let Some(decode) = node.downcast_ref::<DecodeArrowFramesExec>() {
        Kind::DecodeArrow(DecodeArrow {
            schema: Some(decode.frame_content().as_ref().try_into()?),
            projection: decode.projection().map(|columns| Projection {
                columns: columns.iter().map(|&c| c as u64).collect(),
            }),
        })
    } else if node.is::<LostRowsExec>() {
        Kind::LostRows(LostRows {
            schema: Some(node.schema().as_ref().try_into()?),
        })
    } else if node.is::<crate::RddScanExec>()
        || node.is::<crate::InMemoryTableScanExec>()
        || node.is::<crate::operators::LocalShuffleExec>()
    {
        return Err(internal(format!(
            "{} cannot leave its process",
            node.name()
        )));
    } else {
        return Ok(None);
    };
    Ok(Some(kind))
}

/// Rebuilds an operator over `inputs` from the bytes of [`try_encode`].
///
/// # Errors
/// When the bytes are not those of an operator of this crate.
pub fn try_decode(
    bytes: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
    _context: &TaskContext,
    _codec: &dyn PhysicalExtensionCodec,
) -> Result<Arc<dyn ExecutionPlan>> {
    let operator = Operator::decode(bytes)
        .map_err(|e| internal(format!("not an operator of an RDD plan: {e}")))?;
    let kind = operator
        .kind
        .ok_or_else(|| internal("an operator of an RDD plan that this version lacks"))?;
    rebuild(kind, inputs.to_vec())
}

fn rebuild(kind: Kind, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    fn one(inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        take_children::<1>("an operator on the wire", inputs).map(|[input]| input)
    }
    fn two(inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<[Arc<dyn ExecutionPlan>; 2]> {
        take_children::<2>("an operator on the wire", inputs)
    }
    Ok(match kind {
        Kind::ParallelCollection(()) => Arc::new(ParallelCollectionExec::with_table(one(inputs)?)),
        Kind::TextFile(()) => Arc::new(TextFileExec::with_table(one(inputs)?)),
        Kind::PartitionGroups(()) => {
            let [input, table] = two(inputs)?;
            Arc::new(PartitionGroupsExec::with_table(input, table))
        }
        Kind::Numbered(()) => {
            let [input, table] = two(inputs)?;
            Arc::new(NumberedExec::with_table(input, table))
        }
        Kind::ShuffleKey(key) => {
            let partitions = size(key.num_partitions)?;
            Arc::new(ShuffleKeyExec::new(one(inputs)?, partitions, key.rdd_id))
        }
        Kind::ShuffleFrames(()) => Arc::new(ShuffleFramesExec::new(one(inputs)?)),
        Kind::Zip(()) => {
            let [left, right] = two(inputs)?;
            Arc::new(ZipExec::unchecked(left, right))
        }
        Kind::Cartesian(()) => {
            let [left, right, table] = take_children("CartesianExec", inputs)?;
            Arc::new(CartesianExec::with_table(left, right, table))
        }
        Kind::Persist(persist) => {
            let level = persist.level.unwrap_or_default();
            Arc::new(PersistExec::new(one(inputs)?, persist.rdd_id, level))
        }
        Kind::WriteText(write) => {
            let compression = compression(write.compression())?;
            let attempts = PathBuf::from(write.attempts);
            Arc::new(WriteTextFileExec::new(one(inputs)?, attempts, compression))
        }
        Kind::EncodeArrow(()) => Arc::new(EncodeArrowFramesExec::new(one(inputs)?)),
        Kind::LostRows(rows) => {
            let schema = rows
                .schema
                .ok_or_else(|| internal("an operator of an RDD plan without its schema"))?;
            let schema = Arc::new(Schema::try_from(&schema)?);
            Arc::new(LostRowsExec::with_table(schema, one(inputs)?))
        }
        Kind::DecodeArrow(decode) => {
            let schema = decode
                .schema
                .ok_or_else(|| internal("an operator of an RDD plan without its schema"))?;
            let schema = Arc::new(Schema::try_from(&schema)?);
            let projection = decode
                .projection
                .map(|p| p.columns.into_iter().map(size).collect::<Result<_>>())
                .transpose()?;
            Arc::new(DecodeArrowFramesExec::try_new(
                one(inputs)?,
                schema,
                projection,
            )?)
        }
    })
}

fn size(number: u64) -> Result<usize> {
    usize::try_from(number).map_err(|_| internal("a number out of range"))
}

fn wire_compression(compression: Compression) -> TextCompression {
    match compression {
        Compression::None => TextCompression::None,
        Compression::Gzip => TextCompression::Gzip,
        Compression::Bzip2 => TextCompression::Bzip2,
        Compression::Zstd => TextCompression::Zstd,
        Compression::Deflate => TextCompression::Deflate,
    }
}

fn compression(wire: TextCompression) -> Result<Compression> {
    Ok(match wire {
        TextCompression::None => Compression::None,
        TextCompression::Gzip => Compression::Gzip,
        TextCompression::Bzip2 => Compression::Bzip2,
        TextCompression::Zstd => Compression::Zstd,
        TextCompression::Deflate => Compression::Deflate,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::physical_plan::ExecutionPlanProperties;
    use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;

    use super::*;
    use crate::partition_table;

    fn again(
        node: Arc<dyn ExecutionPlan>,
        inputs: &[Arc<dyn ExecutionPlan>],
    ) -> Arc<dyn ExecutionPlan> {
        let bytes = try_encode(&node).unwrap().unwrap();
        let codec = DefaultPhysicalExtensionCodec {};
        try_decode(&bytes, inputs, &TaskContext::default(), &codec).unwrap()
    }

    fn collection() -> Arc<dyn ExecutionPlan> {
        let slices = vec![pyrite_proto::core::parallel_collection::Slice::default(); 2];
        Arc::new(ParallelCollectionExec::try_new(&slices).unwrap())
    }

    #[test]
    fn what_an_operator_knows_survives_the_wire() {
        let input = collection();
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, false),
            Field::new("b", DataType::Utf8, true),
        ]));
        for projection in [None, Some(vec![]), Some(vec![1])] {
            let decode = DecodeArrowFramesExec::try_new(
                Arc::clone(&input),
                Arc::clone(&schema),
                projection.clone(),
            );
            let decode = again(Arc::new(decode.unwrap()), &[Arc::clone(&input)]);
            let decode = decode.downcast_ref::<DecodeArrowFramesExec>().unwrap();
            assert_eq!(decode.frame_content(), &schema);
            assert_eq!(decode.projection(), projection.as_deref());
        }

        let level = StorageLevel {
            use_disk: true,
            replication: 2,
            ..StorageLevel::default()
        };
        let persist = PersistExec::new(Arc::clone(&input), 7, level);
        let persist = again(Arc::new(persist), &[Arc::clone(&input)]);
        let persist = persist.downcast_ref::<PersistExec>().unwrap();
        assert_eq!((persist.rdd_id(), persist.level()), (7, &level));

        let lost = LostRowsExec::try_new(Arc::clone(&schema), 3).unwrap();
        let lost: Arc<dyn ExecutionPlan> = Arc::new(lost);
        let table = Arc::clone(lost.children()[0]);
        let back = again(Arc::clone(&lost), &[table]);
        assert_eq!(back.schema(), schema);
        assert_eq!(back.output_partitioning().partition_count(), 3);
        let refused = back.execute(0, Arc::new(TaskContext::default()));
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("cached rows are gone"), "{error}");

        let write = WriteTextFileExec::new(
            Arc::clone(&input),
            PathBuf::from("/somewhere/_temporary/x"),
            Compression::Zstd,
        );
        let write = again(Arc::new(write), &[Arc::clone(&input)]);
        let write = write.downcast_ref::<WriteTextFileExec>().unwrap();
        assert_eq!(write.attempts(), PathBuf::from("/somewhere/_temporary/x"));
        assert_eq!(write.compression(), Compression::Zstd);
    }

    #[test]
    fn other_operators_are_left_to_others_and_local_ones_refused() {
        let table = partition_table::of_numbers(1).unwrap();
        assert_eq!(try_encode(&table).unwrap(), None);
        let scan: Arc<dyn ExecutionPlan> = Arc::new(crate::RddScanExec::new(collection()));
        let error = try_encode(&scan).unwrap_err().to_string();
        assert!(
            error.contains("RddScanExec cannot leave its process"),
            "{error}"
        );
    }
}
