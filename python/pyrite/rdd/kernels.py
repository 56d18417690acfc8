"""What RDD operations run inside Python workers.

Every function here takes ``(split, iterator)`` last and is bound to its parameters with
:func:`functools.partial`, so a pickled command holds a name instead of code. Nothing of the
application's side may be imported here.
"""

import copy
import functools
from collections import deque
from itertools import chain, count, groupby, islice, repeat
from operator import itemgetter
from types import FunctionType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from pyspark.errors import PySparkRuntimeError
from pyspark.serializers import BatchedSerializer

from pyrite.rdd.exchange import PARTITION_ID
from pyrite.rdd.hashing import first_position
from pyrite.rdd.memory import collect_garbage_seldom
from pyrite.rdd.stop_guard import StopGuard, stop_iteration_error, with_text

Kernel = Callable[[int, Iterable[Any]], Iterable[Any]]


class Pipeline:
    """Kernels applied one after the other, without a frame of the stack for each."""

    def __init__(self, kernels: Sequence[Kernel]):
        self.kernels = tuple(kernels)

    def __call__(self, split: int, iterator: Iterable[Any]) -> Iterable[Any]:
        collect_garbage_seldom()
        for lazy, kernels in groupby(self.kernels, _is_lazy_in_c):
            if lazy:
                # One guard for all: whichever function stops early, the elements are not used up.
                iterator = _apply_lazily(kernels, iterator)
                continue
            for kernel in kernels:
                iterator = kernel(split, iterator)
        return iterator

    def then(self, kernel: Kernel) -> "Pipeline":
        """Return this pipeline with one more kernel at its end."""
        return Pipeline((*self.kernels, kernel))


def map_elements(f: Callable[[Any], Any], split: int, iterator: Iterable[Any]) -> Iterable[Any]:
    """Apply `f` to every element."""
    return _apply_lazily([functools.partial(map_elements, f)], iterator)


def flat_map_elements(f: Callable[[Any], Iterable[Any]], split: int, iterator: Iterable[Any]) -> Iterable[Any]:
    """Apply `f` to every element and chain what it returns."""
    return _apply_lazily([functools.partial(flat_map_elements, f)], iterator)


def filter_elements(f: Callable[[Any], bool], split: int, iterator: Iterable[Any]) -> Iterable[Any]:
    """Keep the elements for which `f` holds."""
    return _apply_lazily([functools.partial(filter_elements, f)], iterator)


def _flat_map(f: Callable[[Any], Iterable[Any]], iterator: Iterable[Any]) -> Iterable[Any]:
    return chain.from_iterable(map(f, iterator))


# Kernels that the interpreter runs without a frame of its own for each element.
_LAZY_IN_C: Dict[Any, Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]] = {
    map_elements: map,
    flat_map_elements: _flat_map,
    filter_elements: filter,
}


def _is_lazy_in_c(kernel: Kernel) -> bool:
    # Only functions are looked up: what the user partially applies need not be hashable.
    return isinstance(kernel, functools.partial) and isinstance(kernel.func, FunctionType) and kernel.func in _LAZY_IN_C


def _apply_lazily(kernels: Iterable[Any], iterator: Iterable[Any]) -> Iterable[Any]:
    guard = StopGuard()
    results: Iterable[Any] = guard.watch(iterator)
    for kernel in kernels:
        results = _LAZY_IN_C[kernel.func](with_text(*kernel.args), results)
    return guard.check(results)


def map_partition(f: Callable[[Iterable[Any]], Iterable[Any]], split: int, iterator: Iterable[Any]) -> Iterable[Any]:
    """Give the whole partition to `f`."""
    return f(iterator)


def key_elements(f: Callable[[Any], Any], split: int, iterator: Iterable[Any]) -> Iterator[Tuple[Any, Any]]:
    """Pair every element with its key."""
    try:
        for element in iterator:
            yield f(element), element
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop


def map_pair_values(f: Callable[[Any], Any], split: int, iterator: Iterable[Any]) -> Iterator[Tuple[Any, Any]]:
    """Apply `f` to the value of every pair."""
    try:
        for pair in iterator:
            yield pair[0], f(pair[1])
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop


