//! Every function of this crate by name.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, ScalarUDFImpl, WindowUDF};

use crate::arithmetic::{Arithmetic, Operator};
use crate::array_access::{ArrayField, ArrayGet, MapGet};
use crate::cast::{CastMode, SparkCast};
use crate::checked_sum::CheckedSum;
use crate::datetime::{DateFormat, MonthsBetween, ParseTimestamp};
use crate::json::{FromJson, Json, JsonFunction, ToJson};
use crate::lists::{ConcatWs, Positions, Sequence, Size};
use crate::random::{EachRow, Rand, RowId};
use crate::regex::{RegexpExtract, Split};
use crate::relabel::Relabel;
use crate::renamed::Renamed;
use crate::round::SparkRound;

fn udf(function: impl ScalarUDFImpl + 'static) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(function))
}

/// The scalar functions: our own, and datafusion-spark's as `spark:<name>`.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = vec![
        udf(SparkCast::default()),
        udf(ArrayGet::default()),
        udf(MapGet::default()),
        udf(ArrayField::default()),
        udf(Rand::new(false)),
        udf(Rand::new(true)),
        udf(RowId::default()),
        udf(EachRow::default()),
        udf(SparkRound::default()),
        udf(Relabel::default()),
        udf(Json::new(JsonFunction::GetObject)),
        udf(Json::new(JsonFunction::ArrayLength)),
        udf(Json::new(JsonFunction::ObjectKeys)),
        udf(ToJson::default()),
        udf(FromJson::default()),
        udf(Size::default()),
        udf(Positions::default()),
        udf(Sequence::default()),
        udf(ConcatWs::default()),
        udf(RegexpExtract::default()),
        udf(Split::default()),
        udf(DateFormat::default()),
        udf(ParseTimestamp::default()),
        udf(MonthsBetween::default()),
    ];
    for operator in Operator::ALL {
        for mode in [CastMode::Ansi, CastMode::Legacy, CastMode::Try] {
            all.push(udf(Arithmetic::new(operator, mode)));
        }
    }
    all.extend(
        datafusion_spark::all_default_scalar_functions()
            .into_iter()
            .map(|f| udf(Renamed::spark(f))),
    );
    all
}

/// The aggregate functions: our own, and those of datafusion-spark that DataFusion lacks.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let spark = datafusion_spark::all_default_aggregate_functions();
    let ours = Arc::new(AggregateUDF::from(CheckedSum::default()));
    let theirs = spark.into_iter().filter(|f| f.name() != "avg");
    theirs.chain([ours]).collect()
}

/// The window functions.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    Vec::new()
}

/// Registers everything, beside DataFusion's own functions, where plans are decoded.
///
/// # Errors
/// When the registry takes no functions.
pub fn register_all(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in scalar_functions() {
        registry.register_udf(function)?;
    }
    for function in aggregate_functions() {
        registry.register_udaf(function)?;
    }
    for function in window_functions() {
        registry.register_udwf(function)?;
    }
    Ok(())
}
