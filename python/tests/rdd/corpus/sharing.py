"""Accumulators and broadcast variables."""

from __future__ import annotations

import operator
import re

from corpus import case, condition, failure, said, worker_failure


@case
def accumulators_of_numbers(sc):
    whole, real, complicated = sc.accumulator(1), sc.accumulator(0.5), sc.accumulator(1j)

    def add(x):
        whole.add(x)
        real.add(x / 2)
        complicated.add(x)

    sc.parallelize(range(10), 4).foreach(add)
    return [whole.value, real.value, complicated.value, str(whole), repr(whole)[:15]]


@case
def accumulators_with_operators(sc):
    total = sc.accumulator(0)

    def add(x):
        nonlocal total
        total += x

    sc.parallelize(range(5), 2).foreach(add)
    total += 100
    total.value += 1000
    return total.value


@case
def accumulators_of_own_kinds(sc):
    from pyspark.accumulators import AccumulatorParam

    class Lists(AccumulatorParam):
        def zero(self, value):
            return []

        def addInPlace(self, a, b):
            a.extend(b)
            return a

    class Sets(AccumulatorParam):
        def zero(self, value):
            return set()

        def addInPlace(self, a, b):
            return a | b

    class Largest(AccumulatorParam):
        def zero(self, value):
            return value

        def addInPlace(self, a, b):
            return max(a, b)

    lists, sets, largest = sc.accumulator(["start"], Lists()), sc.accumulator({0}, Sets()), sc.accumulator(3, Largest())

    def add(x):
        lists.add([x])
        sets.add({x % 3})
        largest.add(x)

    sc.parallelize(range(6), 3).foreach(add)
    return [lists.value[0], sorted(lists.value[1:]), sets.value, largest.value]


@case
def accumulators_of_vectors(sc):
    from pyspark.accumulators import AccumulatorParam

    class Vectors(AccumulatorParam):
        def zero(self, value):
            return [0.0] * len(value)

        def addInPlace(self, a, b):
            return [x + y for x, y in zip(a, b)]

    total = sc.accumulator([1.0, 2.0], Vectors())
    sc.parallelize([1, 2, 3], 2).foreach(lambda x: total.add([x, -x]))
    return total.value


@case
def accumulators_without_a_param(sc):
    return [
        failure(lambda: sc.accumulator([1])),
        failure(lambda: sc.accumulator("a")),
        failure(lambda: sc.accumulator(None)),
        sc.accumulator(True).value,
    ]


@case
def values_of_accumulators_in_tasks(sc):
    total = sc.accumulator(0)
    rdd = sc.parallelize([1], 1)

    def assign(x):
        total.value = x

    return [
        worker_failure(lambda: rdd.map(lambda x: total.value).collect())[0],
        worker_failure(lambda: rdd.foreach(assign))[0],
        total.value,
        said("VALUE_NOT_ACCESSIBLE", lambda: rdd.map(lambda x: total.value).collect()),
    ]


@case
def accumulators_in_transformations(sc):
    seen = sc.accumulator(0)

    def note(x):
        seen.add(1)
        return x

    rdd = sc.parallelize(range(6), 3).map(note)
    counts = [seen.value]
    for action in (
        rdd.count,
        rdd.collect,
        lambda: rdd.take(2),
        lambda: rdd.map(str).filter(bool).count(),
        lambda: rdd.union(rdd).count(),
        lambda: rdd.map(lambda x: (x, 1)).reduceByKey(max).count(),
    ):
        action()
        counts.append(seen.value)
    return counts


@case
def accumulators_of_failed_tasks(sc):
    seen = sc.accumulator(0)

    def fail(x):
        seen.add(1)
        raise ValueError("no")

    return [worker_failure(lambda: sc.parallelize([1], 1).foreach(fail))[0], seen.value]


@case
def accumulators_of_many_tasks(sc):
    seen, parts = sc.accumulator(0), sc.accumulator(0)

    def note(it):
        parts.add(1)
        for x in it:
            seen.add(x)

    sc.parallelize(range(1000), 25).foreachPartition(note)
    return [seen.value, parts.value]


@case
def unused_accumulators(sc):
    a, b = sc.accumulator(5), sc.accumulator(6)
    sc.parallelize([1], 1).foreach(lambda x: a.add(x))
    return [a.value, b.value, a.aid != b.aid]


@case
def broadcasts_of_values(sc):
    values = [1, "text", None, [1, 2], {"a": (1,)}, {1, 2}, b"bytes", 1.5]
    shared = [sc.broadcast(v) for v in values]
    rdd = sc.parallelize(range(8), 2)
    return [
        rdd.map(lambda i: shared[i].value).collect(),
        [s.value for s in shared[:8]] == values[:8],
    ]


@case
def large_broadcasts(sc):
    table = sc.broadcast({i: i * i for i in range(100000)})
    text = sc.broadcast("x" * (5 << 20))
    return [
        sc.parallelize([3, 99999], 2).map(lambda i: table.value[i]).collect(),
        sc.parallelize([1, 2], 2).map(lambda i: len(text.value)).collect(),
        len(table.value),
    ]


@case
def broadcasts_in_stages(sc):
    names = sc.broadcast({0: "even", 1: "odd"})
    rdd = sc.parallelize(range(6), 2).map(lambda x: (names.value[x % 2], x)).reduceByKey(operator.add)
    return [
        sorted(rdd.collect()),
        sorted(rdd.mapValues(lambda v: (v, len(names.value))).collect()),
        rdd.filter(lambda kv: kv[0] == names.value[0]).collect(),
    ]


@case
def broadcasts_used_again(sc):
    shared = sc.broadcast([1])
    rdd = sc.parallelize([0], 1).map(lambda i: shared.value[i])
    before = rdd.collect()
    shared.unpersist()
    again = rdd.collect()
    shared.unpersist(blocking=True)
    return [before, again, rdd.map(str).collect(), shared.value]


@case
def broadcasts_are_not_changed(sc):
    values = [1]
    shared = sc.broadcast(values)
    values.append(2)
    return [
        shared.value,
        sc.parallelize([0], 1).map(lambda i: len(shared.value)).collect(),
        sc.parallelize([0, 1], 1).map(lambda i: shared.value.append(i) or len(shared.value)).collect(),
        shared.value,
    ]


@case
def destroyed_broadcasts(sc):
    shared, seen = sc.broadcast([1]), sc.broadcast([2])
    rdd = sc.parallelize([0], 1)
    used = rdd.map(lambda i: shared.value[i])
    before = [used.collect(), seen.value]
    shared.destroy()
    seen.destroy()
    pattern = r"Attempted to use Broadcast\(\d+\) after it was destroyed"

    def again(call):
        return [re.sub(r"\d+", "N", text) for text in said(pattern, call)]

    return [
        before,
        condition(lambda: shared.value)[:2],
        seen.value,
        again(lambda: rdd.map(lambda i: shared.value).collect()),
        again(lambda: rdd.map(lambda i: (i, seen.value)).collect()),
        again(shared.unpersist),
        again(shared.destroy),
    ]


@case
def broadcasts_that_cannot_be_pickled(sc):
    import threading

    return [failure(lambda: sc.broadcast(threading.Lock())), failure(lambda: sc.broadcast(sc))]


@case
def many_broadcasts(sc):
    shared = [sc.broadcast(i) for i in range(30)]
    return sc.parallelize(range(4), 2).map(lambda x: x + sum(s.value for s in shared)).collect()
