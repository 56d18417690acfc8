"""Checkpoints: an RDD's frames in files, in place of the lineage that they were computed from."""

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Optional

from pyspark.serializers import NoOpSerializer, read_int, write_int

from pyrite.callsite import user_call_site
from pyrite.graph import EmptyPartitions, PythonMap
from pyrite.hadoop import output
from pyrite.rdd.kernels import Pipeline
from pyrite.rdd.lineage import Shown

if TYPE_CHECKING:
    from pyrite.rdd import RDD
    from pyrite.rdd.base import RDDCore


@dataclass
class Checkpoint:
    """That an RDD is to be checkpointed, and how far that has come.

    Parameters
    ----------
    directory
        Where the files go; None to only keep the partitions persisted.
    local
        Whether they are for this application's own use.
    done
        Whether the partitions are kept.
    """

    directory: Optional[str]
    local: bool
    done: bool = False


def after_job(root: "RDDCore[Any]") -> None:
    """Write the checkpoints that are due after a job over `root` and its lineage.

    An RDD gets its chance with the first job that reaches it; as on Spark, marking it later is too
    late.
    """
    stack: List[RDDCore[Any]] = [root]
    while stack:
        rdd = stack.pop()
        if rdd._had_job:
            continue
        rdd._had_job = True
        if rdd._checkpoint is None:
            stack.extend(rdd._source.parents)
        else:
            _materialize(rdd._self(), rdd._checkpoint)


def _materialize(rdd: "RDD[Any]", checkpoint: Checkpoint) -> None:
    if checkpoint.directory is None:
        # A job over all partitions leaves them persisted.
        rdd.count()
    else:
        written = rdd._apply(partial(_write_frames, checkpoint.directory), raw_input=True)
        written._hidden_id = rdd.ctx._next_hidden_rdd_id()
        output.write(written, checkpoint.directory, done_marker=False)
        partitions = rdd.getNumPartitions()
        from pyrite.rdd import RDD

        empty: RDD[Any] = RDD(EmptyPartitions(partitions), rdd.ctx, NoOpSerializer(), hidden=True)
        read = Pipeline((partial(_read_frames, checkpoint.directory),))
        rdd._source = PythonMap(rdd.ctx, empty, read, NoOpSerializer(), NoOpSerializer())
        rdd._num_partitions = partitions
        kind = "LocalCheckpointRDD" if checkpoint.local else "ReliableCheckpointRDD"
        site = str(user_call_site(whole_path=True))
        shown = rdd._lineage()
        shown.parents, shown.shuffled = [Shown(rdd.ctx._next_rdd_id(), kind, site, rdd)], False
    checkpoint.done = True


def _part(split: int) -> str:
    return f"part-{split:05d}"


def _write_frames(directory: str, split: int, frames: Iterable[bytes]) -> Iterator[str]:
    """Write the payloads of frames, each after its length, and yield where they lie."""
    with output.pending_file(directory, _part(split)) as (file, path):
        for frame in frames:
            write_int(len(frame), file)
            file.write(frame)
    yield path


def _read_frames(directory: str, split: int, iterator: Iterable[Any]) -> Iterator[bytes]:
    """Yield the payloads of the frames of a partition."""
    for _ in iterator:
        raise AssertionError("the input of a checkpoint is empty")
    path = os.path.join(directory, _part(split))
    with open(path, "rb") as file:
        while True:
            try:
                length = read_int(file)
            except EOFError:
                return
            frame = file.read(length)
            if len(frame) < length:
                raise EOFError(f"{path} ends within a frame of {length} bytes")
            yield frame
