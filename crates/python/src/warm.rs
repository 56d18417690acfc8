//! Getting a fresh worker ready before its first task.

use std::path::Path;

use bytes::{BufMut, BytesMut};
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::SparkError;
use tokio::io::AsyncWriteExt;

use crate::errors::internal;
use crate::protocol::special;
use crate::task::PythonTask;
use crate::worker::{PythonWorker, WorkerMessage};

/// Runs a task that imports `modules` (those that are installed) and returns nothing.
///
/// `false` means that the worker ended itself and must be dropped.
pub(crate) async fn warm_up(
    worker: &mut PythonWorker,
    modules: &[String],
    files_dir: &Path,
) -> Result<bool, SparkError> {
    let function = PythonFunction {
        command: import_command(modules).into(),
        ..PythonFunction::default()
    };
    let task = PythonTask::over_frames(&function, -1, -1, 0);
    let version = worker.daemon().version().to_owned();
    let mut out = task.header(&version, files_dir, &[], &[]);
    out.put_i32(special::END_OF_DATA_SECTION);
    out.put_i32(special::END_OF_STREAM);
    let (mut reader, mut writer) = worker.open()?;
    if let Err(error) = writer.write_all(&out).await {
        return Err(internal(format!(
            "a new Python worker does not listen: {error}"
        )));
    }
    loop {
        match reader.message().await? {
            WorkerMessage::End(_) => break,
            WorkerMessage::Exception(traceback) => return Err(SparkError::python(traceback)),
            WorkerMessage::Timing(_) => {}
            other => return Err(internal(format!("unexpected {other:?} from a new worker"))),
        }
    }
    Ok(reader.wants_more().await? && worker.close(reader, writer))
}

/// What they bring in is frozen, as in the daemon. The function reads its (empty) input, without which the worker would not find the end of
/// the task and end itself.
///
/// Pickles `(function, None, serializer, serializer)`, by hand: `eval` of a lambda, and two
/// `NoOpSerializer`s. Protocol 0 is read by every Python.
fn import_command(modules: &[String]) -> Vec<u8> {
    let names: Vec<String> = modules.iter().map(|name| format!("{name:?}")).collect();
    let source = format!(
        "lambda split, frames: list(frames) + [m for m in [{}] \
         if __import__('importlib.util').util.find_spec(m) and not __import__(m)] \
         + (__import__('gc').freeze() or [])",
        names.join(", ")
    );
    let mut out = BytesMut::new();
    out.put_slice(b"(cbuiltins\neval\n(V");
    // Raw unicode escape: only backslashes and newlines are special.
    out.put_slice(
        source
            .replace('\\', "\\u005c")
            .replace('\n', "\\u000a")
            .as_bytes(),
    );
    out.put_slice(b"\ntRN");
    for _ in 0..2 {
        out.put_slice(b"cpyspark.serializers\nNoOpSerializer\n(tR");
    }
    out.put_slice(b"t.");
    out.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_import_command_ends_like_a_pickle() {
        let command = import_command(&["numpy".to_owned()]);
        assert!(command.starts_with(b"(cbuiltins\neval\n(Vlambda"));
        assert_eq!(command.last(), Some(&b'.'));
    }
}
