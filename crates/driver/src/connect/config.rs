//! Settings of a session (`spark.conf`): look-up with Spark's defaults, and what may change.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use pyrite_conf::settings;
use pyrite_conf::units::{ByteUnit, TimeUnit, parse_bytes, parse_duration};
use pyrite_plan::PlanSession;
use pyrite_proto::connect::config_request::Operation;
use pyrite_proto::connect::config_request::operation::OpType;
use pyrite_proto::connect::{ConfigResponse, KeyValue};
use pyrite_proto::error::{SparkError, class};
use tracing::warn;

use super::errors::{self, NO_SUCH_ELEMENT};

/// Every SQL setting of Spark 4.2 with its default: key, `runtime` or `static`, type, default.
const TABLE: &str = include_str!("sql_conf.tsv");
/// Where we differ from Spark's defaults on purpose: there is no Java stack to show, and
/// plans travel uncompressed to a driver on the same machine.
const OUR_DEFAULTS: &[(&str, &str)] = &[
    ("spark.sql.connect.serverStacktrace.enabled", "false"),
    ("spark.connect.session.planCompression.threshold", "-1"),
    (
        "spark.connect.session.planCompression.defaultAlgorithm",
        "NONE",
    ),
];
const UNDEFINED: &str = "<undefined>";
const TIME_ZONE: &str = "spark.sql.session.timeZone";

/// A row of the table of SQL settings.
struct SqlSetting {
    is_static: bool,
    kind: &'static str,
    default: &'static str,
}

static SQL_SETTINGS: LazyLock<HashMap<&'static str, SqlSetting>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut cells = line.split('\t');
            let (key, kind, value_type, default) =
                (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
            let setting = SqlSetting {
                is_static: kind == "static",
                kind: value_type,
                default,
            };
            Some((key, setting))
        })
        .collect()
});

/// Carries out one `Config` request; the response lacks only its session ids.
///
/// # Errors
/// Unknown keys, keys that cannot change, values of the wrong type.
pub fn handle(plan: &PlanSession, operation: Operation) -> Result<ConfigResponse, SparkError> {
    let operation = operation
        .op_type
        .ok_or_else(|| errors::invalid_plan("the configuration request has no operation"))?;
    let mut response = ConfigResponse::default();
    match operation {
        OpType::Set(set) => {
            let silent = set.silent.unwrap_or(false);
            for pair in set.pairs {
                match self::set(plan, &pair) {
                    Err(error) if silent => warn!(key = pair.key, %error, "setting not changed"),
                    result => result?,
                }
            }
        }
        OpType::Get(get) => {
            let conf = plan.conf();
            for key in get.keys {
                let value = lookup(&conf, &key)?;
                response.pairs.push(KeyValue { key, value });
            }
        }
        OpType::GetWithDefault(get) => {
            let conf = plan.conf();
            for KeyValue { key, value } in get.pairs {
                let value = conf.get(&key).cloned().or(value);
                response.pairs.push(KeyValue { key, value });
            }
        }
        OpType::GetOption(get) => {
            let conf = plan.conf();
            for key in get.keys {
                let value = lookup(&conf, &key).unwrap_or(None);
                response.pairs.push(KeyValue { key, value });
            }
        }
        OpType::GetAll(all) => {
            let prefix = all.prefix.unwrap_or_default();
            response.pairs = plan
                .conf()
                .into_iter()
                .filter_map(|(key, value)| {
                    let key = key.strip_prefix(&prefix)?.to_owned();
                    Some(KeyValue {
                        key,
                        value: Some(value),
                    })
                })
                .collect();
        }
        OpType::Unset(unset) => {
            for key in unset.keys {
                check_not_fixed(&key)?;
                plan.unset_conf(&key)?;
                response.pairs.push(KeyValue { key, value: None });
            }
        }
        OpType::IsModifiable(keys) => {
            for key in keys.keys {
                let value = Some(is_modifiable(&key).to_string());
                response.pairs.push(KeyValue { key, value });
            }
        }
    }
    Ok(response)
}

fn set(plan: &PlanSession, pair: &KeyValue) -> Result<(), SparkError> {
    let value = pair
        .value
        .as_deref()
        .ok_or_else(|| errors::invalid_plan(format!("no value for the setting `{}`", pair.key)))?;
    check_not_fixed(&pair.key)?;
    check_value(&pair.key, value)?;
    plan.set_conf(&pair.key, value)
}

