"""Transformations of any RDD: elements in, elements out."""

import math
import random
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Tuple, TypeVar

from pyspark.rddsampler import RDDRangeSampler, RDDSampler
from pyspark.serializers import BatchedSerializer, CPickleSerializer, NoOpSerializer

from pyrite import graph
from pyrite.rdd import kernels, sampling
from pyrite.rdd.base import RDDCore, T_co
from pyrite.rdd.hashing import portable_hash
from pyrite.serializers import CartesianFrames, ZippedFrames

if TYPE_CHECKING:
    from pyrite.rdd import RDD

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K")


class Transformations(RDDCore[T_co]):
    """Lazy operations that make one RDD of another. None of them runs anything."""

    def map(self, f: Callable[[T_co], U], preservesPartitioning: bool = False) -> "RDD[U]":
        """Return the RDD of what `f` makes of each element.

        Examples
        --------
        >>> sorted(sc.parallelize(["b", "a"]).map(lambda x: (x, 1)).collect())
        [('a', 1), ('b', 1)]
        """
        return self._apply(partial(kernels.map_elements, f), preservesPartitioning)

    def flatMap(self, f: Callable[[T_co], Iterable[U]], preservesPartitioning: bool = False) -> "RDD[U]":
        """Apply `f` to each element and chain the results.

        Examples
        --------
        >>> sc.parallelize([2, 3]).flatMap(range).collect()
        [0, 1, 0, 1, 2]
        """
        return self._apply(partial(kernels.flat_map_elements, f), preservesPartitioning)

    def mapPartitions(
        self, f: Callable[[Iterable[T_co]], Iterable[U]], preservesPartitioning: bool = False
    ) -> "RDD[U]":
        """Apply `f` to each partition as a whole."""
        return self._apply(partial(kernels.map_partition, f), preservesPartitioning)

    def mapPartitionsWithIndex(
        self,
        f: Callable[[int, Iterable[T_co]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> "RDD[U]":
        """Apply `f` to each partition and its index."""
        return self._apply(f, preservesPartitioning)

    def mapPartitionsWithSplit(
        self,
        f: Callable[[int, Iterable[T_co]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> "RDD[U]":
        """Apply `f` to each partition and its index; deprecated name."""
        import warnings

        warnings.warn(
            "mapPartitionsWithSplit is deprecated; use mapPartitionsWithIndex instead.",
            FutureWarning,
            stacklevel=2,
        )
        return self.mapPartitionsWithIndex(f, preservesPartitioning)

    def filter(self, f: Callable[[T_co], bool]) -> "RDD[T_co]":
        """Keep the elements for which `f` holds."""
        return self._apply(partial(kernels.filter_elements, f), preservesPartitioning=True)

    def glom(self) -> "RDD[List[T_co]]":
        """Return an RDD with one list for each partition."""
        return self._apply(kernels.glom_partition)

    def keyBy(self, f: Callable[[T_co], K]) -> "RDD[Tuple[K, T_co]]":
        """Pair each element with the key that `f` makes of it."""
        return self._apply(partial(kernels.key_elements, f))

    def distinct(self, numPartitions: Optional[int] = None) -> "RDD[T_co]":
        """Return the distinct elements; this shuffles."""
        keyed = self._apply(partial(kernels.mark_elements, None))
        return keyed.reduceByKey(kernels.left_of, numPartitions).map(kernels.first_of)

    def groupBy(
        self,
        f: Callable[[T_co], K],
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[K], int] = portable_hash,
    ) -> "RDD[Tuple[K, Iterable[T_co]]]":
        """Group the elements by what `f` makes of them; this shuffles."""
        return self.keyBy(f).groupByKey(numPartitions, partitionFunc)

    def sortBy(
        self,
        keyfunc: Callable[[T_co], Any],
        ascending: bool = True,
        numPartitions: Optional[int] = None,
    ) -> "RDD[T_co]":
        """Sort the elements by what `keyfunc` makes of them; this samples at once, then shuffles."""
        return self.keyBy(keyfunc).sortByKey(ascending, numPartitions).values()

    def sample(self, withReplacement: bool, fraction: float, seed: Optional[int] = None) -> "RDD[T_co]":
        """Return a random part of the elements.

        Parameters
        ----------
        withReplacement
            Whether an element can come up several times.
        fraction
            Expected share of the elements, or expected number of times for each with replacement.
        seed
            Seed of the random numbers; random by default.
        """
        if not fraction >= 0:
            raise ValueError("Fraction must be nonnegative.")
        sampler: RDDSampler = RDDSampler(withReplacement, fraction, seed)
        if withReplacement or sampler._seed is None:
            return self._apply(sampler.func, preservesPartitioning=True)
        kernel = partial(sampling.sample_elements, fraction, sampler._seed)
        return self._apply(kernel, preservesPartitioning=True)

    def randomSplit(self, weights: List[float], seed: Optional[int] = None) -> "List[RDD[T_co]]":
        """Split the elements at random into RDDs of about these relative sizes."""
        if not all(weight >= 0 for weight in weights):
            raise ValueError("Weights must be nonnegative")
        total = float(sum(weights))
        if not total > 0:
            raise ValueError("Sum of weights must be positive")
        bounds = [0.0]
        for weight in weights:
            bounds.append(bounds[-1] + weight / total)
        drawn = random.randint(0, 2**32 - 1) if seed is None else seed
        return [
            self._apply(RDDRangeSampler(low, high, drawn).func, preservesPartitioning=True)
            for low, high in zip(bounds, bounds[1:])
        ]

    @staticmethod
    def _computeFractionForSampleSize(sampleSizeLowerBound: int, total: int, withReplacement: bool) -> float:
        """Return a fraction that yields a sample of that size in more than 99.99 % of all cases.

        With replacement the size is Poisson distributed, without it binomial; the bounds are those
        of Spark's ``SamplingUtils``.
        """
        fraction = float(sampleSizeLowerBound) / total
        if withReplacement:
            deviations = 9 if sampleSizeLowerBound < 12 else 5
            return fraction + deviations * math.sqrt(fraction / total)
        gamma = -math.log(0.00005) / total
        return min(1, fraction + gamma + math.sqrt(gamma * gamma + 2 * gamma * fraction))

    def union(self, other: "RDD[U]") -> "RDD[Any]":
        """Return the elements of both RDDs, duplicates included."""
        return self.ctx._union([self._self(), other])

    def __add__(self, other: "RDD[U]") -> "RDD[Any]":
        from pyrite.rdd import RDD

        if not isinstance(other, RDD):
            raise TypeError
        return self.union(other)

    def intersection(self, other: "RDD[Any]") -> "RDD[T_co]":
        """Return the distinct elements that are in both RDDs; this shuffles."""
        marked = self._apply(partial(kernels.mark_elements, None))
        others = other._apply(partial(kernels.mark_elements, None))
        return marked.cogroup(others).filter(kernels.in_both).keys()

    def subtract(self, other: "RDD[Any]", numPartitions: Optional[int] = None) -> "RDD[T_co]":
        """Return the elements that are not in `other`; this shuffles."""
        marked = self._apply(partial(kernels.mark_elements, True))
        others = other._apply(partial(kernels.mark_elements, True))
        return marked.subtractByKey(others, numPartitions).keys()

    def cartesian(self, other: "RDD[U]") -> "RDD[Tuple[T_co, U]]":
        """Return all pairs of an element of this RDD and one of `other`."""
        serializer = CartesianFrames(self._serializer, other._serializer)
        return self._new(graph.Cartesian(self._self(), other), serializer)

    def zip(self, other: "RDD[U]") -> "RDD[Tuple[T_co, U]]":
        """Pair the elements of two RDDs with equal partitions and equal numbers of elements."""
        ours, theirs = _batch_size(self), _batch_size(other)
        left, right = self._self(), other
        if ours != theirs or ours <= 0:
            # Frames are paired one by one: both sides have to cut them at the same elements.
            size = min(ours, theirs)
            batched = BatchedSerializer(CPickleSerializer(), size if size > 0 else 100)
            left, right = left._reserialize(batched), right._reserialize(batched)
        if left.getNumPartitions() != right.getNumPartitions():
            raise ValueError("Can only zip with RDD which has the same number of partitions")
        serializer = ZippedFrames(left._serializer, right._serializer)
        return self._new(graph.Zip(left, right), serializer)

    def zipWithIndex(self) -> "RDD[Tuple[T_co, int]]":
        """Pair each element with its index; runs a job when there are several partitions."""
        starts = [0]
        if self.getNumPartitions() > 1:
            for count in self._apply(kernels.count_partition).collect()[:-1]:
                starts.append(starts[-1] + count)
        return self._apply(partial(kernels.enumerate_partition, starts))

    def zipWithUniqueId(self) -> "RDD[Tuple[T_co, int]]":
        """Pair each element with a number of its own, without running a job."""
        return self._apply(partial(kernels.unique_ids, self.getNumPartitions()))

    def repartition(self, numPartitions: int) -> "RDD[T_co]":
        """Return the elements in exactly that many partitions; this shuffles."""
        return self.coalesce(numPartitions, shuffle=True)

    def coalesce(self, numPartitions: int, shuffle: bool = False) -> "RDD[T_co]":
        """Return the elements in fewer partitions.

        Parameters
        ----------
        numPartitions
            Number of partitions; without `shuffle` it never grows.
        shuffle
            Whether to deal the elements out evenly over the network.
        """
        if not numPartitions > 0:
            raise ValueError("Number of partitions must be positive.")
        if not shuffle:
            return self._new(graph.Coalesce(self._self(), numPartitions), self._serializer)
        # Small batches, so that few elements still spread over the partitions.
        serializer = BatchedSerializer(CPickleSerializer(), min(10, self.ctx._batchSize or 1024))
        dealt = self._apply(partial(kernels.deal_elements, numPartitions, serializer), serializer=NoOpSerializer())
        return self._new(graph.Shuffle(dealt, numPartitions, "coalesce"), serializer)

    def pipe(self, command: str, env: Optional[Dict[str, str]] = None, checkCode: bool = False) -> "RDD[str]":
        """Send elements as lines through a command and return the lines it prints.

        Parameters
        ----------
        command
            The command, split as a shell would.
        env
            Its whole environment; empty by default.
        checkCode
            Whether an exit status other than zero is an error.
        """
        return self._apply(partial(kernels.run_command, command, env or {}, checkCode))

    def toDF(self, schema: Any = None, sampleRatio: Optional[float] = None) -> Any:
        """Return a DataFrame of these rows in the application's session."""
        from pyspark.errors import PySparkRuntimeError

        session = self.ctx._current_session()
        if session is None:
            raise PySparkRuntimeError(
                errorClass="CALL_BEFORE_INITIALIZE",
                messageParameters={"func_name": "RDD.toDF", "object": "SparkSession"},
            )
        return session.createDataFrame(self, schema, sampleRatio)


def _batch_size(rdd: RDDCore[Any]) -> int:
    serializer = rdd._serializer
    return int(serializer.batchSize) if isinstance(serializer, BatchedSerializer) else 1


MAX_SAMPLE_SIZE = sys.maxsize - int(10.0 * math.sqrt(sys.maxsize))
