"""Joins and cogroups give what ``pyspark.join`` makes of the same pairs, in the same order."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
from pyspark import join
from pyspark.serializers import CPickleSerializer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fake import fake_binary, sc

from pyrite.rdd import joining
from pyrite.rdd.exchange import PARTITION_ID

SERIALIZER = CPickleSerializer()
LEFT = [(n * 7 % 50, n) for n in range(120)]
RIGHT = [(n * 11 % 90, -n) for n in range(100)]


@pytest.fixture(autouse=True)
def fixed_hashes(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def plain(value):
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return list(value) if hasattr(value, "maxindex") else value


JOINS = {
    "join": join.python_join,
    "leftOuterJoin": join.python_left_outer_join,
    "rightOuterJoin": join.python_right_outer_join,
    "fullOuterJoin": join.python_full_outer_join,
    "cogroup": lambda a, b, n: join.python_cogroup((a, b), n),
}


@pytest.mark.parametrize("count", [None, 1, 3])
@pytest.mark.parametrize("name", JOINS)
def test_join_is_that_of_pyspark(sc, name, count):
    left, right = sc.parallelize(LEFT, 3), sc.parallelize(RIGHT, 2)
    ours, theirs = getattr(left, name)(right, count), JOINS[name](left, right, count)
    assert ours.getNumPartitions() == theirs.getNumPartitions()
    assert ours.partitioner == theirs.partitioner
    assert plain(tuple(ours.glom().map(tuple).collect())) == plain(tuple(theirs.glom().map(tuple).collect()))


@pytest.mark.parametrize("name", JOINS)
def test_sides_that_are_partitioned_already(sc, name):
    left, right = sc.parallelize(LEFT, 3).partitionBy(4), sc.parallelize(RIGHT, 2).partitionBy(4)
    for one, other in ((left, right), (left, sc.parallelize(RIGHT, 2))):
        ours, theirs = getattr(one, name)(other, 4), JOINS[name](one, other, 4)
        assert plain(tuple(ours.glom().map(tuple).collect())) == plain(tuple(theirs.glom().map(tuple).collect()))
    assert getattr(left, name)(right).getNumPartitions() == JOINS[name](left, right, None).getNumPartitions() == 4


def test_cogroup_of_three(sc):
    rdds = [sc.parallelize([(n % m, n) for n in range(20)], 2) for m in (5, 7, 3)]
    ours, theirs = rdds[0].groupWith(*rdds[1:]), join.python_cogroup(rdds, None)
    assert plain(tuple(ours.collect())) == plain(tuple(theirs.collect()))


def test_elements_with_more_parts_and_unusual_keys(sc):
    left = sc.parallelize([(None, 1, "more"), [(1, None), 2], ("a", 3)], 2)
    right = sc.parallelize([(None, 4), ((1, None), 5)], 1)
    assert sorted(left.join(right).values().collect()) == [(1, 4), (2, 5)]


def frames(tag, pairs, in_place=False, memory=10_000.0):
    written = joining.side_frames(tag, in_place, 1, memory, SERIALIZER, 0, iter(pairs))
    return [frame[PARTITION_ID.size :] for frame in written]


@pytest.mark.parametrize("keep", [(False, False), (True, False), (False, True), (True, True)])
def test_nothing_is_lost_when_memory_is_short(keep, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    left = [(n * 7 % 5000, n) for n in range(8000)]
    right = [(n * 11 % 7001, -n) for n in range(6000)]
    mixed = frames(0, left) + frames(1, right)
    random.Random(2).shuffle(mixed)
    finish = partial(joining.pair_up, *keep)
    found = list(joining.finish_groups(2, finish, 1.0, SERIALIZER, 0, iter(mixed)))
    assert sorted(map(repr, found)) == sorted(
        map(repr, joining.finish_groups(2, finish, 10_000.0, SERIALIZER, 0, iter(mixed)))
    )
    sides = defaultdict(list), defaultdict(list)
    for side, pairs in zip(sides, (left, right)):
        for key, value in pairs:
            side[key].append(value)
    both = sum(len(values) * len(sides[1].get(key, ())) for key, values in sides[0].items())
    only = [sum(len(v) for k, v in a.items() if k not in b) for a, b in (sides, sides[::-1])]
    assert len(found) == both + only[0] * keep[0] + only[1] * keep[1]


def test_pairs_that_are_in_place_stay_there():
    written = list(joining.side_frames(1, True, 9, 10_000.0, SERIALIZER, 5, iter(LEFT)))
    assert {PARTITION_ID.unpack(frame[:4])[0] for frame in written} == {5}
