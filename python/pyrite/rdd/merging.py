"""Merging by key and sorting within a partition.

The loops are those of :mod:`pyspark.shuffle` without the calls that they can do without: a wrapper
around each function, the creation of a combiner that is the value itself. Once memory is short,
the classes of that module take over what has been merged, and spill.
"""

from itertools import chain, islice
from operator import itemgetter
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from pyspark.serializers import Serializer
from pyspark.shuffle import Aggregator, ExternalGroupBy, ExternalMerger, ExternalSorter

from pyrite.rdd.exchange import identity
from pyrite.rdd.memory import get_used_memory
from pyrite.rdd.stop_guard import stop_iteration_error

_FIRST_CHUNK = 1000
_MOST_AT_ONCE = 100_000
_first = itemgetter(0)


class Combine(NamedTuple):
    """How the values of a key become one combiner."""

    create: Callable[[Any], Any]
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any]

    def aggregator(self) -> Aggregator:
        """Return the same for the classes of ``pyspark.shuffle``."""
        return Aggregator(*self)


def list_of_one(value: Any) -> List[Any]:
    """Return a list of that value."""
    return [value]


def list_append(values: List[Any], value: Any) -> List[Any]:
    """Append to the list and return it."""
    values.append(value)
    return values


def list_extend(values: List[Any], more: List[Any]) -> List[Any]:
    """Extend the list and return it."""
    values.extend(more)
    return values


#: Gathers the values of a key in a list.
INTO_LISTS = Combine(list_of_one, list_append, list_extend)


def _chunks(elements: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Cut an iterator into pieces, each to be used up before the next, that get longer."""
    size = _FIRST_CHUNK
    for element in elements:
        yield chain((element,), islice(elements, size - 1))
        size = min(size * 3 // 2, _MOST_AT_ONCE)


def _add_values(data: Dict[Any, Any], combine: Combine, pairs: Iterable[Any]) -> None:
    create, add = combine.create, combine.add
    if add is list_append:
        for key, value in pairs:
            if key in data:
                data[key].append(value)
            else:
                data[key] = [value]
    elif create is identity:
        for key, value in pairs:
            data[key] = add(data[key], value) if key in data else value
    else:
        for key, value in pairs:
            data[key] = add(data[key], value) if key in data else create(value)


def _merge_combiners(data: Dict[Any, Any], combine: Combine, pairs: Iterable[Any]) -> None:
    merge = combine.merge
    if merge is list_extend:
        for key, values in pairs:
            if key in data:
                data[key].extend(values)
            else:
                data[key] = values
    else:
        for key, value in pairs:
            data[key] = merge(data[key], value) if key in data else value


def _gather(
    loop: Callable[[Dict[Any, Any], Combine, Iterable[Any]], None],
    combine: Combine,
    limit_mib: float,
    elements: Iterator[Any],
) -> Tuple[Dict[Any, Any], bool]:
    """Merge elements until they end or memory is short, which the second result tells."""
    data: Dict[Any, Any] = {}
    try:
        for chunk in _chunks(elements):
            loop(data, combine, chunk)
            if get_used_memory() >= limit_mib:
                return data, True
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop
    return data, False


def hand_over(merger: "ExternalMerger[Any, Any, Any]", data: Dict[Any, Any]) -> None:
    """Let a merger write to disk what has been merged so far, and go on from there."""
    merger.data = data
    merger._spill()


def combine_locally(
    combine: Combine, memory_mib: float, serializer: Serializer, split: int, iterator: Iterable[Any]
) -> Iterable[Any]:
    """Combine values by key before the shuffle, on disk when memory runs out."""
    limit_mib = memory_mib * 0.9
    elements = iter(iterator)
    data, memory_is_short = _gather(_add_values, combine, limit_mib, elements)
    if not memory_is_short:
        return iter(data.items())
    merger: ExternalMerger = ExternalMerger(combine.aggregator(), limit_mib, serializer)
    hand_over(merger, data)
    merger.mergeValues(elements)
    return merger.items()


def merge_combined(
    combine: Combine, memory_mib: float, serializer: Serializer, split: int, iterator: Iterable[Any]
) -> Iterable[Any]:
    """Combine the combiners of each key after the shuffle."""
    elements = iter(iterator)
    data, memory_is_short = _gather(_merge_combiners, combine, memory_mib, elements)
    if not memory_is_short:
        return iter(data.items())
    kind = ExternalGroupBy if combine.merge is list_extend else ExternalMerger
    merger: ExternalMerger = kind(combine.aggregator(), memory_mib, serializer)
    hand_over(merger, data)
    merger.mergeCombiners(elements)
    return merger.items()


def sort_partition(
    key: Callable[[Any], Any],
    ascending: bool,
    memory_mib: float,
    serializer: Serializer,
    split: int,
    iterator: Iterable[Any],
) -> Iterable[Any]:
    """Sort pairs by what `key` makes of their keys, on disk when memory runs out."""
    sorter: ExternalSorter = ExternalSorter(memory_mib * 0.9, serializer)
    of_pair = _first if key is identity else lambda pair: key(pair[0])
    return sorter.sorted(iterator, key=of_pair, reverse=not ascending)
