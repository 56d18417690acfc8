//! The last step of `show()` and the like, which the driver does on the rows it collected.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pyrite_proto::connect;
use pyrite_proto::error::SparkError;

use crate::show::Table;
use crate::types;

/// A step after the plan has run.
///
/// The driver runs the plan, gives every batch in partition order to [`Finisher::push`] and
/// sends what [`Finisher::finish`] returns. The plan is limited already, so little is held.
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// `DataFrame.show()`: one row with one string.
    Show {
        /// Rows to show; the plan yields one more if there are more.
        rows: usize,
        /// Longest cell, 0 for no limit.
        truncate: usize,
        /// One line a value instead of a table.
        vertical: bool,
        /// Names of the columns.
        names: Vec<String>,
        /// The session's time zone.
        time_zone: String,
    },
    /// `DataFrame._repr_html_()`: one row with one string.
    Html {
        /// Rows to show; the plan yields one more if there are more.
        rows: usize,
        /// Longest cell, 0 for no limit.
        truncate: usize,
        /// Names of the columns.
        names: Vec<String>,
        /// The session's time zone.
        time_zone: String,
    },
    /// `DataFrame.tail(n)`: the last `n` rows.
    Tail {
        /// Number of rows.
        rows: usize,
        /// Schema of the rows.
        schema: connect::DataType,
    },
}

impl Finish {
    /// Schema of what [`Finisher::finish`] returns.
    ///
    /// # Errors
    /// None today; the signature follows [`crate::ResolvedPlan::spark_schema`].
    pub fn spark_schema(&self) -> Result<connect::DataType, SparkError> {
        Ok(match self {
            Self::Show { .. } => types::single_string("show_string"),
            Self::Html { .. } => types::single_string("html_string"),
            Self::Tail { schema, .. } => schema.clone(),
        })
    }

    /// Starts the step.
    pub fn start(self) -> Finisher {
        Finisher {
            finish: self,
            batches: Vec::new(),
        }
    }
}

/// A running [`Finish`].
#[derive(Debug)]
pub struct Finisher {
    finish: Finish,
    batches: Vec<RecordBatch>,
}

impl Finisher {
    /// Takes the next batch, in partition order.
    pub fn push(&mut self, batch: RecordBatch) {
        self.batches.push(batch);
        if let Finish::Tail { rows, .. } = self.finish {
            drop_from_front(&mut self.batches, rows);
        }
    }

    /// Returns the rows to send.
    ///
    /// # Errors
    /// When a value cannot be formatted.
    pub fn finish(self) -> Result<Vec<RecordBatch>, SparkError> {
        match self.finish {
            Finish::Tail { .. } => Ok(self.batches),
            Finish::Show {
                rows,
                truncate,
                vertical,
                names,
                time_zone,
            } => {
                let table = Table {
                    names: &names,
                    rows,
                    truncate,
                    time_zone: &time_zone,
                };
                let text = if vertical {
                    table.vertical(&self.batches)?
                } else {
                    table.horizontal(&self.batches)?
                };
                one_text("show_string", text)
            }
            Finish::Html {
                rows,
                truncate,
                names,
                time_zone,
            } => {
                let table = Table {
                    names: &names,
                    rows,
                    truncate,
                    time_zone: &time_zone,
                };
                one_text("html_string", table.html(&self.batches)?)
            }
        }
    }
}

fn one_text(name: &str, text: String) -> Result<Vec<RecordBatch>, SparkError> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    RecordBatch::try_from_iter([(name, column)])
        .map(|batch| vec![batch])
        .map_err(|e| SparkError::other(e.to_string()))
}

fn drop_from_front(batches: &mut Vec<RecordBatch>, keep: usize) {
    let mut surplus = batches
        .iter()
        .map(RecordBatch::num_rows)
        .sum::<usize>()
        .saturating_sub(keep);
    while surplus > 0 {
        let first = &batches[0];
        let rows = first.num_rows();
        if rows <= surplus {
            surplus -= rows;
            batches.remove(0);
        } else {
            batches[0] = first.slice(surplus, rows - surplus);
            surplus = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    fn batch(values: Vec<Option<i32>>) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int32Array::from(values));
        RecordBatch::try_from_iter([("id", ids)]).unwrap()
    }

    fn shown(finish: Finish, batches: Vec<RecordBatch>) -> String {
        let mut finisher = finish.start();
        batches.into_iter().for_each(|b| finisher.push(b));
        let out = finisher.finish().unwrap();
        use arrow::array::AsArray;
        out[0].column(0).as_string::<i32>().value(0).to_owned()
    }

    #[test]
    fn show_cuts_after_the_wanted_rows() {
        let finish = Finish::Show {
            rows: 2,
            truncate: 20,
            vertical: false,
            names: vec!["id".into()],
            time_zone: "UTC".into(),
        };
        let text = shown(
            finish,
            vec![batch(vec![Some(1), None]), batch(vec![Some(3)])],
        );
        assert_eq!(
            text,
            "+----+\n|  id|\n+----+\n|   1|\n|NULL|\n+----+\nonly showing top 2 rows"
        );
    }

    #[test]
    fn tail_keeps_only_the_last_rows() {
        let schema = types::single_string("x");
        let mut finisher = Finish::Tail { rows: 3, schema }.start();
        for start in 0..10 {
            finisher.push(batch((start * 2..start * 2 + 2).map(Some).collect()));
        }
        let rows: usize = finisher
            .finish()
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        assert_eq!(rows, 3);
    }
}
