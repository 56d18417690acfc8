//! Which interpreter runs an application, and how this process becomes it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::anyhow;
use pyrite_conf::{Environment, SparkConf};

/// The interpreter of an application, chosen as Spark does: `spark.pyspark.driver.python`,
/// `spark.pyspark.python`, `PYSPARK_DRIVER_PYTHON`, `PYSPARK_PYTHON`; then the one that this program
/// was installed with, and at last `python3` from PATH.
pub fn of_application(
    conf: &SparkConf,
    environment: &Environment,
    program: Option<&Path>,
) -> String {
    conf.get("spark.pyspark.driver.python")
        .or_else(|| conf.get("spark.pyspark.python"))
        .or_else(|| environment.get("PYSPARK_DRIVER_PYTHON"))
        .or_else(|| environment.get("PYSPARK_PYTHON"))
        .map(str::to_owned)
        .or_else(|| beside(program?))
        .unwrap_or_else(|| "python3".to_owned())
}

fn beside(program: &Path) -> Option<String> {
    let dir = program.parent()?;
    ["python3", "python"]
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
        .map(|path| path.display().to_string())
}

/// Turns this process into `command`: same id, same terminal, same exit status.
///
/// # Errors
/// When the program cannot be started; otherwise it does not return.
pub fn become_it(mut command: Command) -> anyhow::Result<()> {
    let error = command.exec();
    let program = command.get_program().to_string_lossy().into_owned();
    let hint = "set PYSPARK_PYTHON or spark.pyspark.python to a Python interpreter";
    Err(anyhow!(error).context(format!("cannot run `{program}`; {hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_win_over_variables_and_driver_over_both() {
        let environment =
            Environment::from_pairs([("PYSPARK_PYTHON", "e"), ("PYSPARK_DRIVER_PYTHON", "ed")]);
        let mut conf = SparkConf::new();
        assert_eq!(
            of_application(&conf, &Environment::default(), None),
            "python3"
        );
        assert_eq!(of_application(&conf, &environment, None), "ed");
        conf.set("spark.pyspark.python", "c");
        assert_eq!(of_application(&conf, &environment, None), "c");
        conf.set("spark.pyspark.driver.python", "cd");
        assert_eq!(of_application(&conf, &environment, None), "cd");
    }

    #[test]
    fn an_interpreter_beside_the_program_comes_before_path() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("pyrite");
        let none = Environment::default();
        assert_eq!(
            of_application(&SparkConf::new(), &none, Some(&program)),
            "python3"
        );
        std::fs::write(dir.path().join("python3"), "").unwrap();
        let found = of_application(&SparkConf::new(), &none, Some(&program));
        assert_eq!(found, dir.path().join("python3").display().to_string());
    }
}
