//! The files of one partition, in each format.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;

use super::write::WriteSpec;
use crate::datetime_pattern::Pattern;
use crate::format::{ValueFormat, local_time, parse_zone};

/// Above so many files open at once, the present ones are finished first.
const MAX_OPEN_FILES: usize = 128;

/// Parquet writers of a partition hold about this much before row groups go to their files, as
/// in Spark (`parquet.block.size`).
const ROW_GROUP_BYTES: usize = 128 << 20;

/// What stands for a null in a directory's name.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Writes the rows of a partition.
pub(super) struct PartitionWriter {
    spec: WriteSpec,
    partition: usize,
    file_schema: SchemaRef,
    /// Places of the columns that go into files, and of those that become directories.
    kept: Vec<usize>,
    keys: Vec<usize>,
    open: HashMap<String, OpenFile>,
    sequence: usize,
    done: Vec<(String, i64)>,
}

struct OpenFile {
    name: String,
    rows: i64,
    writer: FileWriter,
}

impl PartitionWriter {
    pub fn new(spec: WriteSpec, schema: SchemaRef, partition: usize) -> Result<Self> {
        let is_key = |name: &str| {
            spec.partition_by
                .iter()
                .any(|p| p.eq_ignore_ascii_case(name))
        };
        let kept: Vec<usize> = (0..schema.fields().len())
            .filter(|i| !is_key(schema.field(*i).name()))
            .collect();
        let mut keys = vec![];
        for name in &spec.partition_by {
            match schema
                .fields()
                .iter()
                .position(|f| f.name().eq_ignore_ascii_case(name))
            {
                Some(index) => keys.push(index),
                None => return exec_err!("partition column `{name}` is not in the data"),
            }
        }
        let file_schema = Arc::new(schema.project(&kept)?);
        Ok(Self {
            spec,
            partition,
            file_schema,
            kept,
            keys,
            open: HashMap::new(),
            sequence: 0,
            done: vec![],
        })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.keys.is_empty() {
            self.append(String::new(), batch)?;
            return self.make_room();
        }
        let mut groups: HashMap<String, Vec<u32>> = HashMap::new();
        for row in 0..batch.num_rows() {
            groups
                .entry(self.directory_of(batch, row)?)
                .or_default()
                .push(row as u32);
        }
        for (directory, rows) in groups {
            let rows = take_record_batch(&batch.project(&self.kept)?, &UInt32Array::from(rows))?;
            self.append(directory, &rows)?;
        }
        self.make_room()
    }

    /// Ends row groups, the largest first, while the open files hold too much in memory.
    fn make_room(&mut self) -> Result<()> {
        let held = |file: &OpenFile| file.writer.memory_size();
        let mut total: usize = self.open.values().map(held).sum();
        while total > ROW_GROUP_BYTES {
            let Some(largest) = self.open.values_mut().max_by_key(|file| held(file)) else {
                break;
            };
            total -= held(largest);
            largest.writer.end_row_group()?;
        }
        Ok(())
    }

    /// `a=1/b=x`, with the characters escaped that directories cannot have.
    fn directory_of(&self, batch: &RecordBatch, row: usize) -> Result<String> {
        let format = ValueFormat::cast(&self.spec.time_zone)?;
        let mut parts = vec![];
        for (index, name) in self.keys.iter().zip(&self.spec.partition_by) {
            let column = batch.column(*index);
            let mut value = String::new();
            if column.is_valid(row) {
                format.write(column.as_ref(), row, &mut value)?;
            }
            let value = if value.is_empty() {
                NULL_PARTITION.to_owned()
            } else {
                escaped(&value)
            };
            parts.push(format!("{}={value}", escaped(name)));
        }
        Ok(parts.join("/"))
    }

    fn append(&mut self, directory: String, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if !self.open.contains_key(&directory) {
            if self.open.len() >= MAX_OPEN_FILES {
                self.close_all()?;
            }
            let file = self.create(&directory)?;
            self.open.insert(directory.clone(), file);
        }
        let Some(file) = self.open.get_mut(&directory) else {
            return exec_err!("a file that was just opened is gone");
        };
        file.writer.write(batch)?;
        file.rows += batch.num_rows() as i64;
        Ok(())
    }

