//! Relations that Python functions make of relations.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use pyrite_proto::connect;
use pyrite_proto::connect::common_inline_user_defined_function::Function;
use pyrite_proto::connect::data_type::Kind;
use pyrite_proto::error::SparkError;

use super::simple::drop_hidden;
use crate::analyzer::{Analyzer, Scope};
use crate::errors::{self, Result, from_datafusion};
use crate::nodes::PythonTable;
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::{types, udf};

impl Analyzer<'_> {
    /// `mapInPandas` and `mapInArrow`
    pub(super) fn map_partitions(
        &self,
        map: &connect::MapPartitions,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        if map.is_barrier == Some(true) {
            return Err(SparkError::not_supported("barrier execution"));
        }
        let input = drop_hidden(self.input(map.input.as_deref(), outer)?)?;
        let function = map
            .func
            .as_ref()
            .ok_or_else(|| errors::invalid_message("MapPartitions.func"))?;
        self.python_table(input, function, None)
    }

    /// `applyInPandas` and `applyInArrow`
    pub(super) fn group_map(
        &self,
        map: &connect::GroupMap,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        if map.is_map_groups_with_state == Some(true) || map.transform_with_state_info.is_some() {
            return Err(SparkError::not_supported(
                "functions with state over groups",
            ));
        }
        let input = drop_hidden(self.input(map.input.as_deref(), outer)?)?;
        let function = map
            .func
            .as_ref()
            .ok_or_else(|| errors::invalid_message("GroupMap.func"))?;
        let mut keys: Vec<Expr> = {
            let scope = Scope::of(&input, outer);
            map.grouping_expressions
                .iter()
                .map(|e| self.expression(e, &scope).map(|t| t.expr))
                .collect::<Result<_>>()?
        };
        let plan = udf::extract(input.plan.clone(), &mut keys, self)?;
        self.python_table(input.over(plan), function, Some(keys))
    }

    fn python_table(
        &self,
        input: ResolvedPlan,
        function: &connect::CommonInlineUserDefinedFunction,
        keys: Option<Vec<Expr>>,
    ) -> Result<ResolvedPlan> {
        let Some(Function::PythonUdf(message)) = &function.function else {
            return Err(SparkError::not_supported(
                "functions written in Java or Scala",
            ));
        };
        let output = message
            .output_type
            .as_ref()
            .ok_or_else(|| errors::invalid_message("PythonUDF.output_type"))?;
        let Some(Kind::Struct(structure)) = udf::parsed_type(output)?.kind else {
            return Err(errors::invalid_message("a struct as the function's result"));
        };
        let result: Vec<(String, arrow::datatypes::DataType)> = types::struct_fields(&structure)?
            .iter()
            .map(|f| (f.name().clone(), f.data_type().clone()))
            .collect();
        let fields: Vec<ResolvedField> = result
            .iter()
            .map(|(name, t)| ResolvedField::new(name, t.clone(), true))
            .collect();
        let columns = fields
            .iter()
            .map(|f| {
                (
                    None,
                    Arc::new(Field::new(&f.column, f.data_type.clone(), true)),
                )
            })
            .collect();
        let schema =
            DFSchema::new_with_metadata(columns, Default::default()).map_err(from_datafusion)?;
        let node = PythonTable {
            columns: input
                .fields
                .iter()
                .map(|f| (f.expr(), f.name.clone()))
                .collect(),
            input: input.plan,
            udf: Arc::new(self.python_udf(&function.function_name, message)?),
            keys,
            result,
            schema: Arc::new(schema),
        };
        let plan = LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        });
        Ok(ResolvedPlan::new(plan, fields))
    }
}
