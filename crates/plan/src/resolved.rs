//! What analysis yields.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use pyrite_proto::connect;
use pyrite_proto::error::SparkError;
use std::sync::Arc;

use crate::finish::Finish;
use crate::types;

/// One column of a resolved relation.
#[derive(Debug, Clone)]
pub struct ResolvedField {
    /// The name that users see; need not be unique.
    pub name: String,
    /// The unique name of the column inside the plan.
    pub column: String,
    /// Arrow type, of the kinds that [`types::to_spark`] knows.
    pub data_type: DataType,
    /// Whether the column may hold nulls.
    pub nullable: bool,
    /// Spark's metadata of the column, as JSON.
    pub metadata: Option<String>,
    /// Names before the column's: `["t"]` in `t.a`, `["db", "t"]` in `db.t.a`.
    pub qualifier: Vec<String>,
    /// Ids of the DataFrames through which this column passed unchanged.
    pub plan_ids: Vec<i64>,
    /// Hidden columns are found by name but not by `*`: those that `USING` merged.
    pub hidden: bool,
}

/// A relation after analysis.
#[derive(Debug, Clone)]
pub struct ResolvedPlan {
    /// The plan; its columns have internal names and may be more than `fields`.
    pub plan: LogicalPlan,
    /// The columns of the relation in order.
    pub fields: Vec<ResolvedField>,
    /// What the driver does with the collected rows before it sends them: for `show()` and
    /// the like. `None` for everything else.
    pub finish: Option<Finish>,
}

impl ResolvedPlan {
    /// The schema that the client sees, as a Spark Connect struct type.
    ///
    /// # Errors
    /// When a column has a type that Spark has no name for.
    pub fn spark_schema(&self) -> Result<connect::DataType, SparkError> {
        match &self.finish {
            Some(finish) => finish.spark_schema(),
            None => types::struct_of(self.visible()),
        }
    }

    /// The Arrow schema of the batches that the physical plan yields, with users' names.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .visible()
            .map(|f| Field::new(&f.name, types::output_type(&f.data_type), f.nullable))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// The columns that `*` yields.
    pub fn visible(&self) -> impl Iterator<Item = &ResolvedField> {
        self.fields.iter().filter(|f| !f.hidden)
    }
}
