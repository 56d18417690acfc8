//! Writing: `df.write`, `CREATE TABLE ... AS`, `INSERT`.

mod tables;

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyrite_proto::connect;
use pyrite_proto::connect::write_operation::save_table::TableSaveMethod;
use pyrite_proto::connect::write_operation::{SaveMode, SaveType};
use pyrite_proto::error::SparkError;

use crate::command::{CommandResult, PendingWrite};
use crate::errors::{self, Result};
use crate::leaves::{FileScan, lower_keys};
use crate::read::local_path;
use crate::resolved::ResolvedPlan;
use crate::session::PlanSession;
use crate::settings;

/// What happens to what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Append,
    Overwrite,
    ErrorIfExists,
    Ignore,
}

impl From<SaveMode> for Mode {
    fn from(mode: SaveMode) -> Self {
        match mode {
            SaveMode::Append => Self::Append,
            SaveMode::Overwrite => Self::Overwrite,
            SaveMode::Ignore => Self::Ignore,
            SaveMode::Unspecified | SaveMode::ErrorIfExists => Self::ErrorIfExists,
        }
    }
}

/// Files to write, before their job is known.
#[derive(Debug, Clone)]
pub(crate) struct WriteRequest {
    pub path: PathBuf,
    pub format: String,
    pub options: BTreeMap<String, String>,
    pub partition_by: Vec<String>,
    pub mode: Mode,
}

impl PlanSession {
    pub(crate) async fn write(&self, write: &connect::WriteOperation) -> Result<CommandResult> {
        let input = write
            .input
            .as_ref()
            .ok_or_else(|| errors::invalid_message("WriteOperation.input"))?;
        if write.bucket_by.is_some() || !write.clustering_columns.is_empty() {
            return Err(SparkError::not_supported(
                "buckets and clustering of written data",
            ));
        }
        let options = lower_keys(&write.options);
        let default = self
            .get_conf("spark.sql.sources.default")
            .unwrap_or_else(|| "parquet".into());
        let format = write
            .source
            .clone()
            .filter(|s| !s.is_empty())
            .unwrap_or(default)
            .to_lowercase();
        let mode = Mode::from(write.mode());
        let plan = self.resolve(input).await?;
        let path = match (&write.save_type, options.get("path")) {
            (Some(SaveType::Path(path)), _) if !path.is_empty() => path.clone(),
            (Some(SaveType::Table(table)), _) => {
                let parts = crate::sqltext::identifier(&table.table_name)?;
                if table.save_method() == TableSaveMethod::InsertInto {
                    return self
                        .insert_rows(&parts, plan, &[], mode == Mode::Overwrite)
                        .await;
                }
                let scan = FileScan {
                    format,
                    paths: vec![],
                    options,
                    schema: None,
                };
                let partitions = write.partitioning_columns.clone();
                return self
                    .save_table(&parts, plan, scan, partitions, mode, None)
                    .await;
            }
            (_, Some(path)) => path.clone(),
            _ if format == "noop" => {
                return Err(SparkError::not_supported("the noop data source"));
            }
            _ => {
                return Err(SparkError::new(
                    pyrite_proto::error::class::ILLEGAL_ARGUMENT,
                    "_LEGACY_ERROR_TEMP_2047",
                    "",
                    "Expected exactly one path to be specified, but got: ",
                ));
            }
        };
        let request = WriteRequest {
            path: local_path(&path)?,
            format,
            options,
            partition_by: write.partitioning_columns.clone(),
            mode,
        };
        self.start_write(plan, request)
    }

    /// Checks what can be checked before rows are there.
    pub(crate) fn start_write(
        &self,
        plan: ResolvedPlan,
        request: WriteRequest,
    ) -> Result<CommandResult> {
        check_format(&request.format)?;
        check_columns(&plan, &request)?;
        let shown = format!("file:{}", request.path.display());
        match request.mode {
            Mode::ErrorIfExists if request.path.exists() => {
                return Err(errors::path_exists(&shown));
            }
            Mode::Ignore if request.path.exists() => return Ok(CommandResult::None),
            _ => {}
        }
        let time_zone = settings::time_zone(&self.conf());
        PendingWrite::new(plan, request, time_zone).map(CommandResult::Write)
    }
}

fn check_format(format: &str) -> Result<()> {
    match format {
        "parquet" | "csv" | "json" | "text" => Ok(()),
        "orc" | "avro" | "xml" | "jdbc" => Err(SparkError::not_supported(format!(
            "writing data source {format}"
        ))),
        other => Err(errors::unknown_format(other)),
    }
}

fn check_columns(plan: &ResolvedPlan, request: &WriteRequest) -> Result<()> {
    let names = plan.names();
    for (index, name) in names.iter().enumerate() {
        if names[..index].iter().any(|n| n.eq_ignore_ascii_case(name)) {
            let quoted = errors::quote(&[name.to_lowercase()]);
            return Err(errors::with_condition(
                "COLUMN_ALREADY_EXISTS",
                "42711",
                format!("The column {quoted} already exists. Choose another name or rename the existing column."),
            )
            .with("columnName", quoted));
        }
    }
    for column in &request.partition_by {
        if !names.iter().any(|n| n.eq_ignore_ascii_case(column)) {
            return Err(errors::unresolved_column(&[column], &names));
        }
    }
    if !request.partition_by.is_empty() && request.partition_by.len() == names.len() {
        return Err(errors::with_condition(
            "ALL_PARTITION_COLUMNS_NOT_ALLOWED",
            "KD005",
            "Cannot use all columns for partition columns.",
        ));
    }
    let nested = plan.visible().find(|f| f.data_type.is_nested());
    if let (Some(field), "csv") = (nested, request.format.as_str()) {
        return Err(errors::with_condition(
            "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE",
            "0A000",
            format!(
                "The CSV datasource doesn't support the column `{}` of the type \"{}\".",
                field.name,
                pyrite_functions::type_names::sql_name(&field.data_type)
            ),
        ));
    }
    if request.format == "text" {
        let columns = names.len() - request.partition_by.len();
        if columns != 1 {
            return Err(errors::with_condition(
                "TEXT_DATA_SOURCE_WITH_MULTIPLE_COLUMNS",
                "0A000",
                format!(
                    "Text data source supports only a single column, and you have {columns} columns."
                ),
            ));
        }
    }
    Ok(())
}
