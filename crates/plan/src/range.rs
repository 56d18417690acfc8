//! `spark.range` as a table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use pyrite_functions::operators::{RangeExec, RangeSpec, range_schema};

use crate::errors;

/// The table.
#[derive(Debug)]
pub(crate) struct RangeTable {
    spec: RangeSpec,
}

impl RangeTable {
    /// What tells the table from others.
    pub fn content(&self) -> impl std::hash::Hash + use<> {
        let spec = self.spec;
        (spec.start, spec.end, spec.step, spec.partitions)
    }

    pub fn try_new(start: i64, end: i64, step: i64, partitions: usize) -> errors::Result<Self> {
        if step == 0 {
            return Err(errors::with_condition(
                "INVALID_RANGE_STEP",
                "22023",
                "requirement failed: step (0) cannot be 0",
            ));
        }
        Ok(Self {
            spec: RangeSpec {
                start,
                end,
                step,
                partitions,
            },
        })
    }
}

#[async_trait]
impl TableProvider for RangeTable {
    fn schema(&self) -> SchemaRef {
        range_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let with_id = projection.is_none_or(|p| !p.is_empty());
        Ok(Arc::new(RangeExec::new(self.spec, with_id)))
    }
}
