//! JSON: one object a line.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::prelude::SessionContext;
use pyrite_proto::error::SparkError;

use super::{FoundFiles, LoadedFiles, finish, infer};
use crate::errors::{self, Result};
use crate::leaves::FileScan;
use crate::types;

pub(super) async fn load(
    scan: &FileScan,
    found: FoundFiles,
    wanted: Option<SchemaRef>,
    context: &SessionContext,
) -> Result<LoadedFiles> {
    if scan
        .options
        .get("multiline")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"))
    {
        return Err(SparkError::not_supported(
            "JSON over several lines (option multiLine)",
        ));
    }
    let format: Arc<dyn FileFormat> =
        Arc::new(JsonFormat::default().with_schema_infer_max_rec(usize::MAX));
    let schema = match wanted {
        Some(schema) => schema,
        None => {
            let files: Vec<_> = found
                .files
                .iter()
                .filter(|f| f.meta.size > 0)
                .cloned()
                .collect();
            if files.is_empty() {
                return Err(errors::cannot_infer_schema("JSON"));
            }
            let inferred = infer(&format, &files, &found, context).await?;
            Arc::new(Schema::new(sorted(inferred.fields())))
        }
    };
    finish(found, format, schema, None)
}

/// Spark orders inferred fields by name.
fn sorted(fields: &Fields) -> Fields {
    let mut all: Vec<Field> = fields
        .iter()
        .map(|f| Field::new(f.name(), in_spark(f.data_type()), true))
        .collect();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    all.into()
}

fn in_spark(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(sorted(fields)),
        DataType::List(item) => types::list_of(in_spark(item.data_type()), true),
        other => types::output_type(other),
    }
}
