"""Persisted RDDs, seen by how often their elements are computed."""

from __future__ import annotations

from corpus import case, condition, failure


def counted(sc, n=6, slices=3):
    """Return an RDD and the accumulator that counts how often an element is computed."""
    runs = sc.accumulator(0)

    def count(x):
        runs.add(1)
        return x

    return sc.parallelize(range(n), slices).map(count), runs


@case
def cached_once(sc):
    rdd, runs = counted(sc)
    rdd.cache()
    before = runs.value
    return [
        before,
        rdd.collect(),
        runs.value,
        rdd.sum(),
        rdd.map(str).collect(),
        runs.value,
        rdd.unpersist() is rdd,
        rdd.count(),
        runs.value,
    ]


@case
def every_storage_level(sc):
    from pyspark import StorageLevel

    names = [
        "DISK_ONLY",
        "DISK_ONLY_2",
        "DISK_ONLY_3",
        "MEMORY_ONLY",
        "MEMORY_ONLY_2",
        "MEMORY_AND_DISK",
        "MEMORY_AND_DISK_2",
        "MEMORY_AND_DISK_DESER",
    ]
    found = {}
    for name in names:
        rdd, runs = counted(sc)
        rdd.persist(getattr(StorageLevel, name))
        found[name] = [
            rdd.collect(),
            rdd.sum(),
            runs.value,
            str(rdd.getStorageLevel()),
            repr(rdd.getStorageLevel()),
            rdd.is_cached,
        ]
        rdd.unpersist(blocking=True)
        found[name] += [str(rdd.getStorageLevel()), rdd.is_cached, rdd.count(), runs.value]
    return found


@case
def no_storage_level(sc):
    from pyspark import StorageLevel

    rdd, runs = counted(sc)
    rdd.persist(StorageLevel.NONE)
    return [rdd.count(), rdd.count(), runs.value, str(rdd.getStorageLevel()), rdd.is_cached]


@case
def default_storage_levels(sc):
    rdd, _ = counted(sc)
    levels = [
        str(rdd.getStorageLevel()),
        str(rdd.cache().getStorageLevel()),
        str(rdd.unpersist().getStorageLevel()),
        str(rdd.persist().getStorageLevel()),
    ]
    rdd.unpersist()
    return levels


@case
def changing_the_level(sc):
    from pyspark import StorageLevel

    rdd, _ = counted(sc)
    rdd.cache()
    refused = condition(lambda: rdd.persist(StorageLevel.DISK_ONLY))
    same = condition(rdd.cache)
    rdd.unpersist()
    return [
        "after it was already assigned a level" in refused[2],
        same[0],
        str(rdd.persist(StorageLevel.DISK_ONLY).getStorageLevel()),
        rdd.unpersist().count(),
    ]


@case
def cached_in_a_pipeline(sc):
    rdd, runs = counted(sc)
    doubled = rdd.map(lambda x: 2 * x).cache()
    tripled = doubled.map(lambda x: x + x // 2)
    results = [tripled.collect(), tripled.collect(), doubled.filter(bool).count(), runs.value]
    doubled.unpersist()
    return [*results, tripled.collect(), runs.value]


@case
def cached_before_and_after_use(sc):
    rdd, runs = counted(sc)
    child = rdd.map(str)
    child.count()
    rdd.cache()
    counts = [runs.value]
    for _ in range(2):
        rdd.map(str).count()
        counts.append(runs.value)
    rdd.unpersist()
    return counts


@case
def cached_partly(sc):
    rdd, runs = counted(sc, 8, 4)
    rdd.cache()
    counts = []
    for action in (rdd.first, rdd.first, lambda: rdd.take(3), rdd.count, rdd.collect):
        action()
        counts.append(runs.value)
    rdd.unpersist()
    return counts


@case
def cached_and_lazy(sc):
    rdd, runs = counted(sc)
    rdd.persist()
    rdd.map(str).filter(bool).keyBy(len)
    before = runs.value
    rdd.unpersist()
    return [before, rdd.is_cached]


@case
def cached_after_a_shuffle(sc):
    rdd, runs = counted(sc)
    grouped = rdd.map(lambda x: (x % 2, x)).reduceByKey(lambda a, b: a + b).cache()
    results = [
        sorted(grouped.collect()),
        sorted(grouped.mapValues(str).collect()),
        grouped.lookup(1),
        grouped.join(grouped).count(),
        runs.value,
    ]
    grouped.unpersist()
    return results


@case
def cached_random_numbers(sc):
    import random

    rdd = sc.parallelize(range(20), 4).map(lambda x: random.random()).cache()
    results = [
        rdd.collect() == rdd.collect(),
        rdd.sum() == rdd.sum(),
        rdd.sortBy(lambda x: x).collect() == sorted(rdd.collect()),
    ]
    rdd.unpersist()
    return results


@case
def cached_mutable_elements(sc):
    rdd = sc.parallelize([[1], [2]], 2).map(lambda x: x).cache()
    results = [rdd.map(lambda x: x.append(0) or x).collect(), rdd.collect(), rdd.map(len).collect()]
    rdd.unpersist()
    return results


@case
def cached_sources(sc):
    rdd = sc.parallelize(range(5), 2).cache()
    union = rdd.union(rdd).cache()
    results = [rdd.sum(), rdd.sum(), union.count(), union.count(), type(rdd).__name__, union.getNumPartitions()]
    rdd.unpersist()
    union.unpersist()
    return [*results, union.count()]


@case
def cached_empty(sc):
    none = sc.parallelize([], 3).map(str).cache()
    results = [none.count(), none.collect(), none.isEmpty(), none.getNumPartitions()]
    none.unpersist()
    return [*results, failure(none.first)]


@case
def unpersisted_without_reason(sc):
    rdd, _ = counted(sc)
    return [rdd.unpersist() is rdd, rdd.unpersist(True).is_cached, rdd.count()]


@case
def cached_with_errors(sc):
    fails = sc.broadcast({3})

    def fail(x):
        if x in fails.value:
            raise ValueError(x)
        return x

    rdd = sc.parallelize(range(6), 3).map(fail).cache()
    results = [
        failure(rdd.count) != "no error",
        rdd.take(2),
        failure(rdd.collect) != "no error",
        rdd.filter(lambda x: x < 2).take(1),
    ]
    rdd.unpersist()
    return results


@case
def levels_and_names(sc):
    from pyspark import StorageLevel

    levels = [
        StorageLevel(True, False, False, False, 1),
        StorageLevel(False, True, False, True),
        StorageLevel.OFF_HEAP,
        StorageLevel.NONE,
    ]
    return [[str(level), repr(level), level == StorageLevel.DISK_ONLY] for level in levels]


@case
def large_cached(sc):
    runs = sc.accumulator(0)

    def big(i):
        runs.add(1)
        return bytes(1 << 20)

    rdd = sc.parallelize(range(8), 4).map(big).cache()
    results = [rdd.map(len).sum(), rdd.map(len).sum(), runs.value]
    rdd.unpersist()
    return results
