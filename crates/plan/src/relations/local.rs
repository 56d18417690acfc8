//! Rows that the client sent: `createDataFrame` of local data.

use std::hash::Hash;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use datafusion::common::Column;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use prost::Message;
use pyrite_functions::cast::Caster;
use pyrite_functions::format::parse_zone;
use pyrite_proto::connect;
use pyrite_proto::connect::data_type::Kind;
use pyrite_proto::error::SparkError;

use super::build;
use crate::analyzer::{Analyzer, scan, table_reference, unique_name};
use crate::errors::{self, Result, from_datafusion};
use crate::leaves::{Leaf, LoadedLeaf};
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::{sqltext, types};

impl Analyzer<'_> {
    pub(super) fn local(&self, local: &connect::LocalRelation) -> Result<ResolvedPlan> {
        let data = local.data.iter().cloned().collect::<Vec<_>>();
        let schema = local.schema.as_deref();
        self.local_data(&data, schema, &(&local.data, schema))
    }

    pub(super) fn cached_local(
        &self,
        cached: &connect::CachedLocalRelation,
    ) -> Result<ResolvedPlan> {
        let bytes = self.artifact(&cached.hash)?;
        let local = connect::LocalRelation::decode(bytes)
            .map_err(|e| SparkError::other(format!("cached local data is malformed: {e}")))?;
        self.local(&local)
    }

    pub(super) fn chunked_local(
        &self,
        chunked: &connect::ChunkedCachedLocalRelation,
    ) -> Result<ResolvedPlan> {
        let mut chunks = vec![];
        for hash in &chunked.data_hashes {
            chunks.push(self.artifact(hash)?);
        }
        let schema = match &chunked.schema_hash {
            None => None,
            Some(hash) => Some(
                String::from_utf8(self.artifact(hash)?.to_vec())
                    .map_err(|e| SparkError::other(format!("a cached schema is malformed: {e}")))?,
            ),
        };
        let content = (&chunked.data_hashes, &chunked.schema_hash);
        self.local_data(&chunks, schema.as_deref(), &content)
    }

    fn artifact(&self, hash: &str) -> Result<Bytes> {
        match self.leaf(Leaf::Artifact(hash.to_owned()))? {
            LoadedLeaf::Bytes(bytes) => Ok(bytes.clone()),
            _ => Err(SparkError::other("an artifact is not data")),
        }
    }

    pub(super) fn remote(&self, remote: &connect::CachedRemoteRelation) -> Result<ResolvedPlan> {
        match self.leaf(Leaf::Remote(remote.relation_id.clone()))? {
            LoadedLeaf::Plan(plan) => super::join::fresh_names(plan.as_ref().clone()),
            _ => Err(SparkError::other("a cached DataFrame is not a plan")),
        }
    }

    pub(super) fn extension(&self, any: &prost_types::Any) -> Result<ResolvedPlan> {
        let content = any.encode_to_vec();
        match self.leaf(Leaf::Extension(content.clone()))? {
            LoadedLeaf::Table(table) => {
                let (plan, fields) = scan("rows", &content, Arc::clone(table))?;
                Ok(ResolvedPlan::new(plan, fields))
            }
            _ => Err(SparkError::other("a relation extension is not a table")),
        }
    }

    /// A table of batches in Arrow's stream format, brought to a schema if there is one. Tables
    /// that hold the same must get the same `content`.
    fn local_data(
        &self,
        chunks: &[Bytes],
        schema: Option<&str>,
        content: &impl Hash,
    ) -> Result<ResolvedPlan> {
        let wanted = match schema {
            None => None,
            Some(text) => Some(struct_fields(text)?),
        };
        let mut batches = vec![];
        let mut found = None;
        for chunk in chunks {
            let reader =
                StreamReader::try_new(Cursor::new(chunk.clone()), None).map_err(malformed)?;
            found.get_or_insert_with(|| reader.schema());
            for batch in reader {
                batches.push(batch.map_err(malformed)?);
            }
        }
        let fields: Vec<ResolvedField> = match (&wanted, &found) {
            (Some(wanted), _) => wanted.clone(),
            (None, Some(schema)) => schema
                .fields()
                .iter()
                .map(|f| {
                    ResolvedField::new(f.name(), types::output_type(f.data_type()), f.is_nullable())
                })
                .collect(),
            (None, None) => return Err(errors::invalid_message("LocalRelation.schema")),
        };
        self.memory_table(fields, batches, content)
    }

    /// A table of batches whose columns get the names and types of `fields`. Tables that hold
    /// the same must get the same `content`.
    pub(crate) fn memory_table(
        &self,
        fields: Vec<ResolvedField>,
        batches: Vec<RecordBatch>,
        content: &impl Hash,
    ) -> Result<ResolvedPlan> {
        // The table's own names differ from the columns', or the engine takes the one, reached
        // through the table, and the other for an ambiguity.
        let own: Vec<String> = fields.iter().map(|f| unique_name(&f.name)).collect();
        let arrow: Vec<Field> = fields
            .iter()
            .zip(&own)
            .map(|(f, own)| Field::new(own, f.data_type.clone(), f.nullable))
            .collect();
        let schema = Arc::new(Schema::new(arrow));
        let zone = parse_zone(types::UTC).map_err(from_datafusion)?;
        let caster = Caster {
            mode: self.cast_mode(),
            zone,
            zone_name: types::UTC,
        };
        let batches = batches
            .into_iter()
            .map(|batch| {
                if batch.num_columns() != fields.len() {
                    return Err(errors::column_count_mismatch(
                        "createDataFrame",
                        fields.len(),
                        batch.num_columns(),
                    ));
                }
                let columns = batch
                    .columns()
                    .iter()
                    .zip(&fields)
                    .map(|(column, field)| conform(&caster, column, field))
                    .collect::<Result<Vec<_>>>()?;
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
                    .map_err(malformed)
            })
            .collect::<Result<Vec<_>>>()?;
        let partitions = split(batches, self.partitions);
        let table = MemTable::try_new(schema, partitions).map_err(from_datafusion)?;
        let reference = table_reference("local", &(content, self.partitions));
        let scan =
            LogicalPlanBuilder::scan(reference.clone(), provider_as_source(Arc::new(table)), None)
                .map_err(from_datafusion)?;
        // Columns are reached without the table's name from here on.
        let columns: Vec<Expr> = fields
            .iter()
            .zip(&own)
            .map(|(f, own)| {
                Expr::Column(Column::new(Some(reference.clone()), own)).alias(&f.column)
            })
            .collect();
        let plan = build(scan.project(columns))?;
        Ok(ResolvedPlan::new(plan, fields))
    }
}

