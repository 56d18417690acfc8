//! The table of known settings. Everything else is carried along untouched.
//!
//! Keys of Spark keep Spark's meaning and default. Keys below `spark.pyrite.` are our own.

use crate::units::{ByteUnit, TimeUnit};

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Texts separated by commas.
    List,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A size; a bare number counts in this unit.
    Bytes(ByteUnit),
    /// A duration; a bare number counts in this unit.
    Duration(TimeUnit),
}

/// One known setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// What a value must look like.
    pub kind: Kind,
    /// The value when nothing is set; `None` when it depends on other things.
    pub default: Option<&'static str>,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

const BYTES: Kind = Kind::Bytes(ByteUnit::Byte);
const KIB: Kind = Kind::Bytes(ByteUnit::KiB);
const MIB: Kind = Kind::Bytes(ByteUnit::MiB);
const MILLIS: Kind = Kind::Duration(TimeUnit::Millis);
const SECONDS: Kind = Kind::Duration(TimeUnit::Seconds);

const fn row(
    key: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        default,
        doc,
    }
}

/// All known settings, by topic.
pub static SETTINGS: &[Setting] = &[
    // Application
    row(
        "spark.app.name",
        Kind::Text,
        None,
        "Name of the application on pages and in logs.",
    ),
    row(
        "spark.app.id",
        Kind::Text,
        None,
        "Identity of the application; set by Pyrite.",
    ),
    row(
        "spark.master",
        Kind::Text,
        None,
        "Where the application runs.",
    ),
    row(
        "spark.submit.deployMode",
        Kind::Text,
        Some("client"),
        "Where the driver runs: `client` or `cluster`.",
    ),
    row(
        "spark.submit.pyFiles",
        Kind::List,
        Some(""),
        "Python modules, zips and eggs put on the search path everywhere.",
    ),
    row(
        "spark.files",
        Kind::List,
        Some(""),
        "Files put into the working directory of every executor.",
    ),
    row(
        "spark.archives",
        Kind::List,
        Some(""),
        "Archives unpacked into the working directory of every executor.",
    ),
    row(
        "spark.log.level",
        Kind::Text,
        None,
        "Log level of the application, over any other configuration.",
    ),
    row(
        "spark.extraListeners",
        Kind::List,
        Some(""),
        "Listener classes of the JVM; not supported.",
    ),
    row(
        "spark.local.dir",
        Kind::Text,
        Some("/tmp"),
        "Directory for working data of driver and executors.",
    ),
    // Driver
    row(
        "spark.driver.host",
        Kind::Text,
        None,
        "Host name or address that executors use to reach the driver.",
    ),
    row(
        "spark.driver.bindAddress",
        Kind::Text,
        None,
        "Address that the driver listens on; `spark.driver.host` when not set.",
    ),
    row(
        "spark.driver.port",
        Kind::Int,
        Some("0"),
        "Port that the driver listens on for executors; 0 for any.",
    ),
    row(
        "spark.driver.blockManager.port",
        Kind::Int,
        Some("0"),
        "Port for blocks of the driver; 0 for any.",
    ),
    row(
        "spark.driver.cores",
        Kind::Int,
        Some("1"),
        "Cores of the driver in cluster mode.",
    ),
    row(
        "spark.driver.memory",
        MIB,
        Some("1g"),
        "Memory of the driver process.",
    ),
    row(
        "spark.driver.maxResultSize",
        BYTES,
        Some("1g"),
        "Limit for the serialized results of one job; 0 for none.",
    ),
    row(
        "spark.driver.supervise",
        Kind::Bool,
        Some("false"),
        "Whether a failed driver is restarted in cluster mode.",
    ),
    // Executors
    row(
        "spark.executor.instances",
        Kind::Int,
        None,
        "Number of executors at start.",
    ),
    row(
        "spark.executor.cores",
        Kind::Int,
        None,
        "Cores of one executor; all of its worker when not set.",
    ),
    row(
        "spark.executor.memory",
        MIB,
        Some("1g"),
        "Memory of one executor.",
    ),
    row(
        "spark.executor.memoryOverhead",
        MIB,
        None,
        "Memory on top of `spark.executor.memory` for Python and the rest.",
    ),
    row(
        "spark.executor.pyspark.memory",
        MIB,
        None,
        "Memory limit of the Python workers of one executor.",
    ),
    row(
        "spark.executor.port",
        Kind::Int,
        Some("0"),
        "Port that executors listen on; 0 for any.",
    ),
    row(
        "spark.executor.heartbeatInterval",
        MILLIS,
        Some("10s"),
        "Interval between reports of an executor to its driver.",
    ),
    row(
        "spark.executor.maxNumFailures",
        Kind::Int,
        None,
        "Executor failures after which an application is given up.",
    ),
    row(
        "spark.cores.max",
        Kind::Int,
        None,
        "Cores of the whole application; `spark.deploy.defaultCores` when not set.",
    ),
    row(
        "spark.task.cpus",
        Kind::Int,
        Some("1"),
        "Cores of one task.",
    ),
    row(
        "spark.task.maxFailures",
        Kind::Int,
        Some("4"),
        "How often one task may fail before its job does.",
    ),
    row(
        "spark.default.parallelism",
        Kind::Int,
        None,
        "Partitions of an RDD when nothing else says.",
    ),
    row(
        "spark.locality.wait",
        MILLIS,
        Some("3s"),
        "How long a task waits for a slot near its data.",
    ),
    row(
        "spark.scheduler.mode",
        Kind::Text,
        Some("FIFO"),
        "Order of jobs inside one application: FIFO or FAIR.",
    ),
    row(
        "spark.scheduler.minRegisteredResourcesRatio",
        Kind::Text,
        Some("0.0"),
        "Share of resources to wait for before the first job.",
    ),
    row(
        "spark.scheduler.maxRegisteredResourcesWaitingTime",
        MILLIS,
        Some("30s"),
        "Longest wait for that share.",
    ),
    row(
        "spark.starvation.timeout",
        MILLIS,
        Some("15s"),
        "How long a job has no executors before a warning says so, and how often it comes.",
    ),
    // Network
    row(
        "spark.network.timeout",
        SECONDS,
        Some("120s"),
        "Default for every network timeout.",
    ),
    row(
        "spark.port.maxRetries",
        Kind::Int,
        Some("16"),
        "How many following ports are tried when one is in use.",
    ),
    row(
        "spark.rpc.message.maxSize",
        Kind::Int,
        Some("128"),
        "Largest control message, in MiB.",
    ),
    // Security
    row(
        "spark.authenticate",
        Kind::Bool,
        Some("false"),
        "Whether processes show each other a secret.",
    ),
    row(
        "spark.authenticate.secret",
        Kind::Text,
        None,
        "The secret of the cluster.",
    ),
    row(
        "spark.authenticate.secret.file",
        Kind::Text,
        None,
        "File that holds the secret of the cluster.",
    ),
    row(
        "spark.redaction.regex",
        Kind::Text,
        Some("(?i)secret|password|token|access[.]?key"),
        "Keys whose values are hidden in logs and on pages.",
    ),
    // Pages and events
    row(
        "spark.ui.enabled",
        Kind::Bool,
        Some("true"),
        "Whether the application serves its pages.",
    ),
    row(
        "spark.ui.killEnabled",
        Kind::Bool,
        Some("true"),
        "Whether the master's page ends applications.",
    ),
    row(
        "spark.ui.port",
        Kind::Int,
        Some("4040"),
        "Port of the application's pages.",
    ),
    row(
        "spark.ui.showConsoleProgress",
        Kind::Bool,
        Some("false"),
        "Whether a progress bar is shown on a terminal.",
    ),
    row(
        "spark.eventLog.enabled",
        Kind::Bool,
        Some("false"),
        "Whether events are written to a log.",
    ),
    row(
        "spark.eventLog.dir",
        Kind::Text,
        Some("/tmp/spark-events"),
        "Directory of event logs.",
    ),
    // Standalone cluster
    row(
        "spark.worker.timeout",
        SECONDS,
        Some("60"),
        "Silence after which a worker counts as lost.",
    ),
    row(
        "spark.worker.cleanup.enabled",
        Kind::Bool,
        Some("true"),
        "Whether directories of ended applications are removed.",
    ),
    row(
        "spark.worker.cleanup.interval",
        SECONDS,
        Some("1800"),
        "Interval between such clean-ups.",
    ),
    row(
        "spark.worker.cleanup.appDataTtl",
        SECONDS,
        Some("604800"),
        "How long directories of ended applications are kept.",
    ),
    row(
        "spark.worker.ui.retainedExecutors",
        Kind::Int,
        Some("1000"),
        "Ended executors kept on a worker's page.",
    ),
    row(
        "spark.deploy.spreadOut",
        Kind::Bool,
        Some("true"),
        "Whether executors of an application are spread over workers.",
    ),
    row(
        "spark.deploy.spreadOutApps",
        Kind::Bool,
        Some("true"),
        "Older name of `spark.deploy.spreadOut`.",
    ),
    row(
        "spark.deploy.defaultCores",
        Kind::Int,
        None,
        "Cores of an application that sets no `spark.cores.max`; all when not set.",
    ),
    row(
        "spark.deploy.maxExecutorRetries",
        Kind::Int,
        Some("10"),
        "Executor failures in a row after which an application is removed; -1 for never.",
    ),
    row(
        "spark.deploy.retainedApplications",
        Kind::Int,
        Some("200"),
        "Ended applications kept on the master's page.",
    ),
    row(
        "spark.deploy.recoveryMode",
        Kind::Text,
        Some("NONE"),
        "How the master survives a restart.",
    ),
    row(
        "spark.deploy.recoveryDirectory",
        Kind::Text,
        None,
        "Directory of the master's state.",
    ),
    row(
        "spark.master.ui.port",
        Kind::Int,
        Some("8080"),
        "Port of the master's pages.",
    ),
    row(
        "spark.worker.ui.port",
        Kind::Int,
        Some("8081"),
        "Port of a worker's pages.",
    ),
    row(
        "spark.pyrite.master.connectAttempts",
        Kind::Int,
        Some("3"),
        "How often an application tries to reach its masters.",
    ),
    row(
        "spark.pyrite.master.connectInterval",
        MILLIS,
        Some("20s"),
        "Time between two such attempts.",
    ),
    row(
        "spark.pyrite.noExecutorsTimeout",
        MILLIS,
        Some("60s"),
        "How long a running job waits for an executor after it has lost its last one.",
    ),
    // Memory
    row(
        "spark.memory.fraction",
        Kind::Text,
        Some("0.6"),
        "Share of an executor's memory for execution and storage.",
    ),
    row(
        "spark.memory.storageFraction",
        Kind::Text,
        Some("0.5"),
        "Share of that which storage keeps under pressure.",
    ),
    row(
        "spark.memory.offHeap.enabled",
        Kind::Bool,
        Some("false"),
        "No effect: there is no Java heap.",
    ),
    row(
        "spark.memory.offHeap.size",
        BYTES,
        Some("0"),
        "No effect: there is no Java heap.",
    ),
    // Python
    row(
        "spark.pyspark.python",
        Kind::Text,
        None,
        "Interpreter of driver and Python workers.",
    ),
    row(
        "spark.pyspark.driver.python",
        Kind::Text,
        None,
        "Interpreter of the application.",
    ),
    row(
        "spark.python.worker.reuse",
        Kind::Bool,
        Some("true"),
        "Whether Python workers serve more than one task.",
    ),
    row(
        "spark.python.worker.memory",
        MIB,
        Some("512m"),
        "Memory of a Python worker before it spills while aggregating.",
    ),
    row(
        "spark.python.profile",
        Kind::Bool,
        Some("false"),
        "Whether Python workers are profiled.",
    ),
    row(
        "spark.python.worker.faulthandler.enabled",
        Kind::Bool,
        Some("true"),
        "Whether a crash of a Python worker leaves its stack.",
    ),
    row(
        "spark.python.unix.domain.socket.enabled",
        Kind::Bool,
        Some("true"),
        "Whether Python workers are reached by Unix sockets.",
    ),
    row(
        "spark.buffer.size",
        BYTES,
        Some("65536"),
        "Buffer between executor and Python worker.",
    ),
    // Shuffle, storage, files
    row(
        "spark.shuffle.compress",
        Kind::Bool,
        Some("true"),
        "Whether shuffle files are compressed.",
    ),
    row(
        "spark.reducer.maxSizeInFlight",
        MIB,
        Some("48m"),
        "Shuffle data that one task fetches at once.",
    ),
    row(
        "spark.broadcast.compress",
        Kind::Bool,
        Some("true"),
        "Whether broadcast values are compressed.",
    ),
    row(
        "spark.broadcast.blockSize",
        KIB,
        Some("4m"),
        "Size of the pieces of a broadcast value.",
    ),
    row(
        "spark.rdd.compress",
        Kind::Bool,
        Some("true"),
        "Whether serialized partitions are compressed.",
    ),
    row(
        "spark.files.overwrite",
        Kind::Bool,
        Some("false"),
        "Whether an added file may replace another of its name.",
    ),
    row(
        "spark.files.useFetchCache",
        Kind::Bool,
        Some("true"),
        "Whether executors of a machine share fetched files.",
    ),
    row(
        "spark.serializer",
        Kind::Text,
        Some("org.apache.spark.serializer.JavaSerializer"),
        "No effect: there is no JVM.",
    ),
    row(
        "spark.serializer.objectStreamReset",
        Kind::Int,
        Some("100"),
        "No effect: there is no JVM.",
    ),
    row(
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version",
        Kind::Int,
        Some("1"),
        "How output files are committed.",
    ),
    // SQL: what other parts of Pyrite read before a session exists
    row(
        "spark.sql.shuffle.partitions",
        Kind::Int,
        Some("200"),
        "Partitions after a shuffle of a query.",
    ),
    row(
        "spark.sql.ansi.enabled",
        Kind::Bool,
        Some("true"),
        "Whether SQL follows the ANSI rules.",
    ),
    row(
        "spark.sql.session.timeZone",
        Kind::Text,
        None,
        "Time zone of a session; that of the machine when not set.",
    ),
    row(
        "spark.sql.warehouse.dir",
        Kind::Text,
        Some("spark-warehouse"),
        "Directory of managed tables.",
    ),
    row(
        "spark.sql.execution.arrow.maxRecordsPerBatch",
        Kind::Int,
        Some("10000"),
        "Rows of one Arrow batch sent to Python.",
    ),
];

/// Finds a setting by its key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice() {
        let mut keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        let before = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), before);
    }
}
