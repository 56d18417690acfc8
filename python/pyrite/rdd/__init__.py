"""RDDs: lazy graphs on this side, computed by the driver.

:mod:`.base` holds identity and lineage, :mod:`.transformations` and :mod:`.pairs` the lazy
operations, :mod:`.actions` what runs a job, :mod:`.kernels` what runs inside Python workers.
"""

from functools import partial
from typing import Any, Callable, Generic, Iterable, TypeVar

from pyrite.rdd import kernels
from pyrite.rdd.actions import Actions
from pyrite.rdd.base import T_co
from pyrite.rdd.hashing import Partitioner, portable_hash
from pyrite.rdd.pairs import PairTransformations
from pyrite.rdd.saving import Saving
from pyrite.rdd.transformations import Transformations

__all__ = [
    "RDD",
    "BoundedFloat",
    "Partitioner",
    "PipelinedRDD",
    "RDDBarrier",
    "portable_hash",
]

T = TypeVar("T")
U = TypeVar("U")


class RDD(Transformations[T_co], PairTransformations[T_co], Actions[T_co], Saving[T_co]):
    """A Resilient Distributed Dataset: elements in partitions, with the recipe to compute them.

    Made by a :class:`SparkContext` or by a transformation of another RDD, never by the user.
    """


class PipelinedRDD(RDD[T_co]):
    """What a Python function makes of another RDD.

    A function over it runs in the same call of a Python worker, unless this RDD is persisted.
    """

    def _is_numbered_late(self) -> bool:
        return True

    def _is_pipelinable(self) -> bool:
        from pyspark.serializers import NoOpSerializer

        # What is written as raw frames has to be read as such, so it ends a pipeline.
        kept = self.is_cached or self.is_checkpointed or self.has_resource_profile
        return not kept and not isinstance(self._serializer, NoOpSerializer)


class RDDBarrier(Generic[T]):
    """An RDD in a barrier stage: its tasks run together.

    Inside of the functions ``BarrierTaskContext.get()`` lets them wait for each other.
    """

    def __init__(self, rdd: "RDD[T]"):
        self.rdd = rdd

    def mapPartitions(self, f: Callable[[Iterable[T]], Iterable[U]], preservesPartitioning: bool = False) -> "RDD[U]":
        """Apply `f` to each partition, all at the same time."""
        return self.rdd._apply(partial(kernels.map_partition, f), preservesPartitioning, barrier=True)

    def mapPartitionsWithIndex(
        self,
        f: Callable[[int, Iterable[T]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> "RDD[U]":
        """Apply `f` to each partition and its index, all at the same time."""
        return self.rdd._apply(f, preservesPartitioning, barrier=True)


class BoundedFloat(float):
    """An estimate with its confidence and bounds."""

    confidence: float
    low: float
    high: float

    def __new__(cls, mean: float, confidence: float, low: float, high: float) -> Any:
        """Create the estimate `mean` between `low` and `high`."""
        estimate = float.__new__(cls, mean)
        estimate.confidence = confidence
        estimate.low = low
        estimate.high = high
        return estimate