fn malformed(error: arrow::error::ArrowError) -> SparkError {
    SparkError::other(format!("local data is malformed: {error}"))
}

fn struct_fields(text: &str) -> Result<Vec<ResolvedField>> {
    let schema = sqltext::schema(text)?;
    let Some(Kind::Struct(structure)) = &schema.kind else {
        // A single type stands for a column named `value`.
        return Ok(vec![ResolvedField::new(
            "value",
            types::to_arrow(&schema)?,
            true,
        )]);
    };
    let arrow = types::struct_fields(structure)?;
    Ok(arrow
        .iter()
        .zip(&structure.fields)
        .map(|(field, spark)| {
            let mut out =
                ResolvedField::new(field.name(), field.data_type().clone(), field.is_nullable());
            out.metadata.clone_from(&spark.metadata);
            out
        })
        .collect())
}

/// Brings a column to its type: the client's Arrow types vary with pandas.
fn conform(caster: &Caster, column: &ArrayRef, field: &ResolvedField) -> Result<ArrayRef> {
    if *column.data_type() == field.data_type {
        return Ok(Arc::clone(column));
    }
    let plain = types::output_type(column.data_type());
    let column = if plain == *column.data_type() {
        Arc::clone(column)
    } else {
        arrow::compute::cast(column, &plain).map_err(malformed)?
    };
    if let (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_))) =
        (column.data_type(), &field.data_type)
    {
        return arrow::compute::cast(&column, &field.data_type).map_err(malformed);
    }
    caster
        .cast(&column, &field.data_type)
        .map_err(from_datafusion)
}

/// Spreads rows evenly, as Spark does with local data.
fn split(batches: Vec<RecordBatch>, partitions: usize) -> Vec<Vec<RecordBatch>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let partitions = partitions.min(rows).max(1);
    if partitions == 1 {
        return vec![batches];
    }
    let mut out: Vec<Vec<RecordBatch>> = vec![vec![]; partitions];
    let mut start = 0;
    for batch in batches {
        let end = start + batch.num_rows();
        for (p, part) in out.iter_mut().enumerate() {
            let (low, high) = (p * rows / partitions, (p + 1) * rows / partitions);
            let (low, high) = (low.max(start), high.min(end));
            if low < high {
                part.push(batch.slice(low - start, high - low));
            }
        }
        start = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    #[test]
    fn rows_are_spread_evenly_and_stay_in_order() {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..10));
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let parts = split(vec![batch.slice(0, 7), batch.slice(7, 3)], 3);
        let sizes: Vec<usize> = parts
            .iter()
            .map(|p| p.iter().map(RecordBatch::num_rows).sum())
            .collect();
        assert_eq!(sizes, [3, 3, 4]);
    }
}
