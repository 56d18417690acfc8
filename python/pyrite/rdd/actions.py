"""Actions: operations that run a job and bring an answer to the application."""

import heapq
import math
import operator
import os
import random
import warnings
from collections import Counter, defaultdict
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from pyspark.serializers import NoOpSerializer
from pyspark.statcounter import StatCounter

from pyrite.callsite import user_call_site
from pyrite.rdd import approximate, exchange, kernels
from pyrite.rdd.base import RDDCore, T_co
from pyrite.rdd.hashing import Partitioner
from pyrite.rdd.stop_guard import stop_iteration_error
from pyrite.rdd.transformations import MAX_SAMPLE_SIZE, Transformations

if TYPE_CHECKING:
    from pyrite.rdd import BoundedFloat

U = TypeVar("U")


class Actions(RDDCore[T_co]):
    """Operations that compute something now."""

    def collect(self) -> List[Any]:
        """Return all elements, in order; pulls all rows here."""
        if self._shown is None and self._hidden_id is None:
            self._lineage(str(user_call_site(whole_path=True)))
        return self.ctx._collect(self)

    def collectWithJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> List[Any]:
        """Collect under a job group; deprecated in favour of ``pyspark.InheritableThread``."""
        warnings.warn(
            "Deprecated in 3.1, Use pyspark.InheritableThread with the pinned thread mode enabled.",
            FutureWarning,
            stacklevel=2,
        )
        self.ctx.setJobGroup(groupId, description, interruptOnCancel)
        return self.collect()

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[Any]:
        """Return an iterator over all elements that holds one partition at a time here.

        Parameters
        ----------
        prefetchPartitions
            Whether to compute the next partition while this one is consumed.
        """
        return self.ctx._iterate_partitions(self, prefetchPartitions)

    def foreach(self, f: Callable[[Any], None]) -> None:
        """Call `f` on each element, on the workers."""
        self._apply(partial(kernels.visit_elements, f)).count()

    def foreachPartition(self, f: Callable[[Iterable[Any]], None]) -> None:
        """Call `f` on each partition, on the workers."""
        self._apply(partial(kernels.visit_partition, f)).count()

    def count(self) -> int:
        """Return the number of elements."""
        return sum(self._apply(kernels.count_partition).collect())

    def reduce(self, f: Callable[[Any, Any], Any]) -> Any:
        """Reduce all elements with an associative and commutative function.

        Raises
        ------
        ValueError
            If the RDD is empty.
        """
        parts = self._apply(partial(kernels.reduce_partition, f)).collect()
        if not parts:
            raise ValueError("Can not reduce() empty RDD")
        return kernels.reduce_all(f, parts[1:], parts[0])

    def treeReduce(self, f: Callable[[Any, Any], Any], depth: int = 2) -> Any:
        """Reduce all elements in several steps on the workers."""
        _check_depth(depth)
        # The flag tells the empty start from a value of the user's.
        combine = partial(_combine_optional, f)
        empty: Tuple[Any, bool] = (None, True)
        marked = self._apply(partial(kernels.mark_elements, False))
        value, is_empty = marked.treeAggregate(empty, combine, combine, depth)
        if is_empty:
            raise ValueError("Cannot reduce empty RDD.")
        return value

    def fold(self, zeroValue: Any, op: Callable[[Any, Any], Any]) -> Any:
        """Fold each partition, then the partitions' results, each time into `zeroValue`."""
        parts = self._apply(partial(kernels.fold_partition, zeroValue, op)).collect()
        return kernels.reduce_all(op, parts, zeroValue)

    def aggregate(self, zeroValue: U, seqOp: Callable[[U, Any], U], combOp: Callable[[U, U], U]) -> U:
        """Fold each partition with `seqOp` and the results with `combOp`."""
        parts = self._apply(partial(kernels.fold_partition, zeroValue, seqOp)).collect()
        return kernels.reduce_all(combOp, parts, zeroValue)

    def treeAggregate(
        self,
        zeroValue: U,
        seqOp: Callable[[U, Any], U],
        combOp: Callable[[U, U], U],
        depth: int = 2,
    ) -> U:
        """Aggregate in several steps on the workers."""
        _check_depth(depth)
        partitions: float = self.getNumPartitions()
        if partitions == 0:
            return zeroValue
        partial_results = self._apply(partial(kernels.fold_partition, zeroValue, seqOp))
        scale = max(int(-(-(partitions ** (1.0 / depth)) // 1)), 2)
        while partitions > scale + partitions / scale:
            partitions /= scale
            dealt = partial_results._apply(partial(kernels.deal_by_index, int(partitions)))
            partial_results = dealt.reduceByKey(combOp, int(partitions)).values()
        result: U = partial_results.reduce(combOp)
        return result

    def max(self, key: Optional[Callable[[Any], Any]] = None) -> Any:
        """Return the largest element, by `key` if given."""
        return self._extreme(max, key)

    def min(self, key: Optional[Callable[[Any], Any]] = None) -> Any:
        """Return the smallest element, by `key` if given."""
        return self._extreme(min, key)

    def _extreme(self, pick: Callable[..., Any], key: Optional[Callable[[Any], Any]]) -> Any:
        best = self._apply(partial(kernels.extreme_partition, pick, key))
        return best.reduce(pick if key is None else partial(pick, key=key))

    def sum(self) -> Any:
        """Return the sum of the elements."""
        return kernels.reduce_all(operator.add, self._apply(kernels.sum_partition).collect(), 0)

    def stats(self) -> StatCounter:
        """Return count, mean, variance, minimum and maximum in one pass."""
        return self._self().mapPartitions(_statistics).reduce(_merge_statistics)

    def mean(self) -> float:
        """Return the mean of the elements."""
        return self.stats().mean()

    def variance(self) -> float:
        """Return the variance of the elements (divided by N)."""
        return self.stats().variance()

    def stdev(self) -> float:
        """Return the standard deviation of the elements (divided by N)."""
        return self.stats().stdev()

    def sampleVariance(self) -> float:
        """Return the sample variance of the elements (divided by N - 1)."""
        return self.stats().sampleVariance()

    def sampleStdev(self) -> float:
        """Return the sample standard deviation of the elements (divided by N - 1)."""
        return self.stats().sampleStdev()

    def histogram(self, buckets: Union[int, List[Any], Tuple[Any, ...]]) -> Tuple[Sequence[Any], List[int]]:
        """Count elements in buckets, the last of which includes its upper bound.

        Parameters
        ----------
        buckets
            Sorted bounds, or the number of even buckets between minimum and maximum.
        """
        from pyrite.rdd.histogram import histogram

        return histogram(self._self(), buckets)

    def countByValue(self) -> Dict[Any, int]:
        """Return how often each element occurs."""
        return self._self().mapPartitions(_count_values).reduce(_merge_counts)

    def countByKey(self) -> Dict[Any, int]:
        """Return how often each key occurs."""
        return self._self().keys().countByValue()

    def collectAsMap(self) -> Dict[Any, Any]:
        """Return the pairs as a dictionary; of several values of a key the last one wins."""
        return dict(self.collect())

    def reduceByKeyLocally(self, func: Callable[[Any, Any], Any]) -> Dict[Any, Any]:
        """Reduce the values of each key without a shuffle; all keys come here."""
        merge = partial(_merge_into_map, func)
        maps = self._self().mapPartitions(partial(_reduce_to_map, func)).collect()
        if not maps:
            raise ValueError("Can not reduce() empty RDD")
        return kernels.reduce_all(merge, maps[1:], maps[0])

    def lookup(self, key: Any) -> List[Any]:
        """Return the values of `key`; reads one partition where the partitioning is known."""
        values = self._self().filter(partial(kernels.key_equals, key)).values()
        if self.partitioner is not None and _same_hash_here(self.partitioner, key):
            return self.ctx.runJob(values, exchange.identity, [self.partitioner(key)])
        return values.collect()

    def take(self, num: int) -> List[Any]:
        """Return the first `num` elements.

        Looks into one partition first and then, going by what that yielded, into more of them, so
        several jobs may run.
        """
        items: List[Any] = []
        total = self.getNumPartitions()
        scanned = 0
        while len(items) < num and scanned < total:
            count = 1
            if scanned > 0:
                # Without a result so far go up steeply; else aim half over what is missing.
                count = scanned * 4 if not items else int(1.5 * num * scanned / len(items)) - scanned
                count = min(max(count, 1), scanned * 4)
            wanted = range(scanned, min(scanned + count, total))
            items += self.ctx.runJob(self._self(), partial(kernels.take_elements, num - len(items)), wanted)
            scanned += count
        return items[:num]

    def first(self) -> Any:
        """Return the first element."""
        elements = self.take(1)
        if not elements:
            raise ValueError("RDD is empty")
        return elements[0]

    def isEmpty(self) -> bool:
        """Tell whether there is no element."""
        return self.getNumPartitions() == 0 or not self.take(1)

    def top(self, num: int, key: Optional[Callable[[Any], Any]] = None) -> List[Any]:
        """Return the `num` largest elements, largest first."""
        best = self._self().mapPartitions(partial(_largest, num, key))
        return best.reduce(partial(_merge_largest, num, key))  # type: ignore[no-any-return]

    def takeOrdered(self, num: int, key: Optional[Callable[[Any], Any]] = None) -> List[Any]:
        """Return the `num` smallest elements, smallest first."""
        if num < 0:
            raise ValueError("top N cannot be negative.")
        if num == 0 or self.getNumPartitions() == 0:
            return []
        best = self._self().mapPartitions(partial(_smallest, num, key))
        return best.reduce(partial(_merge_smallest, num, key))  # type: ignore[no-any-return]

    def takeSample(self, withReplacement: bool, num: int, seed: Optional[int] = None) -> List[Any]:
        """Return a random sample of exactly `num` elements, or all if there are fewer."""
        if num < 0:
            raise ValueError("Sample size cannot be negative.")
        if num > MAX_SAMPLE_SIZE:
            raise ValueError(f"Sample size cannot be greater than {MAX_SAMPLE_SIZE}.")
        if num == 0 or self.getNumPartitions() == 0:
            return []
        total = self.count()
        if total == 0:
            return []
        numbers = random.Random(seed)
        if not withReplacement and num >= total:
            everything = self.collect()
            numbers.shuffle(everything)
            return everything
        fraction = Transformations._computeFractionForSampleSize(num, total, withReplacement)
        sample = self._self().sample(withReplacement, fraction, seed).collect()
        # Seldom needed: the fraction is high enough in all but a few cases of 10,000.
        while len(sample) < num:
            again = numbers.randint(0, 2**63 - 1)
            sample = self._self().sample(withReplacement, fraction, again).collect()
        numbers.shuffle(sample)
        return sample[:num]

    def saveAsTextFile(self, path: str, compressionCodecClass: Optional[str] = None) -> None:
        """Write elements as lines to part files below `path`.

        Parameters
        ----------
        path
            A directory that does not exist yet.
        compressionCodecClass
            Name of a Hadoop codec such as ``org.apache.hadoop.io.compress.GzipCodec``.
        """
        text = self._apply(kernels.text_of, serializer=NoOpSerializer())
        self.ctx._save_text(text, path, compressionCodecClass)

    def countApprox(self, timeout: int, confidence: float = 0.95) -> int:
        """Return the number of elements.

        As on Spark, the final answer is waited for, so it is exact whatever the arguments are.

        Parameters
        ----------
        timeout
            Milliseconds after which a first estimate would be there.
        confidence
            Of that estimate, between 0 and 1.
        """
        return int(self._apply(kernels.count_partition)._self().sumApprox(timeout, confidence))

    def sumApprox(self, timeout: int, confidence: float = 0.95) -> "BoundedFloat":
        """Return the sum of the elements with its bounds; arguments as in :meth:`countApprox`."""
        return _exactly(math.fsum(self._apply(approximate.sum_of).collect()))

    def meanApprox(self, timeout: int, confidence: float = 0.95) -> "BoundedFloat":
        """Return the mean of the elements with its bounds; arguments as in :meth:`countApprox`."""
        merged = StatCounter()
        for part in self._apply(approximate.statistics_of).collect():
            merged.mergeStats(part)
        return _exactly(float(merged.mean()))

    def countApproxDistinct(self, relativeSD: float = 0.05) -> int:
        """Return about the number of distinct elements, by HyperLogLog.

        Parameters
        ----------
        relativeSD
            Relative accuracy; smaller ones take more memory.
        """
        precision = approximate.precision_of(relativeSD)
        parts = self._apply(partial(approximate.registers_of, precision)).collect()
        return approximate.cardinality(approximate.merge_registers(parts, precision), precision)


def _exactly(value: float) -> "BoundedFloat":
    from pyrite.rdd import BoundedFloat

    return BoundedFloat(value, 1.0, value, value)


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ValueError(f"Depth cannot be smaller than 1 but got {depth}.")


def _same_hash_here(partitioner: Partitioner, key: Any) -> bool:
    """Tell whether this process hashes `key` as the workers do, whose hash seed is fixed."""
    return isinstance(key, int) or os.environ.get("PYTHONHASHSEED") == "0"


def _combine_optional(f: Callable[[Any, Any], Any], x: Tuple[Any, bool], y: Tuple[Any, bool]) -> Tuple[Any, bool]:
    if x[1]:
        return y
    if y[1]:
        return x
    return f(x[0], y[0]), False


def _statistics(iterator: Iterable[Any]) -> List[StatCounter]:
    return [StatCounter(iterator)]


def _merge_statistics(left: StatCounter, right: StatCounter) -> StatCounter:
    return left.mergeStats(right)


def _count_values(iterator: Iterable[Any]) -> Iterator[Dict[Any, int]]:
    counts: Dict[Any, int] = defaultdict(int)
    counts.update(Counter(iterator))
    yield counts


def _merge_counts(left: Dict[Any, int], right: Dict[Any, int]) -> Dict[Any, int]:
    for element, count in right.items():
        left[element] += count
    return left


def _reduce_to_map(f: Callable[[Any, Any], Any], iterator: Iterable[Tuple[Any, Any]]) -> Iterator[Dict[Any, Any]]:
    reduced: Dict[Any, Any] = {}
    try:
        for key, value in iterator:
            reduced[key] = f(reduced[key], value) if key in reduced else value
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop
    yield reduced


def _merge_into_map(f: Callable[[Any, Any], Any], left: Dict[Any, Any], right: Dict[Any, Any]) -> Dict[Any, Any]:
    for key, value in right.items():
        left[key] = f(left[key], value) if key in left else value
    return left


def _largest(num: int, key: Any, iterator: Iterable[Any]) -> Iterator[List[Any]]:
    yield heapq.nlargest(num, iterator, key=key)


def _merge_largest(num: int, key: Any, left: List[Any], right: List[Any]) -> List[Any]:
    return heapq.nlargest(num, left + right, key=key)


def _smallest(num: int, key: Any, iterator: Iterable[Any]) -> Iterator[List[Any]]:
    yield heapq.nsmallest(num, iterator, key=key)


def _merge_smallest(num: int, key: Any, left: List[Any], right: List[Any]) -> List[Any]:
    return heapq.nsmallest(num, left + right, key=key)
