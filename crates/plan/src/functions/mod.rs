//! Functions of Spark's by name: one file a topic, [`table`] for those that need no more
//! than a line.

mod aggregate;
mod collection;
mod conditional;
mod datetime;
pub(crate) mod engine;
mod lambda;
mod math;
mod operators;
mod session;
mod string;
mod table;
mod window;

use datafusion::logical_expr::Expr;

use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result};

pub(crate) use aggregate::ordered_set;
pub(crate) use lambda::higher_order;
pub(crate) use window::{is_window_function, window_call};

/// A call with its arguments resolved.
pub(crate) struct Call<'a, 's> {
    /// Name in lower case.
    pub name: String,
    pub args: Vec<Typed>,
    pub distinct: bool,
    pub scope: &'a Scope<'s>,
}

impl Call<'_, '_> {
    /// Spark's text for a call: `name(a, b)`.
    pub fn text(&self) -> String {
        self.text_as(&self.name)
    }

    pub fn text_as(&self, name: &str) -> String {
        let args: Vec<&str> = self.args.iter().map(|a| a.name.as_str()).collect();
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        format!("{name}({distinct}{})", args.join(", "))
    }

    /// Checks the number of arguments.
    pub fn expect(&self, min: usize, max: usize) -> Result<()> {
        let count = self.args.len();
        if (min..=max).contains(&count) {
            return Ok(());
        }
        let expected = if min == max {
            min.to_string()
        } else if max == usize::MAX {
            format!("> {}", min.saturating_sub(1))
        } else {
            let all: Vec<String> = (min..=max).map(|n| n.to_string()).collect();
            format!("[{}]", all.join(", "))
        };
        Err(errors::wrong_arguments(&self.name, &expected, count))
    }

    /// An argument by its place.
    pub fn arg(&self, index: usize) -> Result<&Typed> {
        self.args.get(index).ok_or_else(|| {
            errors::wrong_arguments(&self.name, &(index + 1).to_string(), self.args.len())
        })
    }

    /// The result under Spark's usual text.
    pub fn typed(&self, expr: Expr) -> Result<Typed> {
        self.scope.typed(expr, self.text())
    }

    pub fn named(&self, expr: Expr, name: impl Into<String>) -> Result<Typed> {
        self.scope.typed(expr, name)
    }
}

/// Builds a call of a built-in function; `None` when Spark has no such function.
pub(crate) fn build(analyzer: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    type Topic = fn(&Analyzer, &Call) -> Result<Option<Typed>>;
    const TOPICS: [Topic; 9] = [
        operators::build,
        conditional::build,
        aggregate::build,
        math::build,
        string::build,
        datetime::build,
        collection::build,
        session::build,
        table::build,
    ];
    for topic in TOPICS {
        if let Some(typed) = topic(analyzer, call)? {
            return Ok(Some(typed));
        }
    }
    Ok(None)
}
