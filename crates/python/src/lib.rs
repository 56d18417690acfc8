//! Python workers over Spark's own socket protocol, and the operators that run Python.
//!
//! Start reading at [`PythonWorkerPool`] (who runs the interpreters), then [`task`] (one
//! task in one worker), then the operators, which differ only in what they send to the
//! worker and how they read its answer:
//!
//! - [`PythonMapExec`]: functions over the frames of an RDD
//! - [`PythonEvalExec`]: scalar user-defined functions, row by row or batch by batch
//! - [`PythonMapBatchesExec`]: `mapInPandas` and `mapInArrow`
//! - [`PythonGroupMapExec`]: `applyInPandas`, `applyInArrow` and grouped aggregates

mod arrow_io;
mod attempts;
mod batches_io;
pub mod codec;
mod daemon;
mod errors;
mod eval_exec;
mod eval_io;
pub mod frames;
mod group_exec;
mod interpreter;
mod map_batches_exec;
mod map_exec;
mod options;
pub mod pickle;
mod pool;
mod protocol;
mod services;
pub mod spark_types;
pub mod task;
pub mod transfer;
mod udf;
mod warm;
mod worker;

pub use attempts::{AttemptNumber, LocalAttempts};
pub use errors::{internal, to_spark_error};
pub use eval_exec::PythonEvalExec;
pub use group_exec::PythonGroupMapExec;
pub use map_batches_exec::PythonMapBatchesExec;
pub use map_exec::PythonMapExec;
pub use options::{PythonPoolConfig, WorkerSpec};
pub use pool::PythonWorkerPool;
pub use services::{
    BlockId, BlockStore, BlockWriter, DriverFiles, PythonTaskReport, TaskNumber, TaskPartitions,
    TaskReports, TaskServices, global_partition,
};
pub use udf::{EvalType, PythonArg, PythonUdf, PythonUdfCall};
pub use worker::PythonWorker;
