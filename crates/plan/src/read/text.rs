//! Text files as a table.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use pyrite_functions::operators::{TextExec, text_schema};

use super::{FoundFiles, LoadedFiles};
use crate::errors;
use crate::leaves::FileScan;

pub(super) fn load(
    scan: &FileScan,
    found: FoundFiles,
    wanted: Option<SchemaRef>,
) -> errors::Result<LoadedFiles> {
    if let Some(schema) = wanted
        && (schema.fields().len() != 1 || schema.field(0).data_type() != &DataType::Utf8)
    {
        return Err(errors::with_condition(
            "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE",
            "0A000",
            "The Text datasource supports only a single string column.",
        ));
    }
    let whole = scan
        .options
        .get("wholetext")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let files: Vec<String> = found
        .files
        .iter()
        .map(|f| format!("/{}", f.meta.location))
        .collect();
    let table = TextTable {
        files: files.clone(),
        whole,
    };
    Ok(LoadedFiles {
        table: Arc::new(table),
        casts: None,
        paths: Arc::new(files),
    })
}

/// The table.
#[derive(Debug)]
pub(super) struct TextTable {
    files: Vec<String>,
    whole: bool,
}

impl TextTable {
    /// Where the files are.
    pub fn paths(&self) -> Vec<String> {
        self.files.clone()
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        text_schema()
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
        let exec = TextExec::new(self.files.clone(), self.whole);
        if projection.is_some_and(|p| p.is_empty()) {
            let none: Vec<(Arc<dyn PhysicalExpr>, String)> = vec![];
            let projected = datafusion::physical_plan::projection::ProjectionExec::try_new(
                none,
                Arc::new(exec),
            )?;
            return Ok(Arc::new(projected));
        }
        Ok(Arc::new(exec))
    }
}
