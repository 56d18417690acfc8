//! Files as tables: what `spark.read` does.
//!
//! [`files`] finds them and their partition columns, [`table`] is the table over them,
//! [`csv`], [`json`] and [`text`] know their formats.

mod csv;
mod files;
mod json;
mod table;
mod text;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use pyrite_proto::connect::data_type::Kind;
use pyrite_proto::error::SparkError;

use crate::analyzer::scan;
use crate::errors::{self, Result, from_datafusion};
use crate::leaves::FileScan;
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::{json_schema, types};
use files::FoundFiles;
use table::FilesTable;

pub(crate) use files::local_path;

/// Files that are ready to be scanned.
#[derive(Clone)]
pub(crate) struct LoadedFiles {
    table: Arc<dyn TableProvider>,
    /// Casts from the table's text columns to the wanted types, for CSV.
    casts: Option<csv::Casts>,
    /// Where the files are, for `DataFrame.inputFiles`.
    #[expect(
        dead_code,
        reason = "kept for inputFiles, which asks the physical plan today"
    )]
    paths: Arc<Vec<String>>,
}

impl LoadedFiles {
    /// A plan over the files.
    pub fn plan(&self, content: &FileScan) -> Result<ResolvedPlan> {
        let (plan, mut fields) = scan("files", content, Arc::clone(&self.table))?;
        for field in &mut fields {
            // Spark reads every column of a file as nullable.
            field.nullable = true;
        }
        let Some(casts) = &self.casts else {
            return Ok(ResolvedPlan::new(plan, fields));
        };
        let mut exprs: Vec<Expr> = vec![];
        let mut out = vec![];
        for (index, field) in fields.into_iter().enumerate() {
            let (data_type, expr) = casts.apply(index, &field)?;
            let new = ResolvedField {
                data_type,
                ..ResolvedField::new(&field.name, DataType::Null, true)
            };
            exprs.push(expr.alias(&new.column));
            out.push(new);
        }
        let plan = LogicalPlanBuilder::from(plan)
            .project(exprs)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        Ok(ResolvedPlan::new(plan, out))
    }
}

/// Where the files of a table are; nothing for other tables.
pub(crate) fn files_of(table: &dyn TableProvider) -> Vec<String> {
    let table = table as &dyn std::any::Any;
    if let Some(table) = table.downcast_ref::<FilesTable>() {
        return table.paths();
    }
    let text = table.downcast_ref::<text::TextTable>();
    text.map(text::TextTable::paths).unwrap_or_default()
}

/// Finds the files and their schema.
pub(crate) async fn load(
    scan: &FileScan,
    context: &SessionContext,
    time_zone: &str,
) -> Result<LoadedFiles> {
    let found = files::find(scan, context).await?;
    let wanted = match &scan.schema {
        None => None,
        Some(json) => Some(user_schema(json)?),
    };
    match scan.format.as_str() {
        "parquet" => parquet(scan, found, wanted, context).await,
        "csv" => csv::load(scan, found, wanted, context, time_zone).await,
        "json" => json::load(scan, found, wanted, context).await,
        "text" => text::load(scan, found, wanted),
        "orc" | "avro" | "xml" | "jdbc" | "binaryfile" => Err(SparkError::not_supported(format!(
            "data source {}",
            scan.format
        ))),
        other => Err(errors::unknown_format(other)),
    }
}

fn user_schema(json: &str) -> Result<SchemaRef> {
    let data_type = json_schema::parse(json)?;
    match &data_type.kind {
        Some(Kind::Struct(structure)) => {
            // What files hold may be null whatever the schema says.
            let fields = types::struct_fields(structure)?;
            let fields: Vec<Field> = fields
                .iter()
                .map(|f| f.as_ref().clone().with_nullable(true))
                .collect();
            Ok(Arc::new(Schema::new(fields)))
        }
        _ => Err(SparkError::other("a schema for files must be a struct")),
    }
}

async fn parquet(
    scan: &FileScan,
    found: FoundFiles,
    wanted: Option<SchemaRef>,
    context: &SessionContext,
) -> Result<LoadedFiles> {
    let format: Arc<dyn FileFormat> = Arc::new(
        ParquetFormat::default()
            .with_force_view_types(false)
            .with_options(context.state().table_options().parquet.clone()),
    );
    let schema = match wanted {
        Some(schema) => schema,
        None if found.files.is_empty() => return Err(errors::cannot_infer_schema("Parquet")),
        None => {
            let merge = scan.options.get("mergeschema").is_some_and(|v| v == "true");
            let sample = if merge {
                found.files.as_slice()
            } else {
                &found.files[..1]
            };
            infer(&format, sample, &found, context).await?
        }
    };
    let schema = without_views(&schema);
    finish(found, format, schema, None)
}

/// The format's own idea of the schema of some files.
async fn infer(
    format: &Arc<dyn FileFormat>,
    sample: &[files::FoundFile],
    found: &FoundFiles,
    context: &SessionContext,
) -> Result<SchemaRef> {
    let state = context.state();
    let store = state
        .runtime_env()
        .object_store(&found.store)
        .map_err(from_datafusion)?;
    let metas: Vec<_> = sample.iter().map(|f| f.meta.clone()).collect();
    format
        .infer_schema(&state, &store, &metas)
        .await
        .map_err(from_datafusion)
}

/// The schema with plain strings and binaries, in Spark's types.
fn without_views(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|f| {
            let inner = types::output_type(f.data_type());
            Field::new(f.name(), inner, true)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Builds the table: file columns first, partition columns last.
fn finish(
    found: FoundFiles,
    format: Arc<dyn FileFormat>,
    schema: SchemaRef,
    casts: Option<csv::Casts>,
) -> Result<LoadedFiles> {
    let partitions = partition_fields(&found, &schema);
    let names: Vec<&String> = partitions.iter().map(|f| f.name()).collect();
    let own: Vec<FieldRef> = schema
        .fields()
        .iter()
        .filter(|f| !names.iter().any(|n| n.eq_ignore_ascii_case(f.name())))
        .cloned()
        .collect();
    let paths = Arc::new(
        found
            .files
            .iter()
            .map(|f| format!("file:///{}", f.meta.location))
            .collect(),
    );
    let table = FilesTable::new(found, format, Arc::new(Schema::new(own)), partitions)?;
    Ok(LoadedFiles {
        table: Arc::new(table),
        casts,
        paths,
    })
}

/// Partition columns, with the types of the user's schema where it names them.
fn partition_fields(found: &FoundFiles, schema: &SchemaRef) -> Vec<FieldRef> {
    found
        .partitions
        .iter()
        .map(|(name, data_type)| {
            let wanted = schema
                .fields()
                .iter()
                .find(|f| f.name().eq_ignore_ascii_case(name));
            let data_type = wanted.map_or(data_type, |f| f.data_type());
            Arc::new(Field::new(name, data_type.clone(), true))
        })
        .collect()
}