def flat_map_pair_values(
    f: Callable[[Any], Iterable[Any]], split: int, iterator: Iterable[Any]
) -> Iterator[Tuple[Any, Any]]:
    """Pair each key with every value that `f` makes of the pair's value."""
    try:
        for pair in iterator:
            key = pair[0]
            for value in f(pair[1]):
                yield key, value
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop


#: The first and the second part of a pair.
first_of: Callable[[Any], Any] = itemgetter(0)
second_of: Callable[[Any], Any] = itemgetter(1)


def mark_elements(marker: Any, split: int, iterator: Iterable[Any]) -> Iterator[Tuple[Any, Any]]:
    """Pair every element with a constant."""
    return zip(iterator, repeat(marker))


def left_of(x: Any, _y: Any) -> Any:
    """Return the first argument."""
    return x


def key_equals(key: Any, pair: Tuple[Any, Any]) -> bool:
    """Tell whether a pair has that key."""
    return bool(pair[0] == key)


def only_in_left(pair: Tuple[Any, Tuple[Any, Any]]) -> bool:
    """Tell whether a cogrouped key has values on the left and none on the right."""
    left, right = pair[1]
    return bool(left) and not right


def in_both(pair: Tuple[Any, Sequence[Any]]) -> bool:
    """Tell whether a cogrouped key has values on all sides."""
    return all(pair[1])


def glom_partition(split: int, iterator: Iterable[Any]) -> Iterator[List[Any]]:
    """Yield the partition as one list."""
    yield list(iterator)


def count_partition(split: int, iterator: Iterable[Any]) -> Iterator[int]:
    """Yield the number of elements."""
    counter = count()
    deque(zip(iterator, counter), maxlen=0)
    yield next(counter)


def sum_partition(split: int, iterator: Iterable[Any]) -> Iterator[Any]:
    """Yield the sum of the elements."""
    yield sum(iterator)


def extreme_partition(
    pick: Callable[..., Any], key: Optional[Callable[[Any], Any]], split: int, iterator: Iterable[Any]
) -> Iterator[Any]:
    """Yield what `pick`, which is ``max`` or ``min``, takes of the partition; nothing if it is empty."""
    elements = iter(iterator)
    for first in elements:
        try:
            yield pick(chain((first,), elements), key=key)
        except StopIteration as stop:
            raise stop_iteration_error(str(stop)) from stop
        return


def range_partition(
    start: int, step: int, size: int, partitions: int, split: int, iterator: Iterable[Any]
) -> Iterable[int]:
    """Yield the part of a range that belongs to partition `split`."""
    # The input is empty, but the stream has to be read to its end marker.
    for _ in iterator:
        raise AssertionError("the input of a generated range is empty")
    first = start + split * size // partitions * step
    last = start + (split + 1) * size // partitions * step
    return range(first, last, step)


def enumerate_partition(starts: Sequence[int], split: int, iterator: Iterable[Any]) -> Iterator[Tuple[Any, int]]:
    """Pair each element with its index in the whole RDD."""
    return ((element, index) for index, element in enumerate(iterator, starts[split]))


def unique_ids(partitions: int, split: int, iterator: Iterable[Any]) -> Iterator[Tuple[Any, int]]:
    """Pair each element with split, split + partitions, split + 2 * partitions and so on."""
    return ((element, index * partitions + split) for index, element in enumerate(iterator))


def reduce_partition(f: Callable[[Any, Any], Any], split: int, iterator: Iterable[Any]) -> Iterator[Any]:
    """Yield the reduction of the partition, nothing if it is empty."""
    iterator = iter(iterator)
    for first in iterator:
        yield reduce_all(f, iterator, first)
        return


def fold_partition(zero: Any, f: Callable[[Any, Any], Any], split: int, iterator: Iterable[Any]) -> Iterator[Any]:
    """Yield the partition folded into `zero`."""
    yield reduce_all(f, iterator, zero)


