//! The engine's functions by name: DataFusion's, datafusion-spark's and our own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, WindowUDF};
use pyrite_proto::error::SparkError;

use crate::errors::Result;

/// Every scalar function: ours first, then Spark's variants, then DataFusion's.
static SCALAR: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    let ours = pyrite_functions::registry::scalar_functions();
    let plain = datafusion::functions::all_default_functions();
    let nested = datafusion::functions_nested::all_default_nested_functions();
    for udf in plain.into_iter().chain(nested).chain(ours) {
        for alias in udf.aliases() {
            all.entry(alias.clone()).or_insert_with(|| Arc::clone(&udf));
        }
        all.insert(udf.name().to_owned(), udf);
    }
    all
});

static AGGREGATE: LazyLock<HashMap<String, Arc<AggregateUDF>>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    let plain = datafusion::functions_aggregate::all_default_aggregate_functions();
    let ours = pyrite_functions::registry::aggregate_functions();
    for udf in plain {
        all.insert(udf.name().to_owned(), udf);
    }
    for udf in ours {
        all.insert(udf.name().to_owned(), udf);
    }
    all
});

static WINDOW: LazyLock<HashMap<String, Arc<WindowUDF>>> = LazyLock::new(|| {
    let plain = datafusion::functions_window::all_default_window_functions();
    plain
        .into_iter()
        .map(|udf| (udf.name().to_owned(), udf))
        .collect()
});

static HIGHER_ORDER: LazyLock<HashMap<String, Arc<HigherOrderUDF>>> = LazyLock::new(|| {
    let nested = datafusion::functions_nested::all_default_higher_order_functions();
    nested
        .into_iter()
        .map(|udf| (udf.name().to_owned(), udf))
        .collect()
});

fn missing(name: &str) -> SparkError {
    SparkError::not_supported(format!("function `{name}`"))
}

/// A scalar function: ours or DataFusion's.
pub(crate) fn scalar(name: &str) -> Result<Arc<ScalarUDF>> {
    SCALAR.get(name).cloned().ok_or_else(|| missing(name))
}

/// A scalar function of datafusion-spark.
pub(crate) fn spark(name: &str) -> Result<Arc<ScalarUDF>> {
    scalar(&format!("spark:{name}"))
}

/// An aggregate function: ours or DataFusion's.
pub(crate) fn aggregate(name: &str) -> Result<Arc<AggregateUDF>> {
    AGGREGATE.get(name).cloned().ok_or_else(|| missing(name))
}

/// A window function.
pub(crate) fn window(name: &str) -> Result<Arc<WindowUDF>> {
    WINDOW.get(name).cloned().ok_or_else(|| missing(name))
}

/// A function that takes lambda functions.
pub(crate) fn higher_order(name: &str) -> Result<Arc<HigherOrderUDF>> {
    HIGHER_ORDER.get(name).cloned().ok_or_else(|| missing(name))
}

/// Calls a scalar function of ours or DataFusion's.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    Ok(scalar(name)?.call(args))
}

/// Calls `spark_rand` or `spark_randn`.
pub(crate) fn random(name: &str, seed: Expr) -> Result<Expr> {
    call(name, vec![seed, call("spark_each_row", vec![])?])
}

/// Calls a scalar function of datafusion-spark.
pub(crate) fn call_spark(name: &str, args: Vec<Expr>) -> Result<Expr> {
    Ok(spark(name)?.call(args))
}

/// Calls `spark_cast`.
pub(crate) fn spark_cast(args: Vec<Expr>) -> Expr {
    SCALAR
        .get("spark_cast")
        .expect("the registry of our functions has spark_cast")
        .call(args)
}

/// Calls an arithmetic operator in a mode.
pub(crate) fn arithmetic(
    operator: pyrite_functions::arithmetic::Operator,
    mode: pyrite_functions::cast::CastMode,
    left: Expr,
    right: Expr,
) -> Expr {
    let function = pyrite_functions::arithmetic::Arithmetic::new(operator, mode);
    ScalarUDF::new_from_impl(function).call(vec![left, right])
}
