//! `grouping(a)` and `grouping_id()`, which become bits of the aggregate's grouping id.

use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
    lit,
};

use crate::analyzer::{Typed, column};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Placeholder {
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for Placeholder {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.name == "grouping" {
            DataType::Int8
        } else {
            DataType::Int64
        })
    }

    fn is_nullable(&self, _args: &[Expr], _schema: &dyn datafusion::common::ExprSchema) -> bool {
        false
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is only known in a query with grouping sets", self.name)
    }
}

/// The call before its aggregate is known.
pub(crate) fn placeholder(name: &str, keys: Vec<Expr>) -> Expr {
    let signature = if keys.is_empty() {
        Signature::nullary(Volatility::Immutable)
    } else {
        Signature::variadic_any(Volatility::Immutable)
    };
    ScalarUDF::new_from_impl(Placeholder {
        name: name.to_owned(),
        signature,
    })
    .call(keys)
}

/// The call over the grouping id in column `id`, if the expression is one.
pub(crate) fn resolve(expr: &Expr, keys: &[Typed], id: &str) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let inner = call.func.inner().as_ref() as &dyn std::any::Any;
    let function = inner.downcast_ref::<Placeholder>()?;
    let bit = |key: &Expr| {
        let place = keys.iter().position(|k| k.expr == *key)?;
        let shift = (keys.len() - 1 - place) as i64;
        let shifted = datafusion::logical_expr::binary_expr(
            column(id),
            datafusion::logical_expr::Operator::BitwiseShiftRight,
            lit(shift),
        );
        Some(datafusion::logical_expr::binary_expr(
            shifted,
            datafusion::logical_expr::Operator::BitwiseAnd,
            lit(1_i64),
        ))
    };
    if function.name == "grouping" {
        return Some(cast(bit(call.args.first()?)?, DataType::Int8));
    }
    if call.args.is_empty() {
        return Some(column(id));
    }
    let mut total = lit(0_i64);
    for key in &call.args {
        total = total * lit(2_i64) + bit(key)?;
    }
    Some(total)
}
