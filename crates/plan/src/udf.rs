//! Python functions in expressions.
//!
//! While expressions are resolved a call is a placeholder function; before the expressions
//! become a plan node, [`extract`] moves the calls into [`PythonEval`] nodes below it, as
//! Spark's `ExtractPythonUDFs` does.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as EngineResult, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Extension, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use pyrite_proto::connect;
use pyrite_proto::connect::common_inline_user_defined_function::Function;
use pyrite_proto::error::SparkError;
use pyrite_python::{EvalType, PythonUdf};

use crate::analyzer::{Analyzer, Scope, Typed, column, unique_name};
use crate::errors::{self, Result, from_datafusion};
use crate::expressions::Argument;
use crate::nodes::{PythonCall, PythonEval};
use crate::{json_schema, types};

/// A call of a Python function that has not found its place in the plan yet.
#[derive(Debug)]
struct Placeholder {
    udf: Arc<PythonUdf>,
    arg_names: Vec<Option<String>>,
    signature: Signature,
}

impl PartialEq for Placeholder {
    fn eq(&self, other: &Self) -> bool {
        self.udf == other.udf
            && self.arg_names == other.arg_names
            && self.signature.volatility == Volatility::Immutable
            && other.signature.volatility == Volatility::Immutable
    }
}

impl Eq for Placeholder {}

impl Hash for Placeholder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.udf.hash(state);
        self.arg_names.hash(state);
    }
}

