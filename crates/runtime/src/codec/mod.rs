//! Plans on the wire between the driver and its executors.

mod functions;

use std::fmt;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

pub use functions::function_registry;

use crate::cluster::map_output::{MapOutputExec, MapStageExec};
use crate::cluster::numbers::PartitionNumbersExec;

/// Whose operator follows.
const BALLISTA: u8 = 0;
const PYTHON: u8 = 1;
const RDD: u8 = 2;
const OPERATORS: u8 = 3;
const NUMBERS: u8 = 4;
const MAP_OUTPUT: u8 = 5;
const MAP_STAGE: u8 = 6;

/// The codec for everything that a plan of ours can hold: Ballista's operators, Python's, those
/// of RDDs, and functions by name and origin.
pub fn physical_codec() -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(PyriteCodec::default())
}

#[derive(Default)]
struct PyriteCodec {
    ballista: BallistaPhysicalExtensionCodec,
}

impl fmt::Debug for PyriteCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PyriteCodec")
    }
}

impl PhysicalExtensionCodec for PyriteCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf.split_first() {
            Some((&BALLISTA, node)) => self.ballista.try_decode(node, inputs, ctx, converter),
            Some((&PYTHON, node)) => pyrite_python::codec::try_decode(node, inputs, ctx, self),
            Some((&RDD, node)) => pyrite_rdd::codec::try_decode(node, inputs, ctx, self),
            Some((&OPERATORS, node)) => {
                pyrite_functions::operators::codec::try_decode(node, inputs)
            }
            // Its children are all of it.
            Some((&NUMBERS, [])) => match inputs {
                [input, table] => Ok(Arc::new(PartitionNumbersExec::new(
                    input.clone(),
                    table.clone(),
                ))),
                _ => internal_err!("partition numbers without a table"),
            },
            Some((&MAP_OUTPUT, [])) => match inputs {
                [table] => Ok(Arc::new(MapOutputExec::with_table(table.clone()))),
                _ => internal_err!("a map output without a table"),
            },
            Some((&MAP_STAGE, [])) => match inputs {
                [exchange] => Ok(Arc::new(MapStageExec::new(exchange.clone()))),
                _ => internal_err!("a map stage without an exchange"),
            },
            _ => internal_err!("an operator of unknown origin on the wire"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(bytes) = pyrite_python::codec::try_encode_with(&node, self)? {
            buf.push(PYTHON);
            buf.extend_from_slice(&bytes);
        } else if let Some(bytes) = pyrite_rdd::codec::try_encode(&node)? {
            buf.push(RDD);
            buf.extend_from_slice(&bytes);
        } else if let Some(bytes) = pyrite_functions::operators::codec::try_encode(&node)? {
            buf.push(OPERATORS);
            buf.extend_from_slice(&bytes);
        } else if node.is::<PartitionNumbersExec>() {
            buf.push(NUMBERS);
        } else if node.is::<MapOutputExec>() {
            buf.push(MAP_OUTPUT);
        } else if node.is::<MapStageExec>() {
            buf.push(MAP_STAGE);
        } else {
            buf.push(BALLISTA);
            self.ballista.try_encode(node, buf, converter)?;
        }
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        functions::decode_scalar(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        functions::encode_scalar(node, buf);
        Ok(())
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        buf: &[u8],
    ) -> Result<Arc<HigherOrderUDF>> {
        self.ballista.try_decode_higher_order_function(name, buf)
    }

    fn try_encode_higher_order_function(
        &self,
        node: &HigherOrderUDF,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        self.ballista.try_encode_higher_order_function(node, buf)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        functions::decode_aggregate(name, buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        functions::encode_aggregate(node, buf);
        Ok(())
    }

    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        functions::decode_window(name, buf)
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        functions::encode_window(node, buf);
        Ok(())
    }
}
