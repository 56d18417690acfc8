//! Lines of text files.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeBinaryBuilder, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use pyrite_python::frames::{batch_from_array, frame_schema};

use super::{take_children, unknown_partitions};
use crate::errors::{internal, io};
use crate::partition_table;
use crate::text_input::{Compression, FileSplit};

/// Bytes that are read from a file at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// A batch of lines is full at this many lines or bytes.
const BATCH_LINES: usize = 8192;
const BATCH_BYTES: usize = 512 * 1024;

/// Reads the lines of file ranges, one frame a line: UTF-8 without the line end.
///
/// Ranges are cut anywhere: a range that does not begin its file skips to the first line that
/// starts after its first byte, and every range reads the line that starts at or before its
/// end to that line's end (Hadoop's `LineRecordReader`). Lines end with `\n`, `\r` or `\r\n`.
#[derive(Debug)]
pub struct TextFileExec {
    /// A row a range: path, start and length.
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl TextFileExec {
    pub(crate) fn try_new(splits: &[FileSplit]) -> Result<Self> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("start", DataType::UInt64, false),
            Field::new("length", DataType::UInt64, false),
        ]));
        let rows = splits
            .iter()
            .map(|split| {
                let path = split.path.to_string_lossy();
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(StringArray::from(vec![path.as_ref()])),
                    Arc::new(UInt64Array::from(vec![split.start])),
                    Arc::new(UInt64Array::from(vec![split.length])),
                ];
                RecordBatch::try_new(Arc::clone(&schema), columns)
            })
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self::with_table(partition_table::of_rows(schema, rows)?))
    }

    pub(crate) fn with_table(table: Arc<dyn ExecutionPlan>) -> Self {
        let properties = unknown_partitions(frame_schema(), partition_table::len(&table));
        Self { table, properties }
    }

    fn split(&self, partition: usize) -> Result<FileSplit> {
        let row = partition_table::row(&self.table, partition)?;
        let wrong = || internal("not the partition table of a text file");
        let number = |column: usize| {
            let column = row.columns().get(column).ok_or_else(wrong)?;
            let column = column.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
            Ok::<_, datafusion::common::DataFusionError>(column.value(0))
        };
        let path = row.column(0).as_string_opt::<i32>().ok_or_else(wrong)?;
        Ok(FileSplit {
            path: PathBuf::from(path.value(0)),
            start: number(1)?,
            length: number(2)?,
        })
    }
}

impl DisplayAs for TextFileExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = partition_table::len(&self.table);
        write!(f, "TextFileExec: partitions={partitions}")
    }
}

