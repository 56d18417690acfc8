"""What every RDD has: identity, lineage, partitions, persistence."""

import os
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Optional, Tuple, TypeVar

from pyspark.errors import PySparkRuntimeError, UnsupportedOperationException
from pyspark.resource import ResourceProfile
from pyspark.serializers import NoOpSerializer, Serializer
from pyspark.storagelevel import StorageLevel

from pyrite.callsite import user_call_site
from pyrite.graph import PythonMap, Shuffle, Source, stage_of
from pyrite.hadoop.errors import spark_error
from pyrite.rdd.checkpoint import Checkpoint
from pyrite.rdd.hashing import Partitioner
from pyrite.rdd.kernels import Kernel, Pipeline
from pyrite.rdd.lineage import Shown, Step, debug_string, show
from pyrite.rdd.resources import check_profile

if TYPE_CHECKING:
    from pyrite.context import SparkContext
    from pyrite.rdd import RDD, RDDBarrier

T_co = TypeVar("T_co", covariant=True)


class RDDCore(Generic[T_co]):
    """Lineage of an RDD and what can be asked about it without computing it."""

    def __init__(
        self,
        source: Source,
        ctx: "SparkContext",
        serializer: Optional[Serializer] = None,
        partitioner: Optional[Partitioner] = None,
        hidden: bool = False,
    ):
        self._source = source
        self.ctx = ctx
        self._serializer: Serializer = ctx.serializer if serializer is None else serializer
        self.partitioner = partitioner
        self._name: Optional[str] = None
        # What Spark has for this RDD, and what it is called there if the source does not tell.
        self._shown: Optional[Shown] = None
        self._shown_as: Tuple[Step, ...] = ()
        self._hidden_id = ctx._next_hidden_rdd_id() if hidden else None
        self._storage_level: Optional[StorageLevel] = None
        self._num_partitions: Optional[int] = None
        self.is_cached = False
        self.is_checkpointed = False
        self._checkpoint: Optional[Checkpoint] = None
        self._resource_profile: Optional[ResourceProfile] = None
        # Whether a job has reached this RDD.
        self._had_job = False
        if not hidden and not self._is_numbered_late():
            self._lineage(str(user_call_site(whole_path=True)) if isinstance(source, Shuffle) else None)
        self.has_resource_profile = False
        if isinstance(source, Shuffle):
            ctx._dropped_exchanges.watch(self, self._id)

    @property
    def _jrdd(self) -> NoReturn:
        from pyspark.errors import PySparkAttributeError

        raise PySparkAttributeError(
            "`RDD._jrdd` is not there: no JVM runs behind this application. Use the RDD's own methods."
        )

    @property
    def _jrdd_deserializer(self) -> Serializer:
        """Serialiser of this RDD's frames, under the name that PySpark gives it."""
        return self._serializer

    @property
    def _id(self) -> int:
        """Number of this RDD in the graphs that the driver gets."""
        return self._lineage().id if self._hidden_id is None else self._hidden_id

    def _is_numbered_late(self) -> bool:
        """Tell whether Spark makes its RDD only when this one is used."""
        return False

    def _lineage(self, site: Optional[str] = None) -> Shown:
        """Return what Spark would have for this RDD; numbers it the first time."""
        if self._shown is None:
            self._shown = show(self, site)
        return self._shown

    def id(self) -> int:
        """Return the id of this RDD, unique within its context."""
        return self._id

    def __repr__(self) -> str:
        return str(self._lineage())

    def __getnewargs__(self) -> NoReturn:
        raise PySparkRuntimeError(errorClass="RDD_TRANSFORM_ONLY_VALID_ON_DRIVER", messageParameters={})

    def __reduce__(self) -> NoReturn:
        self.__getnewargs__()

    @property
    def context(self) -> "SparkContext":
        """The :class:`SparkContext` that this RDD was created on."""
        return self.ctx

    def name(self) -> Optional[str]:
        """Return the name of this RDD."""
        return self._name

    def setName(self, name: str) -> "RDD[T_co]":
        """Give this RDD a name and return it."""
        self._name = name
        return self._self()

    def getNumPartitions(self) -> int:
        """Return the number of partitions."""
        if self._num_partitions is None:
            known = self._source.num_partitions()
            self._num_partitions = self.ctx._describe(self) if known is None else known
        return self._num_partitions

    def toDebugString(self) -> Optional[bytes]:
        """Return a description of this RDD and those it depends on."""
        return debug_string(self).encode("utf-8")

    def cache(self) -> "RDD[T_co]":
        """Persist this RDD with the default storage level (``MEMORY_ONLY``)."""
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(self, storageLevel: StorageLevel = StorageLevel.MEMORY_ONLY) -> "RDD[T_co]":
        """Keep the partitions of this RDD once they are computed.

        Parameters
        ----------
        storageLevel
            Where to keep them; it cannot change until :meth:`unpersist`.
        """
        if self._storage_level is not None and self._storage_level != storageLevel:
            raise UnsupportedOperationException(
                "Cannot change storage level of an RDD after it was already assigned a level"
            )
        self._lineage()
        # Also with `NONE`, as on Spark: the flag says that somebody asked.
        self.is_cached = True
        if storageLevel != StorageLevel.NONE:
            self._storage_level = storageLevel
        return self._self()

    def unpersist(self, blocking: bool = False) -> "RDD[T_co]":
        """Forget the kept partitions of this RDD.

        Parameters
        ----------
        blocking
            Whether to wait until they are gone everywhere.
        """
        if self.is_cached:
            self.is_cached = False
            self._storage_level = None
            self.ctx._unpersist(self._id, blocking)
        return self._self()

    def getStorageLevel(self) -> StorageLevel:
        """Return the storage level of this RDD."""
        return StorageLevel.NONE if self._storage_level is None else self._storage_level

    def checkpoint(self) -> None:
        """Mark this RDD to be written to files by the first job that computes it.

        Its lineage ends there afterwards. :meth:`SparkContext.setCheckpointDir` says where; persist
        the RDD too, or it is computed twice.
        """
        directory = self.ctx._checkpoint_directory
        if directory is None:
            raise spark_error("Checkpoint directory has not been set in the SparkContext")
        self.is_checkpointed = True
        if self._checkpoint is None:
            self._checkpoint = Checkpoint(os.path.join(directory, f"rdd-{self._id}"), local=False)

    def isCheckpointed(self) -> bool:
        """Tell whether this RDD is checkpointed and its partitions are kept."""
        return self._checkpoint is not None and self._checkpoint.done

    def localCheckpoint(self) -> None:
        """Mark this RDD to be kept for this application by the first job that computes it.

        Where the driver runs tasks itself the lineage ends there afterwards; on a cluster the
        partitions are persisted and the lineage stays, to compute them again if they are lost.
        """
        if self._storage_level is None:
            self._storage_level = StorageLevel.MEMORY_AND_DISK_DESER
        if not self.isCheckpointed():
            name = f"rdd-{self._id}"
            shared = self.ctx._runs_tasks_itself
            directory = os.path.join(self.ctx._directory("checkpoints"), name) if shared else None
            self._checkpoint = Checkpoint(directory, local=True)

    def isLocallyCheckpointed(self) -> bool:
        """Tell whether this RDD is marked for local checkpointing."""
        return self._checkpoint is not None and self._checkpoint.local

    def getCheckpointFile(self) -> Optional[str]:
        """Return the directory that this RDD was checkpointed to, None before and for local ones."""
        mark = self._checkpoint
        return None if mark is None or mark.local or not mark.done else f"file:{mark.directory}"

    def cleanShuffleDependencies(self, blocking: bool = False) -> None:
        """Allow the shuffles of this RDD and of its ancestors that are not persisted to be removed.

        The driver keeps what it shuffled itself until the application ends, so this changes nothing.
        """
        self.ctx._assert_running()

    def withResources(self, profile: ResourceProfile) -> "RDD[T_co]":
        """Ask for resources for the stages that compute this RDD.

        Parameters
        ----------
        profile
            What a task needs; on a cluster, one core of any executor.

        Raises
        ------
        SparkException
            If the cluster does not serve profiles of this kind, as on Spark.
        """
        check_profile(profile, self.ctx.master, self.ctx._conf)
        self.has_resource_profile = True
        self._resource_profile = profile
        return self._self()

    def getResourceProfile(self) -> Optional[ResourceProfile]:
        """Return the resource profile that this RDD was given, None if there is none."""
        return self._resource_profile

    def barrier(self) -> "RDDBarrier[T_co]":
        """Return this RDD for operations whose tasks run together and may wait for each other."""
        from pyrite.rdd import RDDBarrier

        return RDDBarrier(self._self())

    def _is_barrier(self) -> bool:
        """Tell whether this RDD is computed in a barrier stage."""
        return any(rdd._source.barrier for rdd in stage_of(self) if isinstance(rdd._source, PythonMap))

    def _self(self) -> "RDD[T_co]":
        """Return self as what it is: every object of this class is an RDD."""
        return self  # type: ignore[return-value]

    def _is_pipelinable(self) -> bool:
        """Tell whether a following function may run in the same worker call as this one."""
        return False

    def _new(
        self,
        source: Source,
        serializer: Optional[Serializer] = None,
        partitioner: Optional[Partitioner] = None,
    ) -> "RDD[Any]":
        from pyrite.rdd import RDD

        return RDD(source, self.ctx, serializer, partitioner)

    def _apply(
        self,
        kernel: Kernel,
        preservesPartitioning: bool = False,
        serializer: Optional[Serializer] = None,
        raw_input: bool = False,
        barrier: bool = False,
    ) -> "RDD[Any]":
        """Return the RDD of what `kernel` makes of each partition.

        Parameters
        ----------
        serializer
            How results are written; the context's serialiser by default.
        raw_input
            Whether the kernel gets the payloads of frames instead of elements.
        barrier
            Whether the tasks of all partitions have to run together.
        """
        from pyrite.rdd import PipelinedRDD

        partitioner = self.partitioner if preservesPartitioning else None
        written = self.ctx.serializer if serializer is None else serializer
        source = self._source
        if self._is_pipelinable() and not raw_input and isinstance(source, PythonMap):
            fused = PythonMap(
                self.ctx,
                source.parent,
                source.pipeline.then(kernel),
                source.deserializer,
                written,
                source.barrier or barrier,
            )
            return PipelinedRDD(fused, self.ctx, written, partitioner)
        # As on Spark, whatever is not run together with this RDD makes it one of its own.
        if self._hidden_id is None:
            self._lineage()
        read = NoOpSerializer() if raw_input else self._serializer
        mapped = PythonMap(self.ctx, self._self(), Pipeline((kernel,)), read, written, barrier)
        return PipelinedRDD(mapped, self.ctx, written, partitioner)

    def _reserialize(self, serializer: Optional[Serializer] = None) -> "RDD[T_co]":
        """Return the same elements in frames of that serialiser."""
        from functools import partial

        from pyrite.rdd.exchange import identity
        from pyrite.rdd.kernels import map_partition

        wanted = self.ctx.serializer if serializer is None else serializer
        if self._serializer == wanted:
            return self._self()
        return self._apply(partial(map_partition, identity), preservesPartitioning=True, serializer=wanted)

    def _pickled(self) -> "RDD[T_co]":
        return self._reserialize()

    def _memory_limit(self) -> float:
        """Return the memory in MiB that a shuffle may use in a Python worker before it spills."""
        return _mebibytes(self.ctx._conf.get("spark.python.worker.memory", "512m"))

    def _defaultReducePartitions(self) -> int:
        """Return the number of partitions of a shuffle that does not say how many it wants."""
        if self.ctx._conf.contains("spark.default.parallelism"):
            return self.ctx.defaultParallelism
        return self.getNumPartitions()


def _mebibytes(text: str) -> float:
    units = {"k": 1.0 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
    digits = text.strip().lower().removesuffix("b")
    return float(digits[:-1]) * units[digits[-1]]
