//! Functions on the wire: a name, and whose function of that name it is.
//!
//! DataFusion, its Spark library and we all have a `round`, and they round differently. So the
//! name alone does not say which one a plan means.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

/// The functions of one kind by origin, then by name.
type ByOrigin<F> = [(u8, HashMap<String, Arc<F>>); 3];

const PYRITE: u8 = b'p';
const SPARK_LIBRARY: u8 = b's';
const ENGINE: u8 = b'e';

struct Functions {
    scalar: ByOrigin<ScalarUDF>,
    aggregate: ByOrigin<AggregateUDF>,
    window: ByOrigin<WindowUDF>,
}

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let engine = BallistaFunctionRegistry::default();
    Functions {
        scalar: [
            (
                PYRITE,
                by_name(
                    pyrite_functions::registry::scalar_functions(),
                    ScalarUDF::name,
                ),
            ),
            (
                SPARK_LIBRARY,
                by_name(
                    datafusion_spark::all_default_scalar_functions(),
                    ScalarUDF::name,
                ),
            ),
            (ENGINE, engine.scalar_functions),
        ],
        aggregate: [
            (
                PYRITE,
                by_name(
                    pyrite_functions::registry::aggregate_functions(),
                    AggregateUDF::name,
                ),
            ),
            (
                SPARK_LIBRARY,
                by_name(
                    datafusion_spark::all_default_aggregate_functions(),
                    AggregateUDF::name,
                ),
            ),
            (ENGINE, engine.aggregate_functions),
        ],
        window: [
            (
                PYRITE,
                by_name(
                    pyrite_functions::registry::window_functions(),
                    WindowUDF::name,
                ),
            ),
            (
                SPARK_LIBRARY,
                by_name(
                    datafusion_spark::all_default_window_functions(),
                    WindowUDF::name,
                ),
            ),
            (ENGINE, engine.window_functions),
        ],
    }
});

fn by_name<F>(functions: Vec<Arc<F>>, name: fn(&F) -> &str) -> HashMap<String, Arc<F>> {
    functions
        .into_iter()
        .map(|function| (name(&function).to_owned(), function))
        .collect()
}

/// Every function by name, for Ballista's task contexts; ours first, then the engine's.
pub fn function_registry() -> BallistaFunctionRegistry {
    fn merged<F>(all: &ByOrigin<F>) -> HashMap<String, Arc<F>> {
        let [ours, spark, engine] = all;
        let mut merged = spark.1.clone();
        merged.extend(engine.1.clone());
        merged.extend(ours.1.clone());
        merged
    }
    BallistaFunctionRegistry {
        scalar_functions: merged(&FUNCTIONS.scalar),
        aggregate_functions: merged(&FUNCTIONS.aggregate),
        window_functions: merged(&FUNCTIONS.window),
        ..BallistaFunctionRegistry::default()
    }
}

fn origin<F: PartialEq>(all: &ByOrigin<F>, name: &str, function: &F) -> Option<u8> {
    all.iter()
        .find(|(_, functions)| {
            functions
                .get(name)
                .is_some_and(|known| **known == *function)
        })
        .map(|(origin, _)| *origin)
}

/// Without an origin on the wire, the first of that name.
fn find<F>(all: &ByOrigin<F>, kind: &str, name: &str, buf: &[u8]) -> Result<Arc<F>> {
    let wanted = buf.first();
    let found = all
        .iter()
        .filter(|(origin, _)| wanted.is_none_or(|wanted| wanted == origin))
        .find_map(|(_, functions)| functions.get(name));
    match found {
        Some(function) => Ok(function.clone()),
        None => plan_err!("there is no {kind} function `{name}` on this executor"),
    }
}

pub(super) fn encode_scalar(node: &ScalarUDF, buf: &mut Vec<u8>) {
    buf.extend(origin(&FUNCTIONS.scalar, node.name(), node));
}

pub(super) fn decode_scalar(name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
    find(&FUNCTIONS.scalar, "scalar", name, buf)
}

pub(super) fn encode_aggregate(node: &AggregateUDF, buf: &mut Vec<u8>) {
    buf.extend(origin(&FUNCTIONS.aggregate, node.name(), node));
}

pub(super) fn decode_aggregate(name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
    find(&FUNCTIONS.aggregate, "aggregate", name, buf)
}

pub(super) fn encode_window(node: &WindowUDF, buf: &mut Vec<u8>) {
    buf.extend(origin(&FUNCTIONS.window, node.name(), node));
}

pub(super) fn decode_window(name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
    find(&FUNCTIONS.window, "window", name, buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_one_name_are_told_apart() {
        let mut shared = 0;
        let [_, spark, engine] = &FUNCTIONS.scalar;
        for (name, spark) in &spark.1 {
            let Some(engine) = engine.1.get(name) else {
                continue;
            };
            if spark == engine {
                continue;
            }
            shared += 1;
            for function in [spark, engine] {
                let mut buf = Vec::new();
                encode_scalar(function, &mut buf);
                assert_eq!(&decode_scalar(name, &buf).unwrap(), function, "{name}");
            }
        }
        assert!(shared > 3, "the two libraries share names");
    }

    #[test]
    fn an_unknown_function_is_an_error() {
        assert!(decode_scalar("no_such_function", &[]).is_err());
    }
}
