"""Counting elements in buckets, as ``RDD.histogram`` does."""

import bisect
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

if TYPE_CHECKING:
    from pyrite.rdd import RDD

Buckets = Union[int, List[Any], Tuple[Any, ...]]


def histogram(rdd: "RDD[Any]", buckets: Buckets) -> Tuple[Sequence[Any], List[int]]:
    """Return the bounds of the buckets and the number of elements in each."""
    if isinstance(buckets, bool) or not isinstance(buckets, (int, list, tuple)):
        raise TypeError("buckets should be a list or tuple or number(int or long)")
    if isinstance(buckets, int):
        bounds, even, total = _even_bounds(rdd, buckets)
        if total is not None:
            return bounds, [total]
    else:
        bounds, even = _checked_bounds(buckets)
    counts = rdd.mapPartitions(partial(_count, bounds, even)).reduce(_add)
    return buckets if not isinstance(buckets, int) else bounds, counts


def _even_bounds(rdd: "RDD[Any]", count: int) -> Tuple[List[Any], bool, Optional[int]]:
    """Return bounds between minimum and maximum, and the total where one bucket says it all."""
    if count < 1:
        raise ValueError("number of buckets must be >= 1")
    comparable = rdd.filter(_is_comparable)
    extremes = comparable.mapPartitions(_extremes).collect()
    if not extremes:
        raise ValueError("Can not reduce() empty RDD")
    low = min(pair[0] for pair in extremes)
    high = max(pair[1] for pair in extremes)
    if low == high or count == 1:
        return [low, high], True, comparable.count()
    try:
        step = (high - low) / count
    except TypeError as error:
        raise TypeError("Can not generate buckets with non-number in RDD") from error
    if math.isinf(step):
        raise ValueError("Can not generate buckets with infinite value")
    # Whole numbers stay whole where they can.
    step = int(step) if int(step) * count == high - low else (high - low) * 1.0 / count
    return [low + i * step for i in range(count)] + [high], True, None


def _checked_bounds(buckets: Union[List[Any], Tuple[Any, ...]]) -> Tuple[List[Any], bool]:
    if len(buckets) < 2:
        raise ValueError("buckets should have more than one value")
    if any(b is None or (isinstance(b, float) and math.isnan(b)) for b in buckets):
        raise ValueError("can not have None or NaN in buckets")
    if sorted(buckets) != list(buckets):
        raise ValueError("buckets should be sorted")
    if len(set(buckets)) != len(buckets):
        raise ValueError("buckets should not contain duplicated values")
    return list(buckets), False


def _is_comparable(element: Any) -> bool:
    return element is not None and not (isinstance(element, float) and math.isnan(element))


def _extremes(iterator: Iterable[Any]) -> Iterator[Tuple[Any, Any]]:
    low = high = None
    found = False
    for element in iterator:
        low = element if not found or element < low else low
        high = element if not found or element > high else high
        found = True
    if found:
        yield low, high


def _count(bounds: List[Any], even: bool, iterator: Iterable[Any]) -> Iterator[List[int]]:
    counts = [0] * (len(bounds) - 1)
    low, high = bounds[0], bounds[-1]
    step = (high - low) / len(counts) if even else None
    for element in iterator:
        if not _is_comparable(element) or element < low or element > high:
            continue
        if element == high:
            position = len(counts) - 1
        elif step is not None:
            position = min(int((element - low) / step), len(counts) - 1)
        else:
            position = bisect.bisect_right(bounds, element) - 1
        counts[position] += 1
    yield counts


def _add(left: List[int], right: List[int]) -> List[int]:
    return [x + y for x, y in zip(left, right)]
