//! Environment variables, with `spark-env.sh` on top.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::conf::{SparkConf, load_defaults_file};
use crate::error::ConfError;

/// The variables a process works with: its own, overlaid by what `spark-env.sh` exports.
///
/// The environment of the running process is never changed; children get [`Environment::changes`].
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    changes: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process that are text.
    pub fn of_this_process() -> Self {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
            changes: BTreeMap::new(),
        }
    }

    /// Variables given as pairs, for tests.
    pub fn from_pairs<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        let variables = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Self {
            variables,
            changes: BTreeMap::new(),
        }
    }

    /// This process's variables, with the `spark-env.sh` of its conf dir on top if there is one.
    ///
    /// # Errors
    /// When the script fails.
    pub fn load() -> Result<Self, ConfError> {
        let mut environment = Self::of_this_process();
        if environment.get("SPARK_ENV_LOADED").is_some() {
            return Ok(environment);
        }
        if let Some(dir) = conf_dir(&environment) {
            let script = dir.join("spark-env.sh");
            if script.is_file() {
                environment.source(&script)?;
            }
        }
        Ok(environment)
    }

    /// A variable; one that is set to nothing counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// What `spark-env.sh` set or changed.
    pub fn changes(&self) -> &BTreeMap<String, String> {
        &self.changes
    }

    /// Runs a shell script and takes over the variables that it sets. Runs bash and waits for it.
    ///
    /// What the script prints goes to stderr.
    ///
    /// # Errors
    /// When bash is missing, the script has a syntax error, or it exits.
    pub fn source(&mut self, script: &Path) -> Result<(), ConfError> {
        let failed = |message: String| ConfError::SparkEnv {
            path: script.to_owned(),
            message,
        };
        let bash = |flag: &str| {
            let mut command = Command::new("bash");
            command.env_clear().envs(&self.variables).arg(flag);
            command
        };
        let check = bash("-n")
            .arg(script)
            .output()
            .map_err(|error| failed(format!("cannot run bash: {error}")))?;
        if !check.status.success() {
            return Err(failed(
                String::from_utf8_lossy(&check.stderr).trim().to_owned(),
            ));
        }
        let output = bash("-c")
            .arg("set -a; . \"$0\" >&2; set +a; env -0")
            .arg(script)
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|error| failed(format!("cannot run bash: {error}")))?;
        if !output.status.success() || output.stdout.is_empty() {
            return Err(failed(format!("it ended with {}", output.status)));
        }
        self.take_over(&output.stdout);
        Ok(())
    }

    fn take_over(&mut self, listing: &[u8]) {
        for variable in listing.split(|byte| *byte == 0) {
            let Ok(text) = std::str::from_utf8(variable) else {
                continue;
            };
            let Some((name, value)) = text.split_once('=') else {
                continue;
            };
            if matches!(name, "_" | "SHLVL" | "PWD" | "OLDPWD") {
                continue;
            }
            if self.variables.get(name).map(String::as_str) != Some(value) {
                self.changes.insert(name.to_owned(), value.to_owned());
                self.variables.insert(name.to_owned(), value.to_owned());
            }
        }
        for map in [&mut self.variables, &mut self.changes] {
            map.insert("SPARK_ENV_LOADED".to_owned(), "1".to_owned());
        }
    }
}

/// The directory of `spark-defaults.conf` and `spark-env.sh`: `SPARK_CONF_DIR`, else `SPARK_HOME/conf`.
pub fn conf_dir(environment: &Environment) -> Option<PathBuf> {
    if let Some(dir) = environment.get("SPARK_CONF_DIR") {
        return Some(PathBuf::from(dir));
    }
    environment
        .get("SPARK_HOME")
        .map(|home| Path::new(home).join("conf"))
}

/// Reads `properties_file`, or else the `spark-defaults.conf` of the conf dir; empty without either.
///
/// # Errors
/// When `properties_file` is given and cannot be read, and on syntax errors.
pub fn load_defaults(
    environment: &Environment,
    properties_file: Option<&Path>,
) -> Result<SparkConf, ConfError> {
    if let Some(path) = properties_file {
        return load_defaults_file(path);
    }
    match conf_dir(environment).map(|dir| dir.join("spark-defaults.conf")) {
        Some(path) if path.is_file() => load_defaults_file(&path),
        _ => Ok(SparkConf::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, text: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("pyrite-env-{}-{name}.sh", std::process::id()));
            std::fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    fn base() -> Environment {
        let path = std::env::var("PATH").unwrap();
        let mut environment = Environment::from_pairs([("OLD", "kept")]);
        environment.variables.insert("PATH".to_owned(), path);
        environment
    }

    #[test]
    fn spark_env_sets_and_extends_variables() {
        let script = Script::new(
            "sets",
            "echo hello\nSPARK_WORKER_CORES=3\nOLD=\"$OLD and more\"\nexport X='a\nb'\n",
        );
        let mut environment = base();
        environment.source(&script.0).unwrap();
        assert_eq!(environment.get("SPARK_WORKER_CORES"), Some("3"));
        assert_eq!(environment.get("OLD"), Some("kept and more"));
        assert_eq!(environment.get("X"), Some("a\nb"));
        assert!(!environment.changes().contains_key("PATH"));
    }

    #[test]
    fn a_syntax_error_names_file_and_line() {
        let script = Script::new("syntax", "A=1\nif then\n");
        let text = base().source(&script.0).unwrap_err().to_string();
        assert!(
            text.contains("line 2") && text.contains(script.0.to_str().unwrap()),
            "{text}"
        );
    }

    #[test]
    fn a_script_that_exits_is_an_error() {
        let script = Script::new("exit", "exit 3\n");
        let text = base().source(&script.0).unwrap_err().to_string();
        assert!(text.contains('3'), "{text}");
    }

    #[test]
    fn the_conf_dir_follows_sparks_variables() {
        let home = Environment::from_pairs([("SPARK_HOME", "/opt/spark")]);
        assert_eq!(conf_dir(&home), Some(PathBuf::from("/opt/spark/conf")));
        let both =
            Environment::from_pairs([("SPARK_HOME", "/opt/spark"), ("SPARK_CONF_DIR", "/etc/x")]);
        assert_eq!(conf_dir(&both), Some(PathBuf::from("/etc/x")));
        assert_eq!(
            conf_dir(&Environment::from_pairs([("SPARK_CONF_DIR", "")])),
            None
        );
    }
}