def reduce_all(f: Callable[[Any, Any], Any], elements: Iterable[Any], start: Any) -> Any:
    """Reduce the elements into `start`; fail if `f` raises ``StopIteration``."""
    try:
        return functools.reduce(f, elements, start)
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop


def deal_by_index(buckets: int, split: int, iterator: Iterable[Any]) -> Iterator[Tuple[int, Any]]:
    """Key everything with one bucket that depends on the partition."""
    for element in iterator:
        yield split % buckets, element


def visit_elements(f: Callable[[Any], Any], split: int, iterator: Iterable[Any]) -> Iterable[Any]:
    """Call `f` on every element, for its effect."""
    try:
        for element in iterator:
            f(element)
    except StopIteration as stop:
        raise stop_iteration_error(str(stop)) from stop
    return iter(())


def visit_partition(f: Callable[[Iterable[Any]], Any], split: int, iterator: Iterable[Any]) -> Iterable[Any]:
    """Call `f` on the partition, for its effect; what it returns is consumed if it is iterable."""
    result = f(iterator)
    try:
        return iter(result)
    except TypeError:
        return iter(())


def take_elements(count: int, iterator: Iterable[Any]) -> Iterator[Any]:
    """Yield up to `count` elements and read no further."""
    if count <= 0:
        return
    for taken, element in enumerate(iterator, 1):
        yield element
        if taken >= count:
            return


def text_of(split: int, iterator: Iterable[Any]) -> Iterator[bytes]:
    """Yield each element as UTF-8 text, as ``saveAsTextFile`` writes it."""
    for element in iterator:
        if isinstance(element, bytes):
            yield _valid_text(element)
        else:
            yield (element if isinstance(element, str) else str(element)).encode("utf-8")


def _valid_text(data: bytes) -> bytes:
    """Return text as it is, other bytes with U+FFFD where they are not UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode("utf-8")
    return data


def start_from_copy(zero: Any, f: Callable[[Any, Any], Any], value: Any) -> Any:
    """Combine a value with a zero of its own, so that keys do not share a mutable one."""
    return f(copy.deepcopy(zero), value)


def deal_elements(
    partitions: int, serializer: BatchedSerializer, split: int, iterator: Iterable[Any]
) -> Iterator[bytes]:
    """Deal batches of elements out to partitions in turn, starting where Spark starts."""
    position = first_position(split, partitions)
    elements = iter(iterator)
    while batch := list(islice(elements, serializer.batchSize)):
        position += 1
        yield PARTITION_ID.pack(position % partitions) + serializer.serializer.dumps(batch)


def keep_partition(partitions: int, split: int, iterator: Iterable[bytes]) -> Iterator[bytes]:
    """Send the frames of partition p, p + partitions and so on to partition p."""
    target = PARTITION_ID.pack(split % partitions)
    return (target + frame for frame in iterator)


def run_command(
    command: str,
    env: Dict[str, str],
    check_code: bool,
    split: int,
    iterator: Iterable[Any],
) -> Iterator[str]:
    """Pipe elements through a child process, one line each way."""
    import shlex
    from subprocess import PIPE, Popen
    from threading import Thread

    process = Popen(shlex.split(command), env=env, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None and process.stdout is not None
    stdin = process.stdin
    failures: List[BaseException] = []

    def feed() -> None:
        try:
            for element in iterator:
                stdin.write((str(element).rstrip("\n") + "\n").encode("utf-8"))
        except BrokenPipeError:
            pass  # the command may stop reading early, as `head` does
        except BaseException as error:
            failures.append(error)  # of the user's functions; the task has to fail with it
        finally:
            try:
                stdin.close()
            except BrokenPipeError:
                pass

    feeder = Thread(target=feed, daemon=True)
    feeder.start()
    for line in process.stdout:
        yield line.rstrip(b"\n").decode("utf-8")
    code = process.wait()
    feeder.join()
    if failures:
        raise failures[0]
    if check_code and code:
        raise PySparkRuntimeError(
            errorClass="PIPE_FUNCTION_EXITED",
            messageParameters={"func_name": command, "error_code": str(code)},
        )
