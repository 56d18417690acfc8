//! `SparkConf`: settings by key, and where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::ConfError;
use crate::properties;
use crate::settings::{self, Kind};
use crate::units::{self, ByteUnit, TimeUnit};

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The application's own `SparkConf` or session builder.
    Code,
    /// A flag of `spark-submit` or of a daemon.
    Flag,
    /// A properties file.
    File {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("code"),
            Self::Flag => f.write_str("command line"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    value: String,
    origin: Origin,
}

/// Settings by key, in key order. Typed getters fall back on the built-in default of
/// [`settings::SETTINGS`]; [`SparkConf::get`] and iteration see only what was set, as in Spark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparkConf {
    entries: BTreeMap<String, Entry>,
}

impl SparkConf {
    /// An empty configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Merges by Spark's precedence: `code` wins over `flags`, those win over `defaults_file`.
    pub fn resolve(code: &Self, flags: &Self, defaults_file: &Self) -> Self {
        let mut merged = defaults_file.clone();
        for layer in [flags, code] {
            for (key, entry) in &layer.entries {
                merged.entries.insert(key.clone(), entry.clone());
            }
        }
        merged
    }

    /// Makes a configuration of pairs that were all given in one place.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
        origin: &Origin,
    ) -> Self {
        let entries = pairs
            .into_iter()
            .map(|(key, value)| {
                (
                    key.into(),
                    Entry {
                        value: value.into(),
                        origin: origin.clone(),
                    },
                )
            })
            .collect();
        Self { entries }
    }

    /// Sets one key, as code does.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.set_from(key, value, Origin::Code)
    }

    /// Sets one key and notes where it was given.
    pub fn set_from(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
        origin: Origin,
    ) -> &mut Self {
        self.entries.insert(
            key.into(),
            Entry {
                value: value.into(),
                origin,
            },
        );
        self
    }

    /// Sets one key unless it is set.
    pub fn set_if_missing(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        if !self.contains(key) {
            self.set(key, value);
        }
        self
    }

    /// Forgets one key.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.entries.remove(key).map(|entry| entry.value)
    }

    /// Whether the key was set.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// What the key was set to; `None` when only a built-in default applies.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.value.as_str())
    }

    /// What the key was set to, else `default`.
    pub fn get_or<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.get(key).unwrap_or(default)
    }

    /// What the key was set to, else its built-in default, else `None`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.get(key).or_else(|| settings::find(key)?.default)
    }

    /// Where the key was given.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.entries.get(key).map(|entry| &entry.origin)
    }

    /// Bytes of a size. A number without unit counts in the unit that [`settings`] gives the key.
    ///
    /// # Errors
    /// When the value is no size, or neither value nor default is there.
    pub fn get_bytes(&self, key: &str) -> Result<u64, ConfError> {
        let unit = match settings::find(key).map(|s| s.kind) {
            Some(Kind::Bytes(unit)) => unit,
            _ => ByteUnit::Byte,
        };
        self.typed(key, |value| units::parse_bytes(value, unit))
    }

    /// Whole MiB of a size, rounded down.
    ///
    /// # Errors
    /// As [`SparkConf::get_bytes`].
    pub fn get_mib(&self, key: &str) -> Result<u64, ConfError> {
        self.get_bytes(key).map(|bytes| bytes >> 20)
    }

    /// A duration. A number without unit counts in the unit that [`settings`] gives the key,
    /// milliseconds for an unknown one.
    ///
    /// # Errors
    /// When the value is no duration, or neither value nor default is there.
    pub fn get_duration(&self, key: &str) -> Result<Duration, ConfError> {
        let unit = match settings::find(key).map(|s| s.kind) {
            Some(Kind::Duration(unit)) => unit,
            _ => TimeUnit::Millis,
        };
        self.typed(key, |value| units::parse_duration(value, unit))
    }

    /// A boolean: `true` or `false` in any case.
    ///
    /// # Errors
    /// When the value is neither, or neither value nor default is there.
    pub fn get_bool(&self, key: &str) -> Result<bool, ConfError> {
        self.typed(key, parse_bool)
    }

    /// A whole number.
    ///
    /// # Errors
    /// When the value is none, or neither value nor default is there.
    pub fn get_int(&self, key: &str) -> Result<i64, ConfError> {
        self.typed(key, parse_int)
    }

    /// A whole number that is not negative and fits the type asked for.
    ///
    /// # Errors
    /// When the value is none, or neither value nor default is there.
    pub fn get_unsigned<T: TryFrom<i64>>(&self, key: &str) -> Result<T, ConfError> {
        self.typed(key, |value| {
            let number = parse_int(value)?;
            T::try_from(number).map_err(|_| "the number is out of range".to_owned())
        })
    }

    /// Parts of a comma-separated list, blanks and empty parts dropped.
    pub fn get_list(&self, key: &str) -> Vec<String> {
        self.value(key)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Settings whose key starts with `prefix`, the prefix cut off.
    pub fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
    }

    /// What was set, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), entry.value.as_str()))
    }

    /// What was set, as a plain map.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Checks every known setting that was set.
    ///
    /// # Errors
    /// The first value that does not fit, with the place where it was given.
    pub fn validate(&self) -> Result<(), ConfError> {
        for key in self.entries.keys() {
            match settings::find(key).map(|setting| setting.kind) {
                Some(Kind::Bytes(_)) => self.get_bytes(key).map(drop)?,
                Some(Kind::Duration(_)) => self.get_duration(key).map(drop)?,
                Some(Kind::Bool) => self.get_bool(key).map(drop)?,
                Some(Kind::Int) => self.get_int(key).map(drop)?,
                Some(Kind::Text | Kind::List) | None => {}
            }
        }
        Ok(())
    }

    fn typed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfError> {
        let value = self.value(key).ok_or_else(|| ConfError::NotSet {
            key: key.to_owned(),
        })?;
        parse(value).map_err(|message| ConfError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: self
                .origin(key)
                .map_or_else(String::new, |origin| format!(" ({origin})")),
            message,
        })
    }
}

