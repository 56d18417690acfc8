//! The `pyrite` binary: one subcommand per process. Parses, sets up logging, calls the libraries.

mod allocator;
mod cli;
mod daemons;
mod executor;
mod logging;
mod python;
mod shell;
mod submit;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    allocator::give_back_early();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let outcome = match cli.command {
        Command::Master(args) => daemons::master(args),
        Command::Worker(args) => daemons::worker(args),
        Command::Driver => return pyrite_driver::run(),
        Command::Executor(args) => executor::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Shell(args) => shell::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints what clap has to say. Status 0 for help and versions, 2 for wrong usage, and 1 where
/// Spark's own commands end so.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done when the terminal is gone.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let is_sparks = std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == "submit" || name == "shell");
    ExitCode::from(if is_sparks { 1 } else { 2 })
}
