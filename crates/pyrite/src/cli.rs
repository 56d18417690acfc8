//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Runs PySpark applications, on this machine or on a standalone cluster, without a JVM.
#[derive(Debug, Parser)]
#[command(
    name = "pyrite",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// One subcommand per process.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the master of a cluster.
    Master(MasterArgs),
    /// Runs a worker: offers this machine's cores and memory to a master.
    Worker(WorkerArgs),
    /// Runs the driver of one application; applications start it themselves.
    #[command(hide = true)]
    Driver,
    /// Runs one executor; workers start it themselves.
    #[command(hide = true)]
    Executor(ExecutorArgs),
    /// Runs an application, as spark-submit does.
    Submit(Box<SubmitArgs>),
    /// Opens a Python prompt with `spark` and `sc`, as pyspark does.
    Shell(Box<SubmitArgs>),
}

/// What both daemons take.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct DaemonArgs {
    /// Name or address to listen on and to tell others [default: this machine's name, on all interfaces]
    #[arg(short = 'h', long, visible_short_alias = 'i', visible_alias = "ip")]
    pub host: Option<String>,
    /// Port; 0 for any free one
    #[arg(short, long)]
    pub port: Option<u16>,
    /// Port of the web pages; 0 for any free one
    #[arg(long)]
    pub webui_port: Option<u16>,
    /// File of settings [default: spark-defaults.conf in the conf directory]
    #[arg(long, value_name = "FILE")]
    pub properties_file: Option<PathBuf>,
    /// Belongs to the process that started it: says on stdout when it is ready, ends with its stdin
    #[arg(long, hide = true)]
    pub child: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
}

/// Flags of `pyrite master`. Also read: SPARK_MASTER_HOST, SPARK_MASTER_PORT and SPARK_MASTER_WEBUI_PORT.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct MasterArgs {
    /// What both daemons take.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Flags of `pyrite worker`. Also read: SPARK_WORKER_CORES, SPARK_WORKER_MEMORY, SPARK_WORKER_PORT,
/// SPARK_WORKER_DIR and SPARK_WORKER_WEBUI_PORT.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct WorkerArgs {
    /// Master to join, or several: spark://host:port,host:port
    #[arg(value_name = "MASTER")]
    pub master: String,
    /// Cores to offer [default: all]
    #[arg(short, long)]
    pub cores: Option<u32>,
    /// Memory to offer, such as 512m or 4g [default: all but 1 GiB]
    #[arg(short, long)]
    pub memory: Option<String>,
    /// Directory for applications [default: work in SPARK_HOME, else in the user's state directory]
    #[arg(short = 'd', long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// What both daemons take.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Flags of `pyrite executor`, given by the worker.
#[derive(Debug, Args)]
pub struct ExecutorArgs {
    /// Where the driver listens for executors, as host:port
    #[arg(long)]
    pub driver_address: String,
    /// Application
    #[arg(long)]
    pub app_id: String,
    /// Number of this executor in its application
    #[arg(long)]
    pub executor_id: String,
    /// Task slots
    #[arg(long)]
    pub cores: usize,
    /// Memory, in MiB
    #[arg(long)]
    pub memory_mib: u64,
    /// Name or address of this machine
    #[arg(long)]
    pub host: String,
    /// Worker that started this executor
    #[arg(long)]
    pub worker_id: String,
    /// Directory of this executor
    #[arg(long)]
    pub work_dir: PathBuf,
}

/// Options of spark-submit and pyspark. Everything after the program goes to the program.
#[derive(Debug, Args, Default)]
#[command(disable_version_flag = true)]
pub struct SubmitArgs {
    /// Where to run: local, local[N], local[*], local-cluster[W,C,M] or spark://host:port
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Where the driver runs: client (here)
    #[arg(long, value_name = "MODE")]
    pub deploy_mode: Option<String>,
    /// Name of the application [default: that of the program]
    #[arg(long)]
    pub name: Option<String>,
    /// A setting of Spark; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub conf: Vec<String>,
    /// File of settings, instead of spark-defaults.conf
    #[arg(long, value_name = "FILE")]
    pub properties_file: Option<PathBuf>,
    /// Python modules (.py, .zip, .egg) for program and workers, separated by commas
    #[arg(long, value_name = "FILES")]
    pub py_files: Option<String>,
    /// Files for the working directory of each executor, separated by commas
    #[arg(long, value_name = "FILES")]
    pub files: Option<String>,
    /// Archives to unpack in the working directory of each executor, separated by commas
    #[arg(long, value_name = "FILES")]
    pub archives: Option<String>,
    /// Memory of the driver, such as 512m or 4g
    #[arg(long, value_name = "SIZE")]
    pub driver_memory: Option<String>,
    /// Cores of the driver, in cluster mode
    #[arg(long, value_name = "N")]
    pub driver_cores: Option<String>,
    /// Memory of each executor, such as 512m or 4g
    #[arg(long, value_name = "SIZE")]
    pub executor_memory: Option<String>,
    /// Cores of each executor
    #[arg(long, value_name = "N")]
    pub executor_cores: Option<String>,
    /// Cores of all executors together
    #[arg(long, value_name = "N")]
    pub total_executor_cores: Option<String>,
    /// Number of executors
    #[arg(long, value_name = "N")]
    pub num_executors: Option<String>,
    /// Show what is being run
    #[arg(short, long)]
    pub verbose: bool,
    /// Print version
    #[arg(long)]
    pub version: bool,
    /// Not supported yet: the state of a driver in cluster mode
    #[arg(long, value_name = "ID", hide = true)]
    pub status: Option<String>,
    /// Not supported yet: the end of a driver in cluster mode
    #[arg(long, value_name = "ID", hide = true)]
    pub kill: Option<String>,
    /// Restart the driver when it fails, in cluster mode
    #[arg(long, hide = true)]
    pub supervise: bool,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub class: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub jars: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub packages: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub exclude_packages: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub repositories: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub driver_java_options: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub driver_library_path: Option<String>,
    /// For programs of the JVM
    #[arg(long, hide = true)]
    pub driver_class_path: Option<String>,
    /// The program and its arguments
    #[arg(
        value_name = "PROGRAM [ARGUMENTS]",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub program: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn submit(args: &[&str]) -> SubmitArgs {
        let all = ["pyrite", "submit"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Submit(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_after_the_program_belong_to_it() {
        let args = submit(&[
            "--master",
            "local[2]",
            "-c",
            "spark.a=1",
            "--conf=spark.b=2",
            "main.py",
            "--name",
            "x",
            "-v",
        ]);
        assert_eq!(args.master.as_deref(), Some("local[2]"));
        assert_eq!(args.conf, ["spark.a=1", "spark.b=2"]);
        assert_eq!(args.program, ["main.py", "--name", "x", "-v"]);
        assert!(args.name.is_none() && !args.verbose);
    }

    #[test]
    fn h_is_the_host_of_a_daemon() {
        let cli = Cli::try_parse_from([
            "pyrite",
            "worker",
            "spark://h:1",
            "-h",
            "node",
            "-c",
            "2",
            "-m",
            "1g",
        ])
        .unwrap();
        let Command::Worker(args) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(args.daemon.host.as_deref(), Some("node"));
        assert_eq!((args.cores, args.memory.as_deref()), (Some(2), Some("1g")));
    }
}
