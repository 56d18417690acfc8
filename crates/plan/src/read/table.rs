//! A table over files.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue, Statistics, project_schema};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use pyrite_functions::cast::{CastMode, Caster};
use pyrite_functions::format::parse_zone;

use super::files::FoundFiles;
use crate::errors::{self, from_datafusion};
use crate::types;

/// Above so many files their statistics are not read while planning.
const MAX_FILES_WITH_STATISTICS: usize = 64;

/// Files of one format as a table.
#[derive(Debug)]
pub(super) struct FilesTable {
    found: FoundFiles,
    format: Arc<dyn FileFormat>,
    file_schema: SchemaRef,
    partitions: Vec<FieldRef>,
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
}

impl FilesTable {
    pub fn new(
        found: FoundFiles,
        format: Arc<dyn FileFormat>,
        file_schema: SchemaRef,
        partitions: Vec<FieldRef>,
    ) -> errors::Result<Self> {
        let mut fields: Vec<FieldRef> = file_schema.fields().to_vec();
        fields.extend(partitions.iter().cloned());
        let mut files = vec![];
        for file in &found.files {
            let mut out = PartitionedFile::from(file.meta.clone());
            out.partition_values = file
                .values
                .iter()
                .zip(&partitions)
                .map(|(value, field)| partition_value(value.as_deref(), field.data_type()))
                .collect::<errors::Result<_>>()?;
            files.push(out);
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            found,
            format,
            file_schema,
            partitions,
            schema,
            files,
        })
    }

    /// Where the files are.
    pub fn paths(&self) -> Vec<String> {
        let files = self.found.files.iter();
        files.map(|f| format!("/{}", f.meta.location)).collect()
    }

    /// Spreads files over partitions, in order and by size.
    fn groups(&self, files: Vec<PartitionedFile>, target: usize) -> Vec<FileGroup> {
        let total: u64 = files.iter().map(|f| f.object_meta.size).sum();
        let share = (total / target.max(1) as u64).max(1);
        let mut groups: Vec<Vec<PartitionedFile>> = vec![vec![]];
        let mut size = 0;
        for file in files {
            if size >= share && groups.len() < target {
                groups.push(vec![]);
                size = 0;
            }
            size += file.object_meta.size;
            if let Some(group) = groups.last_mut() {
                group.push(file);
            }
        }
        groups.into_iter().map(FileGroup::new).collect()
    }

    /// Fills in what the files say about themselves.
    async fn with_statistics(
        &self,
        state: &dyn Session,
    ) -> Result<(Vec<PartitionedFile>, Statistics)> {
        let mut files = self.files.clone();
        let unknown = Statistics::new_unknown(&self.schema);
        if files.len() > MAX_FILES_WITH_STATISTICS || !self.partitions.is_empty() {
            return Ok((files, unknown));
        }
        let store = state.runtime_env().object_store(&self.found.store)?;
        for file in &mut files {
            let schema = Arc::clone(&self.file_schema);
            let statistics = self
                .format
                .infer_stats(state, &store, schema, &file.object_meta)
                .await?;
            file.statistics = Some(Arc::new(statistics));
        }
        let known: Vec<Statistics> = files
            .iter()
            .filter_map(|f| f.statistics.as_deref().cloned())
            .collect();
        let total = Statistics::try_merge_iter(known.iter(), &self.schema).unwrap_or(unknown);
        Ok((files, total.to_inexact()))
    }
}

fn partition_value(text: Option<&str>, data_type: &DataType) -> errors::Result<ScalarValue> {
    let Some(text) = text else {
        return ScalarValue::try_from(data_type).map_err(from_datafusion);
    };
    let zone = parse_zone(types::UTC).map_err(from_datafusion)?;
    let caster = Caster {
        mode: CastMode::Try,
        zone,
        zone_name: types::UTC,
    };
    let array = ScalarValue::from(text)
        .to_array()
        .map_err(from_datafusion)?;
    let value = caster.cast(&array, data_type).map_err(from_datafusion)?;
    ScalarValue::try_from_array(&value, 0).map_err(from_datafusion)
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(
                &self.schema,
                projection,
            )?)));
        }
        let (files, statistics) = self.with_statistics(state).await?;
        let table_schema = TableSchema::builder(Arc::clone(&self.file_schema))
            .with_table_partition_cols(self.partitions.clone())
            .build();
        let source = self.format.file_source(table_schema);
        let config = FileScanConfigBuilder::new(self.found.store.clone(), source)
            .with_file_groups(self.groups(files, state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, config).await
    }
}
