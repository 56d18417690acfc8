//! Settings that analysis reads or refuses.

use std::collections::BTreeMap;

use pyrite_functions::format::parse_zone;
use pyrite_proto::error::{SparkError, class};

use crate::errors::{self, Result};

/// Settings below `spark.sql.` that are fixed when the application starts.
const STATIC: [&str; 6] = [
    "spark.sql.warehouse.dir",
    "spark.sql.extensions",
    "spark.sql.catalogImplementation",
    "spark.sql.globalTempDatabase",
    "spark.sql.queryExecutionListeners",
    "spark.sql.streaming.streamingQueryListeners",
];

/// Refuses settings that cannot change while an application runs.
pub(crate) fn check_modifiable(key: &str) -> Result<()> {
    if STATIC.contains(&key) {
        return Err(errors::with_condition(
            "CANNOT_MODIFY_STATIC_CONFIG",
            "46110",
            format!("Cannot modify the value of the static Spark config: \"{key}\"."),
        )
        .with("key", format!("\"{key}\"")));
    }
    let core = [
        "spark.master",
        "spark.app.",
        "spark.driver.",
        "spark.executor.",
        "spark.cores.",
        "spark.local.dir",
    ];
    if core.iter().any(|c| key.starts_with(c)) {
        return Err(errors::with_condition(
            "CANNOT_MODIFY_CONFIG",
            "46110",
            format!("Cannot modify the value of the Spark config: \"{key}\".\nSee also 'https://spark.apache.org/docs/latest/sql-migration-guide.html#ddl-statements'."),
        )
        .with("key", format!("\"{key}\"")));
    }
    Ok(())
}

/// Refuses values that a setting cannot have.
pub(crate) fn check(key: &str, value: &str) -> Result<()> {
    check_modifiable(key)?;
    let wrong = |what: &str| {
        SparkError::new(
            class::ILLEGAL_ARGUMENT,
            "INVALID_CONF_VALUE.TYPE_MISMATCH",
            "22022",
            format!("The value '{value}' in the config \"{key}\" is invalid. {what}"),
        )
        .with("confName", key)
        .with("confValue", value)
    };
    match key {
        "spark.sql.session.timeZone" if parse_zone(value).is_err() => Err(SparkError::new(
            class::ILLEGAL_ARGUMENT,
            "INVALID_CONF_VALUE.TIME_ZONE",
            "22022",
            format!("The value '{value}' in the config \"{key}\" is invalid. Cannot resolve the given timezone."),
        )
        .with("confName", key)
        .with("confValue", value)),
        "spark.sql.ansi.enabled" if !matches!(value, "true" | "false") => {
            Err(wrong(&format!("{key} should be boolean, but was {value}")))
        }
        "spark.sql.shuffle.partitions" if !value.parse::<usize>().is_ok_and(|n| n > 0) => {
            Err(wrong(&format!("{key} should be int, but was {value}")))
        }
        _ => Ok(()),
    }
}

/// The session's time zone: the setting, or the machine's.
pub(crate) fn time_zone(conf: &BTreeMap<String, String>) -> String {
    if let Some(zone) = conf.get("spark.sql.session.timeZone") {
        return zone.clone();
    }
    let machine = iana_time_zone::get_timezone().unwrap_or_else(|_| "UTC".into());
    if parse_zone(&machine).is_ok() {
        machine
    } else {
        "UTC".into()
    }
}