impl From<BTreeMap<String, String>> for SparkConf {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self::from_pairs(map, &Origin::Code)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for SparkConf {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs, &Origin::Code)
    }
}

/// Reads a properties file such as `spark-defaults.conf`.
///
/// Of a repeated key the last one counts. Keys that do not start with `spark.` are left out, as
/// `spark-submit` does.
///
/// # Errors
/// When the file cannot be read or breaks the syntax; the error names file and line.
pub fn load_defaults_file(path: &Path) -> Result<SparkConf, ConfError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfError::Read {
        path: path.to_owned(),
        source,
    })?;
    let found = properties::parse(&text).map_err(|error| ConfError::Syntax {
        path: path.to_owned(),
        line: error.line,
        message: error.message,
    })?;
    let mut conf = SparkConf::new();
    for property in found {
        if property.key.starts_with("spark.") {
            let origin = Origin::File {
                path: path.to_owned(),
                line: property.line,
            };
            conf.set_from(property.key, property.value, origin);
        }
    }
    Ok(conf)
}

fn parse_bool(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("use `true` or `false`".to_owned()),
    }
}

fn parse_int(value: &str) -> Result<i64, String> {
    value
        .trim()
        .parse()
        .map_err(|_| "use a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> (PathBuf, SparkConf) {
        let path = std::env::temp_dir().join(format!(
            "pyrite-conf-{}-{:p}.conf",
            std::process::id(),
            text
        ));
        std::fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let conf = load_defaults_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (path, conf)
    }

    #[test]
    fn code_wins_over_flags_and_those_over_the_file() {
        let (_, defaults) = file("spark.a file\nspark.b file\nspark.c file\nother x\n");
        let flags =
            SparkConf::from_pairs([("spark.a", "flag"), ("spark.b", "flag")], &Origin::Flag);
        let code = SparkConf::from_iter([("spark.a", "code")]);
        let merged = SparkConf::resolve(&code, &flags, &defaults);
        assert_eq!(
            merged.iter().collect::<Vec<_>>(),
            [
                ("spark.a", "code"),
                ("spark.b", "flag"),
                ("spark.c", "file")
            ]
        );
        assert_eq!(merged.origin("spark.b"), Some(&Origin::Flag));
    }

    #[test]
    fn a_wrong_value_is_reported_with_file_and_line() {
        let (path, conf) = file("# memory\nspark.executor.memory lots\n");
        let text = conf.validate().unwrap_err().to_string();
        assert!(text.contains(&format!("{}:2", path.display())), "{text}");
        assert!(text.contains("`spark.executor.memory` is `lots`"), "{text}");
    }

    #[test]
    fn typed_getters_use_built_in_defaults_and_units() {
        let mut conf = SparkConf::new();
        assert_eq!(conf.get("spark.executor.memory"), None);
        assert_eq!(conf.get_mib("spark.executor.memory").unwrap(), 1024);
        conf.set("spark.executor.memory", "700");
        assert_eq!(conf.get_mib("spark.executor.memory").unwrap(), 700);
        assert_eq!(
            conf.get_duration("spark.network.timeout").unwrap(),
            Duration::from_secs(120)
        );
        assert!(matches!(
            conf.get_int("spark.no.such"),
            Err(ConfError::NotSet { .. })
        ));
        conf.set("spark.flag", "TRUE");
        assert!(conf.get_bool("spark.flag").unwrap());
        conf.set("spark.cores.max", "-1");
        assert!(conf.get_unsigned::<u32>("spark.cores.max").is_err());
        conf.set("spark.files", " a, ,b");
        assert_eq!(conf.get_list("spark.files"), ["a", "b"]);
    }

    #[test]
    fn every_built_in_default_fits_its_kind() {
        let conf: SparkConf = settings::SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.key, setting.default?)))
            .collect();
        conf.validate().unwrap();
    }
}
