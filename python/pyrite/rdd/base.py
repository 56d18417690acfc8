"""What every RDD has: identity, lineage, partitions, persistence."""

from typing import TYPE_CHECKING, Any, Generic, List, NoReturn, Optional, TypeVar

from pyspark.errors import PySparkRuntimeError, UnsupportedOperationException
from pyspark.serializers import NoOpSerializer, Serializer
from pyspark.storagelevel import StorageLevel

from pyrite.errors import not_supported
from pyrite.graph import PythonMap, Source
from pyrite.rdd.hashing import Partitioner
from pyrite.rdd.kernels import Kernel, Pipeline

if TYPE_CHECKING:
    from pyrite.context import SparkContext
    from pyrite.rdd import RDD

T_co = TypeVar("T_co", covariant=True)


class RDDCore(Generic[T_co]):
    """Lineage of an RDD and what can be asked about it without computing it."""

    def __init__(
        self,
        source: Source,
        ctx: "SparkContext",
        serializer: Optional[Serializer] = None,
        partitioner: Optional[Partitioner] = None,
    ):
        self._source = source
        self.ctx = ctx
        self._serializer: Serializer = ctx.serializer if serializer is None else serializer
        self.partitioner = partitioner
        self._id = ctx._next_rdd_id()
        self._name: Optional[str] = None
        self._storage_level: Optional[StorageLevel] = None
        self._num_partitions: Optional[int] = None
        self.is_cached = False
        self.is_checkpointed = False
        self.has_resource_profile = False

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

    def id(self) -> int:
        """Return the id of this RDD, unique within its context."""
        return self._id

    def __repr__(self) -> str:
        return f"{self._name or type(self).__name__}[{self._id}] at {self._source.describe()}"

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
        lines: List[str] = []
        self._describe_into(lines, 0)
        return "\n".join(lines).encode("utf-8")

    def _describe_into(self, lines: List[str], depth: int) -> None:
        lead = f"({self.getNumPartitions()}) " if depth == 0 else " " + "  " * (depth - 1) + "|  "
        level = f" [{self._storage_level}]" if self._storage_level is not None else " []"
        lines.append(f"{lead}{self._name or ''} {self._source.describe()}[{self._id}]{level}")
        for parent in self._source.parents:
            parent._describe_into(lines, depth + 1)

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
        """Mark this RDD for checkpointing (not supported yet)."""
        raise not_supported("RDD.checkpoint")

    def isCheckpointed(self) -> bool:
        """Tell whether this RDD is checkpointed."""
        return self.is_checkpointed

    def localCheckpoint(self) -> None:
        """Mark this RDD for local checkpointing (not supported yet)."""
        raise not_supported("RDD.localCheckpoint")

    def isLocallyCheckpointed(self) -> bool:
        """Tell whether this RDD is marked for local checkpointing."""
        return False

    def getCheckpointFile(self) -> Optional[str]:
        """Return the name of the file this RDD was checkpointed to."""
        return None

    def cleanShuffleDependencies(self, blocking: bool = False) -> None:
        """Remove this RDD's shuffles (not supported yet)."""
        raise not_supported("RDD.cleanShuffleDependencies")

    def withResources(self, profile: Any) -> "RDD[T_co]":
        """Request resources for the stages of this RDD (not supported yet)."""
        raise not_supported("RDD.withResources")

    def getResourceProfile(self) -> Optional[Any]:
        """Return the resource profile of this RDD, which is none yet."""
        return None

    def barrier(self) -> Any:
        """Mark the current stage as a barrier stage (not supported yet)."""
        raise not_supported("RDD.barrier")

    def _is_barrier(self) -> bool:
        return False

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
    ) -> "RDD[Any]":
        """Return the RDD of what `kernel` makes of each partition.

        Parameters
        ----------
        serializer
            How results are written; the context's serialiser by default.
        raw_input
            Whether the kernel gets the payloads of frames instead of elements.
        """
        from pyrite.rdd import PipelinedRDD

        partitioner = self.partitioner if preservesPartitioning else None
        written = self.ctx.serializer if serializer is None else serializer
        source = self._source
        if self._is_pipelinable() and not raw_input and isinstance(source, PythonMap):
            fused = PythonMap(self.ctx, source.parent, source.pipeline.then(kernel), source.deserializer, written)
            return PipelinedRDD(fused, self.ctx, written, partitioner)
        read = NoOpSerializer() if raw_input else self._serializer
        mapped = PythonMap(self.ctx, self._self(), Pipeline((kernel,)), read, written)
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
