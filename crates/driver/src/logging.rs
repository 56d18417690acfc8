//! Logs of the driver: the console as loud as asked for, `driver.log` always at `info`.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;

/// Crates whose events tell the story of a run; the others only warn.
const OUR_TARGETS: &[&str] = &["pyrite", "application", "executor", "job", "stage"];

/// Libraries that report as an error of theirs what is a failure of user code, which the
/// application gets as an exception. The log file has it all the same.
const QUIET_TARGETS: &[&str] = &["ballista_scheduler", "ballista_core", "ballista_executor"];

/// Starts logging. `console_level` is Spark's word for it (`spark.log.level`).
///
/// # Errors
/// When the log file cannot be created.
pub fn start(console_level: &str, log_file: &Path) -> std::io::Result<()> {
    let file = File::create(log_file)?;
    let console = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_timer(SparkTime)
        .with_filter(console_filter(level(console_level)));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .with_timer(SparkTime)
        .with_filter(filter(LevelFilter::INFO));
    // A process that has its own logging (a test) keeps it.
    let _ = tracing_subscriber::registry()
        .with(console)
        .with(log)
        .try_init();
    Ok(())
}

fn console_filter(level: LevelFilter) -> Targets {
    let quiet = if level >= LevelFilter::DEBUG {
        level
    } else {
        LevelFilter::OFF
    };
    QUIET_TARGETS.iter().fold(filter(level), |targets, target| {
        targets.with_target(*target, quiet)
    })
}

fn filter(level: LevelFilter) -> Targets {
    let others = level.min(LevelFilter::WARN);
    OUR_TARGETS
        .iter()
        .fold(Targets::new().with_default(others), |targets, target| {
            targets.with_target(*target, level)
        })
}

/// Spark's level names; unknown ones mean its default.
fn level(name: &str) -> LevelFilter {
    match name.to_ascii_uppercase().as_str() {
        "ALL" | "TRACE" => LevelFilter::TRACE,
        "DEBUG" => Level::DEBUG.into(),
        "INFO" => Level::INFO.into(),
        "ERROR" | "FATAL" => Level::ERROR.into(),
        "OFF" => LevelFilter::OFF,
        _ => Level::WARN.into(),
    }
}

/// The date as Spark's console has it: `26/11/22 13:20:01`.
struct SparkTime;

impl FormatTime for SparkTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", chrono::Local::now().format("%y/%m/%d %H:%M:%S"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_sparks_names() {
        assert_eq!(level("info"), LevelFilter::INFO);
        assert_eq!(level("FATAL"), LevelFilter::ERROR);
        assert_eq!(level("nonsense"), LevelFilter::WARN);
    }
}
