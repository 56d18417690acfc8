"""Joins and cogroups: the values of each key from several RDDs.

What PySpark does with a tag in each value and :meth:`groupByKey` takes less here: the tag is part
of a frame, and each side writes its frames for the shuffle at once. Keys and values come in the
same order.
"""

import struct
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from pyspark.resultiterable import ResultIterable
from pyspark.serializers import NoOpSerializer, Serializer
from pyspark.shuffle import ExternalGroupBy

from pyrite import graph
from pyrite.rdd.exchange import FrameWriter, targets_of
from pyrite.rdd.hashing import Partitioner, portable_hash
from pyrite.rdd.memory import get_used_memory
from pyrite.rdd.merging import INTO_LISTS, hand_over

if TYPE_CHECKING:
    from pyrite.rdd import RDD

_TAG = struct.Struct(">I")
_first = itemgetter(0)

Groups = Iterable[Tuple[Any, Sequence[Sequence[Any]]]]


def join_sides(
    rdds: "Sequence[RDD[Any]]", numPartitions: Optional[int], finish: Callable[[Groups], Iterable[Any]]
) -> "RDD[Any]":
    """Return the RDD of what `finish` makes of each key and its values from each of `rdds`.

    Parameters
    ----------
    rdds
        RDDs of pairs.
    numPartitions
        Number of partitions; None for the default of a shuffle of the union of `rdds`.
    finish
        Gets keys, each with the lists of its values, one for each of `rdds`.
    """
    for rdd in rdds:
        # What PySpark asks of each side; something else than an RDD fails by that name.
        getattr(rdd, "mapValues")  # noqa: B009
    first = rdds[0]
    count = _default_partitions(rdds) if numPartitions is None else numPartitions
    partitioner = Partitioner(count, portable_hash)
    memory, serializer = first._memory_limit(), first.ctx._unbatched_serializer
    sides = tuple(
        rdd._apply(
            partial(side_frames, tag, rdd.partitioner == partitioner, count, memory, serializer),
            serializer=NoOpSerializer(),
        )
        for tag, rdd in enumerate(rdds)
    )
    union = first._new(graph.Union(sides), NoOpSerializer())
    shuffled = first._new(graph.Shuffle(union, count), NoOpSerializer(), partitioner)
    return shuffled._apply(
        partial(finish_groups, len(rdds), finish, memory, serializer), preservesPartitioning=True, raw_input=True
    )


def _default_partitions(rdds: "Sequence[RDD[Any]]") -> int:
    first = rdds[0]
    if first.ctx._conf.contains("spark.default.parallelism"):
        return first.ctx.defaultParallelism
    if first.partitioner is not None and all(rdd.partitioner == first.partitioner for rdd in rdds):
        return first.partitioner.numPartitions
    return sum(rdd.getNumPartitions() for rdd in rdds)


def side_frames(
    tag: int,
    in_place: bool,
    partitions: int,
    memory_mib: float,
    serializer: Serializer,
    split: int,
    iterator: Iterable[Any],
) -> Iterator[bytes]:
    """Write the pairs of one side as frames: target partition, tag, batch of pairs.

    Parameters
    ----------
    in_place
        Whether the pairs are in the partitions already that they belong to.
    """
    targets = targets_of(portable_hash, partitions)
    writer = FrameWriter(partitions, memory_mib, serializer, _TAG.pack(tag))
    elements = iter(iterator)
    while chunk := list(islice(elements, writer.room())):
        if in_place:
            yield from writer.add_all(chunk, split)
        else:
            yield from writer.add(chunk, targets(list(map(_first, chunk))))
    yield from writer.drain()


def finish_groups(
    count: int,
    finish: Callable[[Groups], Iterable[Any]],
    memory_mib: float,
    serializer: Serializer,
    split: int,
    frames: Iterable[bytes],
) -> Iterable[Any]:
    """Gather the values of each key and side, on disk when memory runs out, and `finish` them."""
    sides: List[Dict[Any, List[Any]]] = [{} for _ in range(count)]
    rest = iter(frames)
    for frame in rest:
        tag, pairs = _read(serializer, frame)
        side = sides[tag]
        for key, value in pairs:
            if key in side:
                side[key].append(value)
            else:
                side[key] = [value]
        if get_used_memory() >= memory_mib:
            return finish(_spilled_groups(sides, memory_mib, serializer, rest))
    return finish(_groups(sides))


def _read(serializer: Serializer, frame: bytes) -> Tuple[int, List[Any]]:
    return _TAG.unpack_from(frame)[0], serializer.loads(frame[_TAG.size :])


def _groups(sides: List[Dict[Any, List[Any]]]) -> Groups:
    for number, side in enumerate(sides):
        earlier, later = sides[:number], sides[number + 1 :]
        nothing: Tuple[Sequence[Any], ...] = ((),) * number
        for key, values in side.items():
            if not any(key in other for other in earlier):
                yield key, (*nothing, values, *[other.get(key, ()) for other in later])


def _spilled_groups(
    sides: List[Dict[Any, List[Any]]], memory_mib: float, serializer: Serializer, frames: Iterator[bytes]
) -> Groups:
    tagged: Dict[Any, List[Tuple[int, Any]]] = {}
    for tag, side in enumerate(sides):
        for key, values in side.items():
            tagged.setdefault(key, []).extend((tag, value) for value in values)
        side.clear()
    merger: ExternalGroupBy = ExternalGroupBy(INTO_LISTS.aggregator(), memory_mib, serializer)
    hand_over(merger, tagged)
    merger.mergeCombiners(
        (key, [(tag, value)]) for tag, pairs in (_read(serializer, frame) for frame in frames) for key, value in pairs
    )
    for key, mixed in merger.items():
        lists: List[List[Any]] = [[] for _ in sides]
        for tag, value in mixed:
            lists[tag].append(value)
        yield key, lists


def pair_up(keep_left: bool, keep_right: bool, groups: Groups) -> Iterator[Any]:
    """Pair every value of a key on the left with every one on the right.

    Parameters
    ----------
    keep_left, keep_right
        Whether values of that side are paired with None where the other side has no value.
    """
    no_left = (None,) if keep_right else ()
    no_right = (None,) if keep_left else ()
    for key, (left, right) in groups:
        for v in left or no_left:
            for w in right or no_right:
                yield key, (v, w)


def as_iterables(groups: Groups) -> Iterator[Any]:
    """Pair each key with its values as a cogroup returns them."""
    for key, lists in groups:
        yield key, tuple([ResultIterable(values or []) for values in lists])
