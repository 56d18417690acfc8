//! `pyrite submit`: runs an application as spark-submit does.

mod files;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::anyhow;
use pyrite_conf::environment::load_defaults;
use pyrite_conf::{Environment, SparkConf};

use crate::cli::SubmitArgs;
use crate::python;

/// Version of Spark whose applications run here.
const SPARK_VERSION: &str = "4.2.0";

/// Turns this process into the application.
///
/// # Errors
/// When an option is wrong or the interpreter cannot be started. Otherwise the application's exit
/// status is this process's.
pub fn run(args: Box<SubmitArgs>) -> anyhow::Result<()> {
    if args.version {
        eprintln!(
            "Pyrite {}, for applications of Spark version {SPARK_VERSION}",
            env!("CARGO_PKG_VERSION")
        );
        return Ok(());
    }
    let (script, arguments) = match args.program.split_first() {
        Some((script, arguments)) => (PathBuf::from(script), arguments),
        None => {
            return Err(anyhow!(
                "a program is missing; `spark-submit --help` shows how it is given"
            ));
        }
    };
    check_script(&script)?;
    let submission = Submission::new(&args, script.file_name().and_then(|name| name.to_str()))?;
    if args.verbose {
        submission.describe(&script);
    }
    let mut command = submission.python();
    command.arg(&script).args(arguments);
    python::become_it(command)
}

fn check_script(script: &Path) -> anyhow::Result<()> {
    let shown = script.display();
    if shown.to_string().starts_with('-') {
        return Err(anyhow!("Unrecognized option: {shown}"));
    }
    match script.extension().and_then(|extension| extension.to_str()) {
        Some("py") => Ok(()),
        Some("jar") => Err(anyhow!(
            "`{shown}` needs a JVM; Pyrite runs Python applications"
        )),
        _ => Err(anyhow!(
            "`{shown}` is no Python program; its name has to end in .py"
        )),
    }
}

/// What an application is started with.
pub struct Submission {
    /// Variables, with spark-env.sh.
    pub environment: Environment,
    flags: SparkConf,
    python_exec: String,
    module_paths: Vec<String>,
    properties_file: Option<PathBuf>,
}

impl Submission {
    /// Works out the settings of an application; `name` is its name when nothing else says.
    ///
    /// # Errors
    /// When an option, a setting or a file cannot be used.
    pub fn new(args: &SubmitArgs, name: Option<&str>) -> anyhow::Result<Self> {
        settings::refuse_unsupported(args)?;
        let environment = Environment::load()?;
        let properties_file = args
            .properties_file
            .as_ref()
            .map(std::path::absolute)
            .transpose()?;
        let defaults = load_defaults(&environment, properties_file.as_deref())?;
        let flags = settings::flags(args, &environment, &defaults, name)?;
        let all = SparkConf::resolve(&SparkConf::new(), &flags, &defaults);
        settings::check(&all)?;
        let program = std::env::current_exe().ok();
        Ok(Self {
            python_exec: python::of_application(&all, &environment, program.as_deref()),
            module_paths: files::module_paths(&all.get_list("spark.submit.pyFiles")),
            environment,
            flags,
            properties_file,
        })
    }

    /// The interpreter with the environment of the application; arguments are to be added.
    pub fn python(&self) -> Command {
        let mut command = Command::new(&self.python_exec);
        command
            .envs(self.environment.changes())
            .envs(self.variables());
        command
    }

    fn variables(&self) -> BTreeMap<&'static str, String> {
        let conf = serde_json::to_string(&self.flags.to_map()).expect("a map of texts is JSON");
        let mut variables = BTreeMap::from([
            ("PYRITE_SUBMIT_CONF", conf),
            ("PYRITE_VERBOSE_EVENTS", "1".to_owned()),
            ("PYTHONUNBUFFERED", "YES".to_owned()),
        ]);
        if let Ok(program) = std::env::current_exe() {
            variables.insert("PYRITE_BINARY", program.display().to_string());
        }
        if let Some(path) = &self.properties_file {
            variables.insert("PYRITE_PROPERTIES_FILE", path.display().to_string());
        }
        // Python hashes of texts must agree between processes that exchange keys.
        if self.environment.get("PYTHONHASHSEED").is_none() {
            variables.insert("PYTHONHASHSEED", "0".to_owned());
        }
        if let Some(python) = self.flags.get("spark.pyspark.python") {
            variables.insert("PYSPARK_PYTHON", python.to_owned());
        }
        if !self.module_paths.is_empty() {
            let old = self.environment.get("PYTHONPATH").map(str::to_owned);
            let all: Vec<String> = self.module_paths.iter().cloned().chain(old).collect();
            variables.insert("PYTHONPATH", all.join(":"));
        }
        variables
    }

    fn describe(&self, script: &Path) {
        eprintln!("Using interpreter: {}", self.python_exec);
        eprintln!("Main program: {}", script.display());
        eprintln!("Spark properties of the command line:");
        for (key, value) in self.flags.iter() {
            let lower = key.to_ascii_lowercase();
            let is_secret = ["secret", "password", "token"]
                .iter()
                .any(|word| lower.contains(word));
            eprintln!(
                "  ({key},{})",
                if is_secret {
                    "*********(redacted)"
                } else {
                    value
                }
            );
        }
    }
}