/// Value of `key`: from `conf`, else Spark's default; `None` for a known key without value.
///
/// # Errors
/// When neither `conf` nor Spark knows the key.
pub fn lookup(conf: &BTreeMap<String, String>, key: &str) -> Result<Option<String>, SparkError> {
    if let Some(value) = conf.get(key) {
        return Ok(Some(value.clone()));
    }
    if let Some((_, default)) = OUR_DEFAULTS.iter().find(|(known, _)| *known == key) {
        return Ok(Some((*default).to_owned()));
    }
    match SQL_SETTINGS.get(key).map(|setting| setting.default) {
        Some(UNDEFINED) => Ok(None),
        Some("<system>") => Ok(Some(system_time_zone())),
        Some("<warehouse>") => Ok(Some(warehouse())),
        Some(default) => match default.strip_prefix("<value of ") {
            // A setting that falls back to another one.
            Some(other) => {
                let other = other.trim_end_matches('>');
                match lookup(conf, other) {
                    Ok(value) => Ok(value),
                    Err(_) => Ok(settings::find(other)
                        .and_then(|s| s.default)
                        .map(str::to_owned)),
                }
            }
            None => Ok(Some(default.to_owned())),
        },
        None => Err(SparkError::new(
            NO_SUCH_ELEMENT,
            "SQL_CONF_NOT_FOUND",
            "42K0I",
            format!(
                "The SQL config \"{key}\" cannot be found. Please verify that the config exists."
            ),
        )
        .with("sqlConf", format!("\"{key}\""))),
    }
}

/// `spark.conf.isModifiable`: known to SQL and not static.
pub fn is_modifiable(key: &str) -> bool {
    SQL_SETTINGS.get(key).is_some_and(|s| !s.is_static)
}

/// Refuses settings that cannot change while the application runs.
fn check_not_fixed(key: &str) -> Result<(), SparkError> {
    match SQL_SETTINGS.get(key) {
        Some(setting) if setting.is_static => Err(SparkError::new(
            class::ANALYSIS,
            "CANNOT_MODIFY_STATIC_CONFIG",
            "46110",
            format!("Cannot modify the value of the static Spark config: \"{key}\"."),
        )
        .with("key", format!("\"{key}\""))),
        None if settings::find(key).is_some() => {
            let docs = "https://spark.apache.org/docs/latest";
            Err(SparkError::new(
                class::ANALYSIS,
                "CANNOT_MODIFY_CONFIG",
                "46110",
                format!(
                    "Cannot modify the value of the Spark config: \"{key}\".\n\
                     See also '{docs}/sql-migration-guide.html#ddl-statements'."
                ),
            )
            .with("key", format!("\"{key}\""))
            .with("docroot", docs))
        }
        _ => Ok(()),
    }
}

/// Checks `value` against the type of a known SQL setting.
fn check_value(key: &str, value: &str) -> Result<(), SparkError> {
    let Some(setting) = SQL_SETTINGS.get(key) else {
        return Ok(());
    };
    let text = value.trim();
    let fits = match setting.kind {
        "boolean" => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        "int" => text.parse::<i32>().is_ok(),
        "long" => text.parse::<i64>().is_ok(),
        "double" => text.parse::<f64>().is_ok(),
        // -1 switches a size off.
        kind if kind.starts_with("bytes in") => {
            let size = text.strip_prefix('-').unwrap_or(text);
            parse_bytes(size, ByteUnit::Byte).is_ok()
        }
        kind if kind.starts_with("time in") => {
            let duration = text.strip_prefix('-').unwrap_or(text);
            parse_duration(duration, TimeUnit::Millis).is_ok()
        }
        "time zone" => {
            if !is_time_zone(text) {
                return Err(invalid_value(
                    key,
                    value,
                    "TIME_ZONE",
                    "Cannot resolve the given timezone.",
                ));
            }
            true
        }
        kind => match kind.strip_prefix("one of ") {
            Some(options) => {
                if !options
                    .split(", ")
                    .any(|option| option.eq_ignore_ascii_case(text))
                {
                    return Err(invalid_value(
                        key,
                        value,
                        "OUT_OF_RANGE_OF_OPTIONS",
                        &format!("It should be one of '{options}'."),
                    )
                    .with("confOptions", options));
                }
                true
            }
            None => true,
        },
    };
    if !fits {
        return Err(invalid_value(
            key,
            value,
            "TYPE_MISMATCH",
            &format!("It should be a/an '{}' value.", setting.kind),
        )
        .with("confType", setting.kind));
    }
    if key == "spark.sql.shuffle.partitions" && text.parse::<i32>().is_ok_and(|n| n <= 0) {
        return Err(invalid_value(
            key,
            value,
            "REQUIREMENT",
            "The value of spark.sql.shuffle.partitions must be positive",
        ));
    }
    Ok(())
}

fn invalid_value(key: &str, value: &str, sub_condition: &str, text: &str) -> SparkError {
    SparkError::new(
        class::ILLEGAL_ARGUMENT,
        &format!("INVALID_CONF_VALUE.{sub_condition}"),
        "22022",
        format!("The value '{value}' in the config \"{key}\" is invalid. {text}"),
    )
    .with("confName", key)
    .with("confValue", value)
}

