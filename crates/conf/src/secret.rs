//! Where the secret of a cluster is found, and how a master makes one.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::conf::{Origin, SparkConf};
use crate::environment::Environment;
use crate::error::ConfError;
use crate::host;

/// Variable that carries the secret of the cluster, for containers.
pub const SECRET_VARIABLE: &str = "PYRITE_AUTH_SECRET";

/// The secret that the user configured: `spark.authenticate.secret` in code or on the command line,
/// the variable `PYRITE_AUTH_SECRET`, then `spark.authenticate.secret` of a properties file or the
/// file named by `spark.authenticate.secret.file`.
///
/// # Errors
/// When the file cannot be read.
pub fn configured(
    conf: &SparkConf,
    environment: &Environment,
) -> Result<Option<String>, ConfError> {
    const KEY: &str = "spark.authenticate.secret";
    let in_file = matches!(conf.origin(KEY), Some(Origin::File { .. }));
    let set = conf.get(KEY).map(str::to_owned);
    if set.is_some() && !in_file {
        return Ok(set);
    }
    if let Some(secret) = environment.get(SECRET_VARIABLE) {
        return Ok(Some(secret.to_owned()));
    }
    if set.is_some() {
        return Ok(set);
    }
    match conf.get("spark.authenticate.secret.file") {
        Some(path) => read(Path::new(path)).map(Some),
        None => Ok(None),
    }
}

/// The secret with which a worker or driver joins `masters`: the configured one, else the one that
/// a master of the same user on this very machine made. That one is never sent elsewhere.
///
/// # Errors
/// As [`configured`].
pub fn to_join(
    conf: &SparkConf,
    environment: &Environment,
    masters: &[(String, u16)],
) -> Result<Option<String>, ConfError> {
    if let Some(secret) = configured(conf, environment)? {
        return Ok(Some(secret));
    }
    let path = secret_file(&state_dir(conf, environment));
    if path.is_file() && masters.iter().all(|(host, _)| host::is_this_machine(host)) {
        return read(&path).map(Some);
    }
    Ok(None)
}

/// The directory of the master's state: `spark.deploy.recoveryDirectory`, else a directory of the user.
pub fn state_dir(conf: &SparkConf, environment: &Environment) -> PathBuf {
    if let Some(dir) = conf.get("spark.deploy.recoveryDirectory") {
        return PathBuf::from(dir);
    }
    if let Some(dir) = environment.get("XDG_STATE_HOME") {
        return Path::new(dir).join("pyrite");
    }
    match environment.get("HOME") {
        Some(home) => Path::new(home).join(".local/state/pyrite"),
        None => std::env::temp_dir().join(format!("pyrite-{}", nix::unistd::getuid())),
    }
}

/// The file in `state_dir` that holds a secret made by the master.
pub fn secret_file(state_dir: &Path) -> PathBuf {
    state_dir.join("secret")
}

/// Reads the secret in `state_dir`, or makes one that only its owner may read.
///
/// # Errors
/// When the directory or the file cannot be made or read.
pub fn read_or_make(state_dir: &Path) -> Result<String, ConfError> {
    let path = secret_file(state_dir);
    if path.is_file() {
        return read(&path);
    }
    let secret = hex::encode(rand::random::<[u8; 24]>());
    let failed = |source| ConfError::Read {
        path: path.clone(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(failed)?;
    let created = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match created {
        Ok(mut file) => {
            file.write_all(secret.as_bytes()).map_err(failed)?;
            Ok(secret)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(failed(error)),
    }
}

fn read(path: &Path) -> Result<String, ConfError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfError::Read {
        path: path.to_owned(),
        source,
    })?;
    match text.trim() {
        "" => Err(ConfError::Syntax {
            path: path.to_owned(),
            line: 1,
            message: "the file holds no secret".to_owned(),
        }),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_made_secret_stays_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let secret = read_or_make(&state).unwrap();
        assert_eq!(secret.len(), 48);
        assert_eq!(read_or_make(&state).unwrap(), secret);
        let mode = std::fs::metadata(secret_file(&state))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_made_secret_is_only_sent_to_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let secret = read_or_make(dir.path()).unwrap();
        let conf = SparkConf::from_iter([(
            "spark.deploy.recoveryDirectory",
            dir.path().to_str().unwrap(),
        )]);
        let none = Environment::default();
        let here = [("127.0.0.1".to_owned(), 7077)];
        let elsewhere = [("192.0.2.1".to_owned(), 7077)];
        assert_eq!(to_join(&conf, &none, &here).unwrap(), Some(secret));
        assert_eq!(to_join(&conf, &none, &elsewhere).unwrap(), None);
        let set = Environment::from_pairs([(SECRET_VARIABLE, "shared")]);
        assert_eq!(
            to_join(&conf, &set, &elsewhere).unwrap(),
            Some("shared".to_owned())
        );
    }

    #[test]
    fn the_nearest_place_gives_the_secret() {
        let variable = Environment::from_pairs([(SECRET_VARIABLE, "variable")]);
        let key = "spark.authenticate.secret";
        let code = SparkConf::from_iter([(key, "code")]);
        let line = Origin::File {
            path: "spark-defaults.conf".into(),
            line: 1,
        };
        let file = SparkConf::from_pairs([(key, "file")], &line);
        let found = |conf, environment| configured(conf, environment).unwrap().unwrap();
        assert_eq!(found(&code, &variable), "code");
        assert_eq!(found(&file, &variable), "variable");
        assert_eq!(found(&file, &Environment::default()), "file");
    }
}
