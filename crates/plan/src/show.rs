//! Rows as tables of text: `show()`.

use arrow::array::RecordBatch;
use pyrite_functions::format::ValueFormat;

use crate::errors::{Result, from_datafusion};

/// The least width of a column, as in Spark.
const MIN_WIDTH: usize = 3;

/// Rows as text, with what `show()` is asked for.
pub(crate) struct Table<'a> {
    pub names: &'a [String],
    pub rows: usize,
    pub truncate: usize,
    pub time_zone: &'a str,
}

impl Table<'_> {
    /// The cells of at most `rows` rows, and whether there are more.
    fn cells(&self, batches: &[RecordBatch]) -> Result<(Vec<Vec<String>>, bool)> {
        let format = ValueFormat::show(self.time_zone).map_err(from_datafusion)?;
        let mut out = vec![];
        for batch in batches {
            for row in 0..batch.num_rows() {
                if out.len() == self.rows {
                    return Ok((out, true));
                }
                let mut cells = vec![];
                for column in batch.columns() {
                    let mut text = String::new();
                    format
                        .write(column.as_ref(), row, &mut text)
                        .map_err(from_datafusion)?;
                    cells.push(self.cut(&escaped(&text)));
                }
                out.push(cells);
            }
        }
        Ok((out, false))
    }

    fn cut(&self, text: &str) -> String {
        if self.truncate == 0 || text.chars().count() <= self.truncate {
            return text.to_owned();
        }
        if self.truncate < 4 {
            return text.chars().take(self.truncate).collect();
        }
        let mut out: String = text.chars().take(self.truncate - 3).collect();
        out.push_str("...");
        out
    }

    /// The table that `show()` prints.
    pub fn horizontal(&self, batches: &[RecordBatch]) -> Result<String> {
        let (cells, more) = self.cells(batches)?;
        // Names are never cut, as in Spark.
        let names: Vec<String> = self.names.iter().map(|n| escaped(n)).collect();
        let widths: Vec<usize> = (0..names.len())
            .map(|i| {
                let longest = cells.iter().map(|row| width(&row[i])).max().unwrap_or(0);
                longest.max(width(&names[i])).max(MIN_WIDTH)
            })
            .collect();
        let line: String = widths
            .iter()
            .map(|w| format!("+{}", "-".repeat(*w)))
            .collect::<String>()
            + "+\n";
        let row = |values: &[String]| -> String {
            let mut out = String::new();
            for (value, wanted) in values.iter().zip(&widths) {
                let padding = " ".repeat(wanted.saturating_sub(width(value)));
                out.push('|');
                if self.truncate > 0 {
                    out.push_str(&padding);
                    out.push_str(value);
                } else {
                    out.push_str(value);
                    out.push_str(&padding);
                }
            }
            out + "|\n"
        };
        let mut out = line.clone() + &row(&names) + &line;
        for cells in &cells {
            out.push_str(&row(cells));
        }
        out.push_str(&line);
        out.push_str(&self.footer(more));
        Ok(out)
    }

    /// One line a value.
    pub fn vertical(&self, batches: &[RecordBatch]) -> Result<String> {
        let (cells, more) = self.cells(batches)?;
        // Names are never cut, as in Spark.
        let names: Vec<String> = self.names.iter().map(|n| escaped(n)).collect();
        let name_width = names
            .iter()
            .map(|n| width(n))
            .max()
            .unwrap_or(0)
            .max(MIN_WIDTH);
        let value_width = cells
            .iter()
            .flatten()
            .map(|c| width(c))
            .max()
            .unwrap_or(0)
            .max(MIN_WIDTH);
        let mut out = String::new();
        for (index, row) in cells.iter().enumerate() {
            let title = format!("-RECORD {index}");
            let dashes = (name_width + value_width + 5).saturating_sub(title.len());
            out.push_str(&title);
            out.push_str(&"-".repeat(dashes));
            out.push('\n');
            for (name, value) in names.iter().zip(row) {
                let name = format!("{name}{}", " ".repeat(name_width - width(name)));
                let value = format!("{value}{}", " ".repeat(value_width - width(value)));
                out.push_str(&format!(" {name} | {value} \n"));
            }
        }
        if cells.is_empty() && !more {
            return Ok("(0 rows)\n".into());
        }
        out.push_str(&self.footer(more));
        Ok(out)
    }

    fn footer(&self, more: bool) -> String {
        match (more, self.rows) {
            (false, _) => String::new(),
            (true, 1) => "only showing top 1 row".into(),
            (true, rows) => format!("only showing top {rows} rows"),
        }
    }

    /// The table for notebooks.
    pub fn html(&self, batches: &[RecordBatch]) -> Result<String> {
        let (cells, more) = self.cells(batches)?;
        let mut out = String::from("<table border='1'>\n");
        let escape = |text: &str| {
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
        };
        let row = |values: &[String], tag: &str| {
            let cells: Vec<String> = values.iter().map(|v| escape(v)).collect();
            format!(
                "<tr><{tag}>{}</{tag}></tr>\n",
                cells.join(&format!("</{tag}><{tag}>"))
            )
        };
        out.push_str(&row(self.names, "th"));
        for cells in &cells {
            out.push_str(&row(cells, "td"));
        }
        out.push_str("</table>\n");
        out.push_str(&self.footer(more));
        Ok(out)
    }
}

/// Control characters in the way that `show()` writes them.
fn escaped(text: &str) -> String {
    if !text.contains(['\n', '\r', '\t', '\u{c}', '\u{8}', '\u{b}', '\u{7}']) {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{7}' => out.push_str("\\a"),
            other => out.push(other),
        }
    }
    out
}

/// Columns that text takes on a terminal: wide characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

fn is_wide(c: char) -> bool {
    matches!(
        c as u32,
        0x1100..=0x115F
            | 0x2E80..=0xA4CF
            | 0xAC00..=0xD7A3
            | 0xF900..=0xFAFF
            | 0xFE30..=0xFE4F
            | 0xFF00..=0xFF60
            | 0xFFE0..=0xFFE6
    )
}
