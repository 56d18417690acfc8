"""Transformations of RDDs of (key, value) pairs."""

from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Optional, Tuple, TypeVar

from pyspark.rddsampler import RDDStratifiedSampler
from pyspark.resultiterable import ResultIterable
from pyspark.serializers import NoOpSerializer

from pyrite import graph
from pyrite.rdd import exchange, joining, kernels, merging
from pyrite.rdd.base import RDDCore, T_co
from pyrite.rdd.hashing import Partitioner, portable_hash

if TYPE_CHECKING:
    from pyrite.rdd import RDD

U = TypeVar("U")
V = TypeVar("V")
K = TypeVar("K")


class PairTransformations(RDDCore[T_co]):
    """Lazy operations on pairs. Where keys meet, data is shuffled."""

    def _pairs(self) -> "RDD[Any]":
        return self._self()

    def keys(self) -> "RDD[Any]":
        """Return the keys."""
        return self._pairs().map(kernels.first_of)

    def values(self) -> "RDD[Any]":
        """Return the values."""
        return self._pairs().map(kernels.second_of)

    def mapValues(self, f: Callable[[V], U]) -> "RDD[Tuple[Any, U]]":
        """Apply `f` to each value; keys and partitioning stay."""
        return self._apply(partial(kernels.map_pair_values, f), preservesPartitioning=True)

    def flatMapValues(self, f: Callable[[V], Iterable[U]]) -> "RDD[Tuple[Any, U]]":
        """Apply `f` to each value and pair the key with every result; partitioning stays."""
        return self._apply(partial(kernels.flat_map_pair_values, f), preservesPartitioning=True)

    def partitionBy(
        self, numPartitions: Optional[int], partitionFunc: Callable[[K], int] = portable_hash
    ) -> "RDD[Tuple[Any, Any]]":
        """Send each pair to partition ``partitionFunc(key) % numPartitions``; this shuffles.

        Parameters
        ----------
        numPartitions
            Number of partitions; None for the default of shuffles.
        partitionFunc
            Hash of a key. An RDD that is already partitioned so is returned as it is.
        """
        count = self._defaultReducePartitions() if numPartitions is None else numPartitions
        partitioner = Partitioner(count, partitionFunc)
        if self.partitioner == partitioner:
            return self._pairs()
        if count == 0:
            # What a shuffle of an RDD without partitions asks for; nothing is ever computed for it.
            return self._new(graph.EmptyPartitions(0), None, partitioner)
        serializer = self.ctx._unbatched_serializer
        keyed = self._apply(
            partial(exchange.shuffle_frames, partitionFunc, count, self._memory_limit(), serializer),
            preservesPartitioning=True,
            serializer=NoOpSerializer(),
        )
        # Each frame is a batch, whatever its size.
        from pyspark.serializers import BatchedSerializer

        return self._new(graph.Shuffle(keyed, count), BatchedSerializer(serializer), partitioner)

    def combineByKey(
        self,
        createCombiner: Callable[[V], U],
        mergeValue: Callable[[U, V], U],
        mergeCombiners: Callable[[U, U], U],
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[K], int] = portable_hash,
    ) -> "RDD[Tuple[Any, U]]":
        """Combine the values of each key, before and after the shuffle.

        Parameters
        ----------
        createCombiner
            Turns the first value of a key into a combiner.
        mergeValue
            Adds a value to a combiner; may change and return it.
        mergeCombiners
            Makes one combiner of two; may change and return the first.
        numPartitions, partitionFunc
            As in :meth:`partitionBy`.
        """
        count = self._defaultReducePartitions() if numPartitions is None else numPartitions
        combine = merging.Combine(createCombiner, mergeValue, mergeCombiners)
        memory, serializer = self._memory_limit(), self.ctx.serializer
        combined = self._apply(
            partial(merging.combine_locally, combine, memory, serializer),
            preservesPartitioning=True,
        )
        return combined.partitionBy(count, partitionFunc)._apply(
            partial(merging.merge_combined, combine, memory, serializer),
            preservesPartitioning=True,
        )

    def reduceByKey(
        self,
        func: Callable[[V, V], V],
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[K], int] = portable_hash,
    ) -> "RDD[Tuple[Any, Any]]":
        """Reduce the values of each key with an associative and commutative function.

        Examples
        --------
        >>> sorted(sc.parallelize([("a", 1), ("b", 1), ("a", 1)]).reduceByKey(max).collect())
        [('a', 1), ('b', 1)]
        """
        return self.combineByKey(exchange.identity, func, func, numPartitions, partitionFunc)

    def aggregateByKey(
        self,
        zeroValue: U,
        seqFunc: Callable[[U, V], U],
        combFunc: Callable[[U, U], U],
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[K], int] = portable_hash,
    ) -> "RDD[Tuple[Any, U]]":
        """Aggregate the values of each key, starting from a copy of `zeroValue`."""
        create = partial(kernels.start_from_copy, zeroValue, seqFunc)
        return self.combineByKey(create, seqFunc, combFunc, numPartitions, partitionFunc)

    def foldByKey(
        self,
        zeroValue: V,
        func: Callable[[V, V], V],
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[K], int] = portable_hash,
    ) -> "RDD[Tuple[Any, Any]]":
        """Fold the values of each key, starting from a copy of `zeroValue`."""
        create = partial(kernels.start_from_copy, zeroValue, func)
        return self.combineByKey(create, func, func, numPartitions, partitionFunc)

    def groupByKey(
        self,
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[K], int] = portable_hash,
    ) -> "RDD[Tuple[Any, Iterable[Any]]]":
        """Gather the values of each key; :meth:`reduceByKey` moves less where it can serve."""
        count = self._defaultReducePartitions() if numPartitions is None else numPartitions
        combine, memory, serializer = merging.INTO_LISTS, self._memory_limit(), self.ctx.serializer
        combined = self._apply(
            partial(merging.combine_locally, combine, memory, serializer),
            preservesPartitioning=True,
        )
        grouped = combined.partitionBy(count, partitionFunc)._apply(
            partial(merging.merge_combined, combine, memory, serializer),
            preservesPartitioning=True,
        )
        return grouped.mapValues(ResultIterable)

    def sortByKey(
        self,
        ascending: Optional[bool] = True,
        numPartitions: Optional[int] = None,
        keyfunc: Callable[[Any], Any] = exchange.identity,
    ) -> "RDD[Tuple[Any, Any]]":
        """Sort pairs by key; counts and samples at once, then shuffles.

        Parameters
        ----------
        ascending
            Direction.
        numPartitions
            Number of ranges; the default of shuffles if None.
        keyfunc
            What to compare instead of the key itself.
        """
        count = self._defaultReducePartitions() if numPartitions is None else numPartitions
        upwards = bool(ascending)
        sort = partial(merging.sort_partition, keyfunc, upwards, self._memory_limit(), self.ctx.serializer)
        rdd = self._pairs()
        if count == 1:
            single = rdd.coalesce(1) if rdd.getNumPartitions() > 1 else rdd
            return single._apply(sort, preservesPartitioning=True)
        size = rdd.count()
        if not size:
            return rdd
        # Twenty samples for each range are enough for ranges of about equal size.
        fraction = min(count * 20.0 / size, 1.0)
        sampled = rdd.sample(False, fraction, 1).keys().collect()
        # As on Spark, bounds are keys and what is compared with them is what `keyfunc` makes of a key.
        ordered = sorted(sampled, key=keyfunc) or [rdd.first()[0]]
        bounds = [ordered[int(len(ordered) * (i + 1) / count)] for i in range(count - 1)]
        ranges = exchange.RangeBounds(bounds, keyfunc, upwards)
        return rdd.partitionBy(count, ranges)._apply(sort, preservesPartitioning=True)

    def repartitionAndSortWithinPartitions(
        self,
        numPartitions: Optional[int] = None,
        partitionFunc: Callable[[Any], int] = portable_hash,
        ascending: bool = True,
        keyfunc: Callable[[Any], Any] = exchange.identity,
    ) -> "RDD[Tuple[Any, Any]]":
        """Partition pairs as :meth:`partitionBy` does and sort each partition by key."""
        count = self._defaultReducePartitions() if numPartitions is None else numPartitions
        sort = partial(merging.sort_partition, keyfunc, ascending, self._memory_limit(), self.ctx.serializer)
        return self.partitionBy(count, partitionFunc)._apply(sort, preservesPartitioning=True)

    def join(
        self, other: "RDD[Tuple[Any, U]]", numPartitions: Optional[int] = None
    ) -> "RDD[Tuple[Any, Tuple[Any, U]]]":
        """Pair all values of a key on the left with all of it on the right."""
        return joining.join_sides((self._self(), other), numPartitions, partial(joining.pair_up, False, False))

    def leftOuterJoin(
        self, other: "RDD[Tuple[Any, U]]", numPartitions: Optional[int] = None
    ) -> "RDD[Tuple[Any, Tuple[Any, Optional[U]]]]":
        """Join, keeping the keys that only the left side has."""
        return joining.join_sides((self._self(), other), numPartitions, partial(joining.pair_up, True, False))

    def rightOuterJoin(
        self, other: "RDD[Tuple[Any, U]]", numPartitions: Optional[int] = None
    ) -> "RDD[Tuple[Any, Tuple[Optional[Any], U]]]":
        """Join, keeping the keys that only the right side has."""
        return joining.join_sides((self._self(), other), numPartitions, partial(joining.pair_up, False, True))

    def fullOuterJoin(
        self, other: "RDD[Tuple[Any, U]]", numPartitions: Optional[int] = None
    ) -> "RDD[Tuple[Any, Tuple[Optional[Any], Optional[U]]]]":
        """Join, keeping the keys that only one side has."""
        return joining.join_sides((self._self(), other), numPartitions, partial(joining.pair_up, True, True))

    def groupWith(
        self, other: "RDD[Tuple[Any, Any]]", *others: "RDD[Tuple[Any, Any]]"
    ) -> "RDD[Tuple[Any, Tuple[ResultIterable[Any], ...]]]":
        """Gather the values of each key from several RDDs."""
        return joining.join_sides((self._self(), other, *others), None, joining.as_iterables)

    def cogroup(
        self, other: "RDD[Tuple[Any, U]]", numPartitions: Optional[int] = None
    ) -> "RDD[Tuple[Any, Tuple[ResultIterable[Any], ResultIterable[U]]]]":
        """Gather the values of each key from both RDDs."""
        return joining.join_sides((self._self(), other), numPartitions, joining.as_iterables)

    def subtractByKey(
        self, other: "RDD[Tuple[Any, Any]]", numPartitions: Optional[int] = None
    ) -> "RDD[Tuple[Any, Any]]":
        """Return the pairs whose key is not in `other`."""
        only_left = self.cogroup(other, numPartitions).filter(kernels.only_in_left)
        return only_left.flatMapValues(kernels.first_of)

    def sampleByKey(
        self, withReplacement: bool, fractions: Dict[Any, float], seed: Optional[int] = None
    ) -> "RDD[Tuple[Any, Any]]":
        """Sample with a fraction for each key."""
        for fraction in fractions.values():
            if not fraction >= 0.0:
                raise AssertionError(f"Negative fraction value: {fraction}")
        sampler: RDDStratifiedSampler = RDDStratifiedSampler(withReplacement, fractions, seed)
        return self._apply(sampler.func, preservesPartitioning=True)
