//! Logs in the layout of Spark's console: `26/11/22 13:20:01 INFO Master: message`.

use std::fmt;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, registry};

/// Starts logging to stderr, and to `<log_dir>/<name>.log` if there is a directory. `PYRITE_LOG`
/// takes a filter such as `debug` or `pyrite_cluster=trace`.
///
/// # Errors
/// When the file cannot be opened or the filter cannot be read.
pub fn start(log_file: Option<&Path>) -> anyhow::Result<()> {
    let filter = match std::env::var("PYRITE_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text)?,
        _ => EnvFilter::new(
            "warn,pyrite=info,pyrite_cluster=info,pyrite_executor=info,pyrite_runtime=info",
        ),
    };
    let file = match log_file {
        None => None,
        Some(path) => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            Some(
                layer()
                    .with_writer(Mutex::new(file))
                    .event_format(SparkLayout),
            )
        }
    };
    registry()
        .with(filter)
        .with(
            layer()
                .with_writer(std::io::stderr)
                .event_format(SparkLayout),
        )
        .with(file)
        .init();
    Ok(())
}

struct SparkLayout;

impl<S, N> FormatEvent<S, N> for SparkLayout
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(
            writer,
            "{} {} {}: {}",
            chrono::Local::now().format("%y/%m/%d %H:%M:%S"),
            match *event.metadata().level() {
                tracing::Level::WARN => "WARN",
                tracing::Level::ERROR => "ERROR",
                tracing::Level::INFO => "INFO",
                tracing::Level::DEBUG => "DEBUG",
                tracing::Level::TRACE => "TRACE",
            },
            short_target(event.metadata().target()),
            fields.message,
        )?;
        if !fields.others.is_empty() {
            write!(writer, " ({})", fields.others)?;
        }
        writeln!(writer)
    }
}

/// The part of a target that people know: `Master` of `pyrite_cluster::master::service`.
fn short_target(target: &str) -> String {
    let mut parts = target.split("::");
    let krate = parts.next().unwrap_or_default();
    let part = parts
        .next()
        .unwrap_or_else(|| krate.strip_prefix("pyrite_").unwrap_or(krate));
    let mut letters = part.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            // The same name is used for the text of an event and for a field; the text comes first.
            if self.message.is_empty() {
                self.message = value;
                return;
            }
            if value.is_empty() {
                return;
            }
        }
        if !self.others.is_empty() {
            self.others.push_str(", ");
        }
        self.others.push_str(field.name());
        self.others.push('=');
        self.others.push_str(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_short() {
        assert_eq!(short_target("pyrite_cluster::master::service"), "Master");
        assert_eq!(short_target("pyrite_executor"), "Executor");
        assert_eq!(short_target("application"), "Application");
    }
}
