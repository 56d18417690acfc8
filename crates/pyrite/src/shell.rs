//! `pyrite shell`: a Python prompt with `spark` and `sc`.

use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};

use crate::cli::SubmitArgs;
use crate::python;
use crate::submit::Submission;

/// Finds the start-up file of the shell without running it.
const FIND_STARTUP: &str =
    "import importlib.util as u; s = u.find_spec('pyrite.shell'); print(s.origin if s else '')";

/// Turns this process into a Python prompt.
///
/// # Errors
/// When an option is wrong, or the interpreter has no pyrite package.
pub fn run(args: Box<SubmitArgs>) -> anyhow::Result<()> {
    if let Some(program) = args.program.first() {
        let program = program.to_string_lossy();
        return Err(if program.starts_with('-') {
            anyhow!("Unrecognized option: {program}")
        } else {
            anyhow!("a shell runs no program; use `spark-submit {program}`")
        });
    }
    let submission = Submission::new(&args, Some("PySparkShell"))?;
    let startup = startup_file(&submission)?;
    let mut command = submission.python();
    match submission.environment.get("PYSPARK_DRIVER_PYTHON_OPTS") {
        Some(options) => command.args(options.split_whitespace()),
        // Also a prompt when its input comes through a pipe.
        None => command.arg("-i"),
    };
    if let Some(old) = submission.environment.get("PYTHONSTARTUP") {
        command.env("OLD_PYTHONSTARTUP", old);
    }
    // A prompt is no place for the story of each job.
    command.env_remove("PYRITE_VERBOSE_EVENTS");
    command.env("PYTHONSTARTUP", startup);
    python::become_it(command)
}

fn startup_file(submission: &Submission) -> anyhow::Result<String> {
    let mut command: Command = submission.python();
    let interpreter = command.get_program().to_string_lossy().into_owned();
    let output = command
        .args(["-c", FIND_STARTUP])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{interpreter}`"))?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if found.is_empty() {
        return Err(anyhow!(
            "`{interpreter}` has no pyrite package; install it there or set PYSPARK_PYTHON"
        ));
    }
    Ok(found)
}