impl ExecutionPlan for TextFileExec {
    common_methods!("TextFileExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.table]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [table] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::with_table(table)))
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let split = self.split(partition)?;
        let mut builder = RecordBatchReceiverStream::builder(frame_schema(), 2);
        let batches = builder.tx();
        builder.spawn_blocking(move || {
            let mut lines = Lines::open(&split)?;
            while let Some(batch) = lines.next_batch()? {
                if batches.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}

/// The lines of one range.
struct Lines {
    reader: Box<dyn BufRead + Send>,
    path: PathBuf,
    /// Where the next line starts, in the file as it reads.
    position: u64,
    /// A line that starts after this is not ours; none when the range is all of the file.
    last_start: Option<u64>,
    done: bool,
}

impl Lines {
    fn open(split: &FileSplit) -> Result<Self> {
        let failed = |e: &std::io::Error| io("read", &split.path, e);
        let mut file = File::open(&split.path).map_err(|e| failed(&e))?;
        let compression = Compression::of_path(&split.path);
        let plain = compression == Compression::None;
        if plain {
            file.seek(SeekFrom::Start(split.start))
                .map_err(|e| failed(&e))?;
        }
        let reader = decompressed(file, compression, &split.path)?;
        let mut lines = Self {
            reader: Box::new(BufReader::with_capacity(BUFFER_BYTES, reader)),
            path: split.path.clone(),
            position: split.start,
            last_start: plain.then_some(split.start + split.length),
            done: false,
        };
        if split.start > 0 {
            lines.read_line(&mut Vec::new())?;
        } else {
            lines.skip_byte_order_mark()?;
        }
        Ok(lines)
    }

    fn skip_byte_order_mark(&mut self) -> Result<()> {
        let buffer = self
            .reader
            .fill_buf()
            .map_err(|e| io("read", &self.path, &e))?;
        if buffer.starts_with(b"\xef\xbb\xbf") {
            self.reader.consume(3);
            self.position += 3;
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut builder = LargeBinaryBuilder::with_capacity(1024, BUFFER_BYTES);
        let mut line = Vec::new();
        let (mut lines, mut bytes) = (0, 0);
        while lines < BATCH_LINES && bytes < BATCH_BYTES && !self.done {
            if self.last_start.is_some_and(|last| self.position > last) {
                self.done = true;
                break;
            }
            // Nearly every line lies in the buffer as a whole and is copied only once.
            if let Some((line, length)) = self.buffered_line()? {
                append_text(&mut builder, line);
                bytes += line.len();
                self.consume(length);
            } else {
                line.clear();
                if !self.read_line(&mut line)? {
                    self.done = true;
                    break;
                }
                append_text(&mut builder, &line);
                bytes += line.len();
            }
            lines += 1;
        }
        Ok((lines > 0).then(|| batch_from_array(builder.finish())))
    }

    /// The next line and its length with its end, if both are in the buffer.
    fn buffered_line(&mut self) -> Result<Option<(&[u8], usize)>> {
        let buffer = self
            .reader
            .fill_buf()
            .map_err(|e| io("read", &self.path, &e))?;
        let Some(end) = line_end(buffer) else {
            return Ok(None);
        };
        Ok(match (buffer[end], buffer.get(end + 1)) {
            (b'\n', _) => Some((&buffer[..end], end + 1)),
            (_, Some(b'\n')) => Some((&buffer[..end], end + 2)),
            (_, Some(_)) => Some((&buffer[..end], end + 1)),
            (_, None) => None,
        })
    }

    /// Reads a line without its end; false at the end of the file.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let mut found_any = false;
        loop {
            let buffer = self
                .reader
                .fill_buf()
                .map_err(|e| io("read", &self.path, &e))?;
            if buffer.is_empty() {
                return Ok(found_any);
            }
            found_any = true;
            let end = line_end(buffer);
            line.extend_from_slice(&buffer[..end.unwrap_or(buffer.len())]);
            let Some(end) = end else {
                let length = buffer.len();
                self.consume(length);
                continue;
            };
            let carriage_return = buffer[end] == b'\r';
            self.consume(end + 1);
            if carriage_return {
                self.skip_line_feed()?;
            }
            return Ok(true);
        }
    }

    fn skip_line_feed(&mut self) -> Result<()> {
        let buffer = self
            .reader
            .fill_buf()
            .map_err(|e| io("read", &self.path, &e))?;
        if buffer.first() == Some(&b'\n') {
            self.consume(1);
        }
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.position += bytes as u64;
    }
}

fn line_end(buffer: &[u8]) -> Option<usize> {
    buffer.iter().position(|&b| b == b'\n' || b == b'\r')
}

/// Appends a line; Java's decoder puts U+FFFD where the bytes are not UTF-8.
fn append_text(builder: &mut LargeBinaryBuilder, line: &[u8]) {
    builder.append_value(String::from_utf8_lossy(line).as_bytes());
}

fn decompressed(file: File, compression: Compression, path: &Path) -> Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        Compression::Deflate => Box::new(flate2::read::ZlibDecoder::new(file)),
        Compression::Zstd => Box::new(zstd::Decoder::new(file).map_err(|e| io("read", path, &e))?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &Path, start: u64, length: u64) -> Vec<String> {
        let split = FileSplit {
            path: path.to_owned(),
            start,
            length,
        };
        let mut lines = Lines::open(&split).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = lines.next_batch().unwrap() {
            let frames = pyrite_python::frames::frame_column(&batch).unwrap();
            let text = |f: Option<&[u8]>| String::from_utf8(f.unwrap().to_vec()).unwrap();
            found.extend(frames.iter().map(text));
        }
        found
    }

    proptest! {
        #[test]
        fn every_line_is_in_exactly_one_split(
            text in "[ab\\n\\r]{0,60}",
            cuts in prop::collection::vec(0_usize..60, 0..5),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("text");
            std::fs::write(&path, &text).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&c| c > 0 && c < text.len()).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            cuts.dedup();
            let mut start = 0;
            let mut pieces = Vec::new();
            for cut in cuts {
                pieces.extend(read(&path, start as u64, (cut - start) as u64));
                start = cut;
            }
            let whole = text.replace("\r\n", "\n").replace('\r', "\n");
            let whole: Vec<&str> = whole.split_terminator('\n').collect();
            prop_assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn compressed_text_is_read_whole() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.gz");
        let member = |text: &str| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let bytes = [member("one\ntwo"), member("2\nthree\n")].concat();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path, 0, bytes.len() as u64), ["one", "two2", "three"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, b"\xef\xbb\xbfa\xffb\n").unwrap();
        assert_eq!(read(&path, 0, 7), ["a\u{fffd}b"]);
    }
}