/// Region names, `UTC`/`GMT`/`Z` and offsets such as `+01:00` or `UTC+1`, as Java takes them.
fn is_time_zone(text: &str) -> bool {
    let offset = |rest: &str| {
        let rest = rest.trim_start_matches(['+', '-']);
        let parts: Vec<&str> = rest.split(':').collect();
        parts.len() <= 3
            && parts.iter().enumerate().all(|(i, p)| {
                p.parse::<u8>()
                    .is_ok_and(|n| n <= if i == 0 { 18 } else { 59 })
            })
    };
    if text.parse::<chrono_tz::Tz>().is_ok() || text == "Z" {
        return true;
    }
    let rest = ["UTC", "GMT", "UT"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    rest.is_empty() || (rest.starts_with(['+', '-']) && offset(rest))
}

/// The machine's time zone: `TZ`, else what `/etc/localtime` links to, else UTC.
pub fn system_time_zone() -> String {
    let known = |name: &str| {
        name.parse::<chrono_tz::Tz>()
            .is_ok()
            .then(|| name.to_owned())
    };
    std::env::var("TZ")
        .ok()
        .and_then(|tz| known(tz.trim_start_matches(':')))
        .or_else(|| {
            let path = std::fs::read_link("/etc/localtime").ok()?;
            let (_, name) = path.to_str()?.split_once("zoneinfo/")?;
            known(name)
        })
        .or_else(|| known(std::fs::read_to_string("/etc/timezone").ok()?.trim()))
        .unwrap_or_else(|| "Etc/UTC".to_owned())
}

/// Puts in the defaults that depend on this machine and that analysis has to know.
pub fn add_machine_defaults(conf: &mut BTreeMap<String, String>) {
    conf.entry(TIME_ZONE.to_owned())
        .or_insert_with(system_time_zone);
}

fn warehouse() -> String {
    let dir = std::env::current_dir().unwrap_or_default();
    format!("file:{}", dir.join("spark-warehouse").display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn settings_come_from_the_session_then_from_sparks_defaults() {
        let session = conf(&[
            ("spark.sql.shuffle.partitions", "7"),
            ("spark.app.name", "x"),
        ]);
        let get = |key| lookup(&session, key);
        assert_eq!(get("spark.sql.shuffle.partitions").unwrap().unwrap(), "7");
        assert_eq!(get("spark.app.name").unwrap().unwrap(), "x");
        assert_eq!(
            get("spark.sql.execution.arrow.maxRecordsPerBatch")
                .unwrap()
                .unwrap(),
            "10000"
        );
        assert_eq!(
            get("spark.sql.timestampType").unwrap().unwrap(),
            "TIMESTAMP_LTZ"
        );
        assert_eq!(get("spark.sql.pyspark.udf.profiler").unwrap(), None);
        assert_eq!(
            get("spark.sql.execution.arrow.pyspark.enabled")
                .unwrap()
                .unwrap(),
            "true",
            "falls back to spark.sql.execution.arrow.enabled"
        );
        let error = get("spark.no.such").unwrap_err();
        assert_eq!(error.condition, "SQL_CONF_NOT_FOUND");
        assert_eq!(error.parameters["sqlConf"], "\"spark.no.such\"");
    }

    #[test]
    fn static_and_core_settings_cannot_change() {
        let condition = |key| check_not_fixed(key).err().map(|e| e.condition);
        assert_eq!(
            condition("spark.sql.warehouse.dir").as_deref(),
            Some("CANNOT_MODIFY_STATIC_CONFIG")
        );
        assert_eq!(
            condition("spark.executor.memory").as_deref(),
            Some("CANNOT_MODIFY_CONFIG")
        );
        assert_eq!(condition("spark.my.own"), None);
        assert!(is_modifiable("spark.sql.ansi.enabled"));
        assert!(!is_modifiable("spark.sql.warehouse.dir"));
        assert!(!is_modifiable("spark.my.own"));
    }

    #[test]
    fn values_have_to_fit_their_type() {
        let condition = |key, value| check_value(key, value).err().map(|e| e.condition);
        let mismatch = Some("INVALID_CONF_VALUE.TYPE_MISMATCH".to_owned());
        assert_eq!(condition("spark.sql.shuffle.partitions", "abc"), mismatch);
        assert_eq!(condition("spark.sql.ansi.enabled", "x"), mismatch);
        assert_eq!(
            condition("spark.sql.autoBroadcastJoinThreshold", "10x"),
            mismatch
        );
        for (key, value) in [
            ("spark.sql.ansi.enabled", "TRUE"),
            ("spark.sql.autoBroadcastJoinThreshold", "-1"),
            ("spark.sql.autoBroadcastJoinThreshold", "10m"),
            ("spark.sql.broadcastTimeout", "300s"),
            (TIME_ZONE, "Europe/Berlin"),
            (TIME_ZONE, "+01:00"),
            (TIME_ZONE, "UTC"),
            ("spark.sql.timestampType", "timestamp_ntz"),
            ("spark.my.own", "anything"),
        ] {
            assert_eq!(condition(key, value), None, "{key}={value}");
        }
        assert_eq!(
            condition("spark.sql.shuffle.partitions", "-1").as_deref(),
            Some("INVALID_CONF_VALUE.REQUIREMENT")
        );
        assert_eq!(
            condition(TIME_ZONE, "Foo/Bar").as_deref(),
            Some("INVALID_CONF_VALUE.TIME_ZONE")
        );
        assert_eq!(
            condition("spark.sql.storeAssignmentPolicy", "x").as_deref(),
            Some("INVALID_CONF_VALUE.OUT_OF_RANGE_OF_OPTIONS")
        );
    }
}
