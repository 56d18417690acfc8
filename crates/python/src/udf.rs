//! Python functions as the planner hands them over.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::physical_plan::PhysicalExpr;
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::SparkError;

macro_rules! eval_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $spark:literal;)*) => {
        /// Evaluation types of `pyspark.util.PythonEvalType`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum EvalType {
            $($(#[$doc])* $name = $value,)*
        }

        impl EvalType {
            /// Spark's name of the type.
            pub fn spark_name(self) -> &'static str {
                match self { $(Self::$name => $spark,)* }
            }
        }

        impl TryFrom<i32> for EvalType {
            type Error = SparkError;

            fn try_from(value: i32) -> Result<Self, SparkError> {
                match value {
                    $($value => Ok(Self::$name),)*
                    other => Err(SparkError::not_supported(format!("Python evaluation type {other}"))),
                }
            }
        }
    };
}

eval_types! {
    /// A function over the frames of an RDD.
    NonUdf = 0, "NON_UDF";
    /// `udf`, rows pickled.
    Batched = 100, "SQL_BATCHED_UDF";
    /// `udf(useArrow=True)`.
    ArrowBatched = 101, "SQL_ARROW_BATCHED_UDF";
    /// `pandas_udf`, Series to Series.
    ScalarPandas = 200, "SQL_SCALAR_PANDAS_UDF";
    /// `applyInPandas`.
    GroupedMapPandas = 201, "SQL_GROUPED_MAP_PANDAS_UDF";
    /// `pandas_udf`, Series to scalar.
    GroupedAggPandas = 202, "SQL_GROUPED_AGG_PANDAS_UDF";
    /// `pandas_udf`, Series to scalar over a window.
    WindowAggPandas = 203, "SQL_WINDOW_AGG_PANDAS_UDF";
    /// `pandas_udf`, iterator of Series to iterator of Series.
    ScalarPandasIter = 204, "SQL_SCALAR_PANDAS_ITER_UDF";
    /// `mapInPandas`.
    MapPandasIter = 205, "SQL_MAP_PANDAS_ITER_UDF";
    /// `cogroup.applyInPandas`.
    CogroupedMapPandas = 206, "SQL_COGROUPED_MAP_PANDAS_UDF";
    /// `mapInArrow`.
    MapArrowIter = 207, "SQL_MAP_ARROW_ITER_UDF";
    /// `applyInArrow`.
    GroupedMapArrow = 209, "SQL_GROUPED_MAP_ARROW_UDF";
    /// `cogroup.applyInArrow`.
    CogroupedMapArrow = 210, "SQL_COGROUPED_MAP_ARROW_UDF";
    /// `applyInArrow` over an iterator of batches.
    GroupedMapArrowIter = 215, "SQL_GROUPED_MAP_ARROW_ITER_UDF";
    /// `applyInPandas` over an iterator of data frames.
    GroupedMapPandasIter = 216, "SQL_GROUPED_MAP_PANDAS_ITER_UDF";
    /// `pandas_udf`, iterator of Series to scalar.
    GroupedAggPandasIter = 217, "SQL_GROUPED_AGG_PANDAS_ITER_UDF";
    /// `arrow_udf`, array to array.
    ScalarArrow = 250, "SQL_SCALAR_ARROW_UDF";
    /// `arrow_udf`, iterator of arrays to iterator of arrays.
    ScalarArrowIter = 251, "SQL_SCALAR_ARROW_ITER_UDF";
    /// `arrow_udf`, array to scalar.
    GroupedAggArrow = 252, "SQL_GROUPED_AGG_ARROW_UDF";
    /// `arrow_udf`, array to scalar over a window.
    WindowAggArrow = 253, "SQL_WINDOW_AGG_ARROW_UDF";
    /// `arrow_udf`, iterator of arrays to scalar.
    GroupedAggArrowIter = 254, "SQL_GROUPED_AGG_ARROW_ITER_UDF";
}

impl EvalType {
    /// Claims that the function takes and returns one value a row.
    pub fn is_scalar(self) -> bool {
        matches!(
            self,
            Self::Batched
                | Self::ArrowBatched
                | Self::ScalarPandas
                | Self::ScalarPandasIter
                | Self::ScalarArrow
                | Self::ScalarArrowIter
        )
    }

    /// Claims that the function takes a group of rows and returns one value.
    pub fn is_grouped_aggregate(self) -> bool {
        matches!(
            self,
            Self::GroupedAggPandas
                | Self::GroupedAggPandasIter
                | Self::GroupedAggArrow
                | Self::GroupedAggArrowIter
        )
    }

    /// Claims that a worker can evaluate several such functions in one task.
    pub fn can_share_task(self) -> bool {
        matches!(
            self,
            Self::Batched
                | Self::ArrowBatched
                | Self::ScalarPandas
                | Self::ScalarArrow
                | Self::GroupedAggPandas
                | Self::GroupedAggArrow
        )
    }
}

/// A user-defined function written in Python.
#[derive(Debug, Clone, PartialEq)]
pub struct PythonUdf {
    /// Name for plans and messages.
    pub name: String,
    /// Pickled `(function, return type)` and all that it needs in the worker.
    pub function: PythonFunction,
    /// How the worker calls it.
    pub eval_type: EvalType,
    /// Arrow type of the result.
    pub return_type: DataType,
    /// Spark type of the result, in Spark's JSON form (`"long"`, `{"type":"struct",...}`).
    pub return_type_json: String,
}

/// One argument of a call.
#[derive(Debug, Clone)]
pub struct PythonArg {
    /// Value, over the input of the operator.
    pub expr: Arc<dyn PhysicalExpr>,
    /// Set when the argument was passed by keyword.
    pub name: Option<String>,
}

impl PythonArg {
    /// A positional argument.
    pub fn positional(expr: Arc<dyn PhysicalExpr>) -> Self {
        Self { expr, name: None }
    }
}

/// A call of a Python function in a query.
#[derive(Debug, Clone)]
pub struct PythonUdfCall {
    /// The function.
    pub udf: PythonUdf,
    /// Its arguments.
    pub args: Vec<PythonArg>,
    /// Name of the column that the operator adds.
    pub output_name: String,
}

impl PartialEq for PythonUdfCall {
    fn eq(&self, other: &Self) -> bool {
        self.udf == other.udf
            && self.output_name == other.output_name
            && self.args.len() == other.args.len()
            && self
                .args
                .iter()
                .zip(&other.args)
                .all(|(a, b)| a.name == b.name && a.expr.eq(&b.expr))
    }
}

impl Eq for PythonUdf {}

impl Hash for PythonUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.function.command.hash(state);
        self.eval_type.hash(state);
        self.return_type.hash(state);
    }
}
