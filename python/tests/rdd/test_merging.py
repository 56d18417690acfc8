"""Shuffles and merges give what the classes of ``pyspark.shuffle`` and Spark's loops give."""

from __future__ import annotations

import operator
import pickle
import random
from collections import defaultdict, namedtuple
from functools import partial

import pytest
from pyspark.errors import PySparkRuntimeError
from pyspark.serializers import CPickleSerializer, MarshalSerializer
from pyspark.shuffle import ExternalMerger

from pyrite.rdd import exchange, merging
from pyrite.rdd.hashing import portable_hash

Point = namedtuple("Point", "x y")
SERIALIZER = CPickleSerializer()
PLENTY = 100_000.0


@pytest.fixture(autouse=True)
def fixed_hashes(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def shuffled(pairs, partition_of=portable_hash, partitions=3, memory=PLENTY, serializer=SERIALIZER):
    targets = defaultdict(list)
    for frame in exchange.shuffle_frames(partition_of, partitions, memory, serializer, 0, iter(pairs)):
        targets[exchange.PARTITION_ID.unpack(frame[:4])[0]].extend(serializer.loads(frame[4:]))
    return dict(targets)


def expected(pairs, partition_of=portable_hash, partitions=3):
    targets = defaultdict(list)
    for key, value in pairs:
        targets[partition_of(key) % partitions].append((key, value))
    return dict(targets)


KEYS = {
    "ints": [*range(-50, 50), 2**70, True, 10**6],
    "texts": [str(n) for n in range(100)],
    "floats": [n / 7 for n in range(100)],
    "none": [None, 1, 2, None],
    "tuples": [(n % 7, str(n), (None, n)) for n in range(100)] * 2,
    "named tuples": [Point(n, -n) for n in range(50)] + [(n, -n) for n in range(50)],
    "mixed": [None, 1, "a", (1, None), 2.5, b"x", frozenset([1]), ()],
}


@pytest.mark.parametrize("name", KEYS)
def test_pairs_go_where_the_portable_hash_sends_them_in_order(name):
    pairs = [(key, n) for n, key in enumerate(KEYS[name])]
    assert shuffled(pairs) == expected(pairs)


def test_many_pairs_in_batches_of_every_size():
    pairs = [(n * 7919 % 1013, "v" * (n % 50)) for n in range(30_000)]
    assert shuffled(pairs, partitions=7) == expected(pairs, partitions=7)


def test_short_memory_makes_more_frames_and_the_same_pairs():
    pairs = [(n, n) for n in range(5000)]
    assert shuffled(pairs, memory=0.0) == expected(pairs)


def test_another_serializer_gets_plain_pairs():
    pairs = [(n, str(n)) for n in range(200)]
    assert shuffled(pairs, serializer=MarshalSerializer()) == expected(pairs)


def test_frames_are_lists_of_tuples_for_whoever_reads_them():
    (frame,) = exchange.shuffle_frames(lambda key: 0, 1, PLENTY, SERIALIZER, 0, [(1, 2), [3, 4], Point(5, 6)])
    read = pickle.loads(frame[4:])
    assert read == [(1, 2), (3, 4), (5, 6)]
    assert {type(read), *map(type, read)} == {list, tuple}


def test_partition_functions_of_the_user():
    pairs = [(n, n) for n in range(100)]
    assert shuffled(pairs, partition_of=lambda key: -key) == expected(pairs, lambda key: -key)
    with pytest.raises(RuntimeError, match="StopIteration"):
        shuffled(pairs, partition_of=lambda key: next(iter(())))
    with pytest.raises(ValueError, match="unpack"):
        shuffled([(1, 2, 3)])


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("key", [exchange.identity, operator.neg])
def test_ranges(ascending, key):
    ranges = exchange.RangeBounds(sorted(map(key, [10, 20, 30])), key, ascending)
    keys = list(range(40))
    assert list(ranges.hashes(keys)) == [ranges(k) for k in keys]
    assert exchange.targets_of(ranges, 4)(keys) == [ranges(k) % 4 for k in keys]


def spark_merged(combine, pairs):
    merger = ExternalMerger(combine.aggregator(), PLENTY)
    merger.mergeValues(pairs)
    return list(merger.items())


COMBINES = {
    "reduce": merging.Combine(exchange.identity, operator.add, operator.add),
    "aggregate": merging.Combine(lambda v: [v], lambda c, v: [*c, v], operator.add),
    "group": merging.INTO_LISTS,
}


@pytest.mark.parametrize("name", COMBINES)
def test_combining_gives_the_same_in_the_same_order(name):
    pairs = [(n * 7919 % 101, n) for n in range(20_000)]
    combine = COMBINES[name]
    found = merging.combine_locally(combine, PLENTY, SERIALIZER, 0, iter(pairs))
    assert list(found) == spark_merged(combine, pairs)
    halves = [spark_merged(combine, pairs[:9000]), spark_merged(combine, pairs[9000:])]
    merged = merging.merge_combined(combine, PLENTY, SERIALIZER, 0, iter(halves[0] + halves[1]))
    assert list(merged) == spark_merged(combine, pairs)


@pytest.mark.parametrize("name", COMBINES)
def test_nothing_is_lost_when_memory_is_short(name, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    pairs = [(n * 7919 % 4001, n) for n in range(12_000)]
    random.Random(1).shuffle(pairs)
    combine = COMBINES[name]
    wanted = {key: sorted(values) if name != "reduce" else values for key, values in spark_merged(combine, pairs)}
    found = list(merging.combine_locally(combine, 1.0, SERIALIZER, 0, iter(pairs)))
    merged = list(merging.merge_combined(combine, 1.0, SERIALIZER, 0, iter(found)))
    for result in (found, merged):
        assert {k: sorted(v) if name != "reduce" else v for k, v in result} == wanted
        assert len(result) == len(wanted)


@pytest.mark.parametrize("combine", [merging.Combine(exchange.identity, lambda a, b: next(iter(())), max)])
def test_a_stop_iteration_of_a_merging_function_fails(combine):
    with pytest.raises(PySparkRuntimeError, match="STOP_ITERATION_OCCURRED"):
        merging.combine_locally(combine, PLENTY, SERIALIZER, 0, iter([(1, 1), (1, 2)]))


@pytest.mark.parametrize("memory", [PLENTY, 1.0])
def test_sorting(memory, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    pairs = [(n * 7919 % 997, n) for n in range(5000)]
    for ascending in (True, False):
        for key in (exchange.identity, lambda k: -k):
            sort = partial(merging.sort_partition, key, ascending, memory, SERIALIZER)
            assert list(sort(0, iter(pairs))) == sorted(pairs, key=lambda kv: key(kv[0]), reverse=not ascending)
