//! Logical nodes of our own: Python evaluation, sorting within partitions.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore};
use pyrite_python::PythonUdf;

/// A call of a Python function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PythonCall {
    pub udf: Arc<PythonUdf>,
    pub args: Vec<Expr>,
    /// Names of arguments passed by keyword.
    pub arg_names: Vec<Option<String>>,
    pub output: String,
    pub return_type: DataType,
}

/// Adds a column for each call, after the columns of the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PythonEval {
    pub input: LogicalPlan,
    pub calls: Vec<PythonCall>,
    schema: DFSchemaRef,
}

impl PythonEval {
    pub fn try_new(input: LogicalPlan, calls: Vec<PythonCall>) -> Result<Self> {
        let mut fields: Vec<_> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        for call in &calls {
            let field = Field::new(&call.output, call.return_type.clone(), true);
            fields.push((None, Arc::new(field)));
        }
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self {
            input,
            calls,
            schema: Arc::new(schema),
        })
    }
}

impl PartialOrd for PythonEval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for PythonEval {
    fn name(&self) -> &str {
        "PythonEval"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.calls.iter().flat_map(|c| c.args.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let calls: Vec<String> = self
            .calls
            .iter()
            .map(|c| {
                let args: Vec<String> = c.args.iter().map(ToString::to_string).collect();
                format!("{}({}) AS {}", c.udf.name, args.join(", "), c.output)
            })
            .collect();
        write!(f, "PythonEval: {}", calls.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs).map_err(|_| {
            datafusion::common::DataFusionError::Internal("PythonEval has one input".into())
        })?;
        let mut exprs = exprs.into_iter();
        let mut calls = self.calls.clone();
        for call in &mut calls {
            for arg in &mut call.args {
                match exprs.next() {
                    Some(expr) => *arg = expr,
                    None => return internal_err!("PythonEval got too few expressions"),
                }
            }
        }
        Self::try_new(input, calls)
    }

    /// Conditions on results of the calls cannot run below them.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.calls.iter().map(|c| c.output.clone()).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|i| *i < inputs.fields().len())
            .collect();
        for expr in self.calls.iter().flat_map(|c| &c.args) {
            for column in expr.column_refs() {
                needed.push(inputs.maybe_index_of_column(column)?);
            }
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Python functions that aggregate groups: the keys, then a column for each call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PythonAggregate {
    pub input: LogicalPlan,
    /// Columns of the input.
    pub keys: Vec<Expr>,
    pub calls: Vec<PythonCall>,
    pub schema: DFSchemaRef,
}

impl PythonAggregate {
    pub fn try_new(input: LogicalPlan, keys: &[String], calls: Vec<PythonCall>) -> Result<Self> {
        let mut fields = vec![];
        for key in keys {
            let field = input.schema().field_with_unqualified_name(key)?;
            fields.push((
                None,
                Arc::new(Field::new(key, field.data_type().clone(), true)),
            ));
        }
        for call in &calls {
            fields.push((
                None,
                Arc::new(Field::new(&call.output, call.return_type.clone(), true)),
            ));
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        let keys = keys.iter().map(|k| crate::analyzer::column(k)).collect();
        Ok(Self {
            input,
            keys,
            calls,
            schema: Arc::new(schema),
        })
    }
}

impl PartialOrd for PythonAggregate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for PythonAggregate {
    fn name(&self) -> &str {
        "PythonAggregate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys
            .iter()
            .chain(self.calls.iter().flat_map(|c| &c.args))
            .cloned()
            .collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.calls.iter().map(|c| c.udf.name.as_str()).collect();
        write!(f, "PythonAggregate: {}", names.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs).map_err(|_| {
            datafusion::common::DataFusionError::Internal("PythonAggregate has one input".into())
        })?;
        let mut out = Self {
            input,
            ..self.clone()
        };
        let mut exprs = exprs.into_iter();
        let slots = out
            .keys
            .iter_mut()
            .chain(out.calls.iter_mut().flat_map(|c| &mut c.args));
        for slot in slots {
            match exprs.next() {
                Some(expr) => *slot = expr,
                None => return internal_err!("PythonAggregate got too few expressions"),
            }
        }
        Ok(out)
    }
}

/// Rows that a Python function makes of batches (`mapInPandas`) or of groups
/// (`applyInPandas`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PythonTable {
    pub input: LogicalPlan,
    pub udf: Arc<PythonUdf>,
    /// The columns that the function sees, with the names it sees them under.
    pub columns: Vec<(Expr, String)>,
    /// Grouping keys; `None` when the function sees batches.
    pub keys: Option<Vec<Expr>>,
    /// The result's columns under the names that the function gives them.
    pub result: Vec<(String, DataType)>,
    pub schema: DFSchemaRef,
}

impl PartialOrd for PythonTable {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for PythonTable {
    fn name(&self) -> &str {
        "PythonTable"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let columns = self.columns.iter().map(|(expr, _)| expr.clone());
        columns.chain(self.keys.iter().flatten().cloned()).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "PythonTable: {} ({})",
            self.udf.name,
            self.udf.eval_type.spark_name()
        )
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs).map_err(|_| {
            datafusion::common::DataFusionError::Internal("PythonTable has one input".into())
        })?;
        if exprs.len() < self.columns.len() {
            return internal_err!("PythonTable got too few expressions");
        }
        let mut columns = exprs;
        let keys = columns.split_off(self.columns.len());
        let columns = columns
            .into_iter()
            .zip(&self.columns)
            .map(|(e, (_, n))| (e, n.clone()))
            .collect();
        Ok(Self {
            input,
            columns,
            keys: self.keys.as_ref().map(|_| keys),
            ..self.clone()
        })
    }
}

/// Sorts each partition for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LocalSort {
    pub input: LogicalPlan,
    pub keys: Vec<SortExpr>,
}

impl PartialOrd for LocalSort {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for LocalSort {
    fn name(&self) -> &str {
        "LocalSort"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().map(|k| k.expr.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "LocalSort: {}", keys.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs).map_err(|_| {
            datafusion::common::DataFusionError::Internal("LocalSort has one input".into())
        })?;
        let keys = self
            .keys
            .iter()
            .zip(exprs)
            .map(|(key, expr)| SortExpr::new(expr, key.asc, key.nulls_first))
            .collect();
        Ok(Self { input, keys })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema();
        let mut needed = output_columns.to_vec();
        for key in &self.keys {
            for column in key.expr.column_refs() {
                needed.push(inputs.maybe_index_of_column(column)?);
            }
        }
        needed.sort_unstable();
        needed.dedup();
        // The node passes its input's columns on as they are, in place.
        (needed.len() == output_columns.len()).then(|| vec![needed])
    }
}

/// Keys for hashing nodes that hold no comparable parts.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