impl ScalarUDFImpl for Placeholder {
    fn name(&self) -> &str {
        &self.udf.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> EngineResult<DataType> {
        Ok(self.udf.return_type.clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> EngineResult<FieldRef> {
        Ok(Arc::new(Field::new(
            self.name(),
            self.udf.return_type.clone(),
            true,
        )))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        internal_err!(
            "Python function {} was not moved into an operator",
            self.udf.name
        )
    }
}

fn placeholder(expr: &Expr) -> Option<&Placeholder> {
    match expr {
        Expr::ScalarFunction(call) => {
            (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Placeholder>()
        }
        _ => None,
    }
}

/// Claims that the expression is a call of a Python function over groups.
pub(crate) fn is_aggregate(expr: &Expr) -> bool {
    placeholder(expr).is_some_and(|p| p.udf.eval_type.is_grouped_aggregate())
}

/// Claims that the expression calls a Python function.
pub(crate) fn contains(expr: &Expr) -> bool {
    let mut found = false;
    let walked = expr.apply(|e| {
        found |= placeholder(e).is_some();
        Ok(TreeNodeRecursion::Continue)
    });
    found && walked.is_ok()
}

impl Analyzer<'_> {
    pub(crate) fn inline_udf(
        &self,
        call: &connect::CommonInlineUserDefinedFunction,
        scope: &Scope,
    ) -> Result<Typed> {
        let Some(Function::PythonUdf(udf)) = &call.function else {
            return Err(SparkError::not_supported(
                "functions written in Java or Scala",
            ));
        };
        let args = self.arguments(&call.arguments, scope)?;
        self.python_call(&call.function_name, udf, call.deterministic, args, scope)
    }

    /// Calls a Python function.
    pub(crate) fn python_call(
        &self,
        name: &str,
        udf: &connect::PythonUdf,
        deterministic: bool,
        args: Vec<Argument>,
        scope: &Scope,
    ) -> Result<Typed> {
        let udf = Arc::new(self.python_udf(name, udf)?);
        if !udf.eval_type.is_scalar() && !udf.eval_type.is_grouped_aggregate() {
            return Err(SparkError::not_supported(format!(
                "a Python function of type {} in an expression",
                udf.eval_type.spark_name()
            )));
        }
        let shown: Vec<String> = args
            .iter()
            .map(|a| match &a.name {
                Some(name) => format!("{name} => {}", a.typed.name),
                None => a.typed.name.clone(),
            })
            .collect();
        let text = format!("{name}({})", shown.join(", "));
        let volatility = if deterministic {
            Volatility::Immutable
        } else {
            Volatility::Volatile
        };
        let function = Placeholder {
            udf,
            arg_names: args.iter().map(|a| a.name.clone()).collect(),
            signature: if args.is_empty() {
                Signature::nullary(volatility)
            } else {
                Signature::variadic_any(volatility)
            },
        };
        let exprs: Vec<Expr> = args.into_iter().map(|a| a.typed.expr).collect();
        scope.typed(ScalarUDF::new_from_impl(function).call(exprs), text)
    }

    /// The function as the operators take it.
    pub(crate) fn python_udf(&self, name: &str, udf: &connect::PythonUdf) -> Result<PythonUdf> {
        let output = udf
            .output_type
            .as_ref()
            .ok_or_else(|| errors::invalid_message("PythonUDF.output_type"))?;
        let output = parsed_type(output)?;
        Ok(PythonUdf {
            name: name.to_owned(),
            function: self.extensions.python_function(udf)?,
            eval_type: EvalType::try_from(udf.eval_type)?,
            return_type: types::to_arrow(&output)?,
            return_type_json: json_schema::to_json(&output)?.to_string(),
        })
    }
}

/// Replaces a type given as text by the type.
pub(crate) fn parsed_type(data_type: &connect::DataType) -> Result<connect::DataType> {
    use connect::data_type::Kind;
    match &data_type.kind {
        Some(Kind::Unparsed(u)) => crate::sqltext::schema(&u.data_type_string),
        _ => Ok(data_type.clone()),
    }
}

/// Moves calls of Python functions out of `exprs` into nodes over `plan`, innermost first.
pub(crate) fn extract(
    mut plan: LogicalPlan,
    exprs: &mut [Expr],
    _analyzer: &Analyzer,
) -> Result<LogicalPlan> {
    loop {
        let found = next_round(&plan, exprs)?;
        if found.is_empty() {
            return Ok(plan);
        }
        let calls: Vec<PythonCall> = found
            .iter()
            .map(|(expr, name)| call_of(expr, name))
            .collect::<Result<_>>()?;
        for calls in by_task(calls) {
            let node = PythonEval::try_new(plan, calls).map_err(from_datafusion)?;
            plan = LogicalPlan::Extension(Extension {
                node: Arc::new(node),
            });
        }
        for expr in exprs.iter_mut() {
            *expr = expr
                .clone()
                .transform_down(|e| match found.iter().find(|(call, _)| *call == e) {
                    Some((_, name)) => Ok(Transformed::new(
                        column(name),
                        true,
                        TreeNodeRecursion::Jump,
                    )),
                    None => Ok(Transformed::no(e)),
                })
                .map_err(from_datafusion)?
                .data;
        }
    }
}

/// The calls whose arguments hold no further call and whose columns the plan has.
fn next_round(plan: &LogicalPlan, exprs: &[Expr]) -> Result<Vec<(Expr, String)>> {
    let mut found: Vec<(Expr, String)> = vec![];
    for expr in exprs {
        expr.apply(|e| {
            let Some(function) = placeholder(e) else {
                return Ok(TreeNodeRecursion::Continue);
            };
            if function.udf.eval_type.is_grouped_aggregate() {
                return Ok(TreeNodeRecursion::Continue);
            }
            let mut ready = true;
            e.apply_children(|arg| {
                arg.apply(|inner| {
                    ready &= placeholder(inner).is_none();
                    ready &= !matches!(inner, Expr::WindowFunction(_) | Expr::AggregateFunction(_));
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            ready &= e.column_refs().iter().all(|c| plan.schema().has_column(c));
            if ready && !found.iter().any(|(known, _)| known == e) {
                found.push((e.clone(), unique_name(&function.udf.name)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(from_datafusion)?;
    }
    Ok(found)
}

/// The call as a plan node holds it.
pub(crate) fn call_of(expr: &Expr, output: &str) -> Result<PythonCall> {
    let (Some(function), Expr::ScalarFunction(call)) = (placeholder(expr), expr) else {
        return Err(SparkError::other("a call of a Python function is not one"));
    };
    Ok(PythonCall {
        udf: Arc::clone(&function.udf),
        args: call.args.clone(),
        arg_names: function.arg_names.clone(),
        output: output.to_owned(),
        return_type: function.udf.return_type.clone(),
    })
}

/// Splits calls into groups that a worker can evaluate in one task.
fn by_task(calls: Vec<PythonCall>) -> Vec<Vec<PythonCall>> {
    let mut groups: Vec<Vec<PythonCall>> = vec![];
    for call in calls {
        let kind = call.udf.eval_type;
        let home = groups
            .iter_mut()
            .find(|g| g[0].udf.eval_type == kind && kind.can_share_task());
        match home {
            Some(group) => group.push(call),
            None => groups.push(vec![call]),
        }
    }
    groups
}