    fn create(&mut self, directory: &str) -> Result<OpenFile> {
        let extension = extension(&self.spec)?;
        let file = format!(
            "part-{:05}-{}-c{:03}{extension}",
            self.partition, self.spec.write_id, self.sequence
        );
        self.sequence += 1;
        let name = if directory.is_empty() {
            file
        } else {
            format!("{directory}/{file}")
        };
        let path = PathBuf::from(&self.spec.directory).join(&name);
        let failed = |e: std::io::Error| {
            DataFusionError::Execution(format!("writing `{}`: {e}", path.display()))
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let output = BufWriter::with_capacity(1 << 18, File::create(&path).map_err(failed)?);
        let writer = FileWriter::start(&self.spec, &self.file_schema, output)?;
        Ok(OpenFile {
            name,
            rows: 0,
            writer,
        })
    }

    fn close_all(&mut self) -> Result<()> {
        for (_, file) in self.open.drain() {
            file.writer.finish()?;
            self.done.push((file.name, file.rows));
        }
        Ok(())
    }

    /// Closes the files and returns their names and rows. The first partition writes a file
    /// even without rows, so that the schema is not lost.
    pub fn finish(mut self) -> Result<Vec<(String, i64)>> {
        if self.partition == 0
            && self.open.is_empty()
            && self.done.is_empty()
            && self.keys.is_empty()
        {
            let file = self.create("")?;
            self.open.insert(String::new(), file);
        }
        self.close_all()?;
        Ok(self.done)
    }
}

/// Spark's `ExternalCatalogUtils.escapePathName`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if (c as u32) < 0x20 || "\"#%'*/:=?\\\u{7f}{[]^".contains(c) {
            out.push_str(&format!("%{:02X}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

fn codec(spec: &WriteSpec) -> String {
    spec.options
        .get("compression")
        .or(spec.options.get("codec"))
        .cloned()
        .unwrap_or_default()
        .to_lowercase()
}

fn extension(spec: &WriteSpec) -> Result<String> {
    Ok(match spec.format.as_str() {
        "parquet" => match codec(spec).as_str() {
            "" | "snappy" => ".snappy.parquet".into(),
            "none" | "uncompressed" => ".parquet".into(),
            "gzip" => ".gz.parquet".into(),
            other => format!(".{other}.parquet"),
        },
        "text" => ".txt".into(),
        other => format!(".{other}"),
    })
}

/// A file in one of the formats.
enum FileWriter {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Csv(CsvWriter),
    Json(arrow::json::LineDelimitedWriter<BufWriter<File>>),
    Text(BufWriter<File>),
}

impl FileWriter {
    fn start(spec: &WriteSpec, schema: &SchemaRef, mut output: BufWriter<File>) -> Result<Self> {
        if spec.format != "parquet" && !matches!(codec(spec).as_str(), "" | "none" | "uncompressed")
        {
            return exec_err!(
                "compression `{}` of {} files is not supported yet",
                codec(spec),
                spec.format
            );
        }
        Ok(match spec.format.as_str() {
            "parquet" => {
                let properties = parquet_properties(spec)?;
                let writer = ArrowWriter::try_new(output, Arc::clone(schema), Some(properties))?;
                Self::Parquet(Box::new(writer))
            }
            "csv" => {
                let csv = CsvOptions::of(spec)?;
                if csv.header {
                    csv.write_header(schema, &mut output)?;
                }
                Self::Csv(CsvWriter {
                    options: csv,
                    output,
                })
            }
            "json" => Self::Json(arrow::json::LineDelimitedWriter::new(output)),
            "text" => {
                let one_text =
                    schema.fields().len() == 1 && schema.field(0).data_type() == &DataType::Utf8;
                if !one_text {
                    return exec_err!("text files hold one column of strings");
                }
                Self::Text(output)
            }
            other => return exec_err!("files of format `{other}` cannot be written"),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Parquet(writer) => writer.write(batch)?,
            Self::Json(writer) => writer.write(batch)?,
            Self::Csv(writer) => writer.write(batch)?,
            Self::Text(output) => {
                for value in batch.column(0).as_string::<i32>() {
                    output.write_all(value.unwrap_or_default().as_bytes())?;
                    output.write_all(b"\n")?;
                }
            }
        }
        Ok(())
    }

    /// What waits in memory for the end of a row group.
    fn memory_size(&self) -> usize {
        match self {
            Self::Parquet(writer) => writer.memory_size(),
            Self::Csv(_) | Self::Json(_) | Self::Text(_) => 0,
        }
    }

    fn end_row_group(&mut self) -> Result<()> {
        match self {
            Self::Parquet(writer) => writer.flush()?,
            Self::Csv(_) | Self::Json(_) | Self::Text(_) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Parquet(writer) => {
                writer.into_inner()?.flush()?;
            }
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            Self::Csv(mut writer) => writer.output.flush()?,
            Self::Text(mut output) => output.flush()?,
        }
        Ok(())
    }
}

fn parquet_properties(spec: &WriteSpec) -> Result<WriterProperties> {
    let compression = match codec(spec).as_str() {
        "" | "snappy" => Compression::SNAPPY,
        "none" | "uncompressed" => Compression::UNCOMPRESSED,
        "gzip" => Compression::GZIP(GzipLevel::default()),
        "zstd" => Compression::ZSTD(ZstdLevel::default()),
        "lz4" | "lz4_raw" => Compression::LZ4_RAW,
        other => return exec_err!("compression `{other}` of Parquet files is not supported yet"),
    };
    let metadata = KeyValue::new(
        "org.apache.spark.sql.parquet.row.metadata".to_owned(),
        spec.schema_json.clone(),
    );
    Ok(WriterProperties::builder()
        .set_compression(compression)
        .set_key_value_metadata(Some(vec![metadata]))
        .build())
}

struct CsvOptions {
    separator: String,
    quote: char,
    escape: char,
    header: bool,
    quote_all: bool,
    null_value: String,
    zone: arrow::array::timezone::Tz,
    zone_name: String,
    timestamps: Option<Pattern>,
    dates: Option<Pattern>,
}

impl CsvOptions {
    fn of(spec: &WriteSpec) -> Result<Self> {
        let option = |keys: &[&str]| keys.iter().find_map(|k| spec.options.get(*k).cloned());
        let one = |keys: &[&str], default: char| {
            option(keys)
                .and_then(|t| t.chars().next())
                .unwrap_or(default)
        };
        let flag = |key: &str| option(&[key]).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let pattern = |key: &str| option(&[key]).map(|p| Pattern::parse(&p)).transpose();
        let separator = match option(&["sep", "delimiter"]) {
            Some(text) if text == "\\t" => "\t".to_owned(),
            Some(text) => text,
            None => ",".to_owned(),
        };
        Ok(Self {
            separator,
            quote: one(&["quote"], '"'),
            escape: one(&["escape"], '\\'),
            header: flag("header"),
            quote_all: flag("quoteall"),
            null_value: option(&["nullvalue"]).unwrap_or_default(),
            zone: parse_zone(&spec.time_zone)?,
            zone_name: spec.time_zone.clone(),
            timestamps: pattern("timestampformat")?,
            dates: pattern("dateformat")?,
        })
    }

    fn write_header(&self, schema: &Schema, output: &mut impl Write) -> Result<()> {
        let names: Vec<String> = schema
            .fields()
            .iter()
            .map(|f| self.quoted(f.name()))
            .collect();
        writeln!(output, "{}", names.join(&self.separator))?;
        Ok(())
    }

    fn quoted(&self, text: &str) -> String {
        let special = text.contains(self.quote)
            || text.contains(&self.separator)
            || text.contains(['\n', '\r'])
            || text.starts_with([' ', '\t', '#'])
            || text.ends_with([' ', '\t']);
        if !special && !self.quote_all && !text.is_empty() {
            return text.to_owned();
        }
        let mut out = String::from(self.quote);
        for c in text.chars() {
            if c == self.quote {
                out.push(self.escape);
            }
            out.push(c);
        }
        out.push(self.quote);
        out
    }

    fn cell(&self, format: &ValueFormat, column: &ArrayRef, row: usize) -> Result<String> {
        if column.is_null(row) {
            return Ok(self.null_value.clone());
        }
        let mut text = String::new();
        match column.data_type() {
            DataType::Timestamp(_, zone) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                let zone = zone.as_ref().map(|_| &self.zone);
                match (&self.timestamps, local_time(micros, zone)) {
                    (Some(pattern), Some(local)) => {
                        let utc = chrono::DateTime::from_timestamp_micros(micros);
                        let offset =
                            utc.map_or(0, |u| (local - u.naive_utc()).num_seconds() as i32);
                        text = pattern.format(local, offset, &self.zone_name);
                    }
                    (None, Some(local)) => text = iso(local, micros, zone),
                    (_, None) => format.write(column.as_ref(), row, &mut text)?,
                }
            }
            DataType::Date32 => {
                let days = column
                    .as_primitive::<arrow::datatypes::Date32Type>()
                    .value(row);
                let date =
                    chrono::NaiveDate::from_epoch_days(days).and_then(|d| d.and_hms_opt(0, 0, 0));
                match (&self.dates, date) {
                    (Some(pattern), Some(date)) => text = pattern.format(date, 0, &self.zone_name),
                    _ => format.write(column.as_ref(), row, &mut text)?,
                }
            }
            _ => format.write(column.as_ref(), row, &mut text)?,
        }
        Ok(self.quoted(&text))
    }
}

/// `2020-01-02T03:04:05.678Z`, or with the zone's offset.
fn iso(
    local: chrono::NaiveDateTime,
    micros: i64,
    zone: Option<&arrow::array::timezone::Tz>,
) -> String {
    let base = local.format("%Y-%m-%dT%H:%M:%S%.3f");
    match zone {
        None => base.to_string(),
        Some(_) => {
            let utc = chrono::DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc());
            let seconds = utc.map_or(0, |utc| (local - utc).num_seconds());
            match seconds {
                0 => format!("{base}Z"),
                s => {
                    let sign = if s < 0 { '-' } else { '+' };
                    format!("{base}{sign}{:02}:{:02}", s.abs() / 3600, s.abs() / 60 % 60)
                }
            }
        }
    }
}

struct CsvWriter {
    options: CsvOptions,
    output: BufWriter<File>,
}

impl CsvWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let format = ValueFormat::cast(&self.options.zone_name)?;
        for row in 0..batch.num_rows() {
            for (index, column) in batch.columns().iter().enumerate() {
                if index > 0 {
                    self.output.write_all(self.options.separator.as_bytes())?;
                }
                let cell = self.options.cell(&format, column, row)?;
                self.output.write_all(cell.as_bytes())?;
            }
            self.output.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_escaped() {
        assert_eq!(escaped("a:b/c"), "a%3Ab%2Fc");
        assert_eq!(escaped("plain x"), "plain x");
    }
}
