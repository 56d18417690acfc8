"""Keys of many types: where they hash to, and what equals what."""

from __future__ import annotations

import operator

from corpus import Arriving, case, fruits, said, worker_failure


@case
def none_as_a_key(sc):
    rdd = sc.parallelize([(None, 1), ("a", 2), (None, 3)], 2)
    return [
        sorted(rdd.reduceByKey(operator.add).collect(), key=str),
        Arriving(rdd.partitionBy(2).glom().collect()),
        Arriving(rdd.partitionBy(3).lookup(None)),
        rdd.countByKey()[None],
        sorted(rdd.join(rdd).collect(), key=str),
        rdd.collectAsMap(),
        rdd.subtractByKey(sc.parallelize([(None, 0)])).collect(),
    ]


@case
def numbers_that_are_equal(sc):
    rdd = sc.parallelize([(1, "i"), (1.0, "f"), (True, "b"), (2, "j"), (0, "z"), (False, "n"), (-0.0, "m")], 1)
    return [
        rdd.groupByKey().mapValues(list).collect(),
        rdd.keys().distinct().collect(),
        rdd.partitionBy(2).glom().collect(),
        sorted(rdd.countByKey().items()),
        rdd.lookup(1),
        rdd.partitionBy(3).lookup(True),
    ]


@case
def numbers_by_partition(sc):
    keys = [0, 1, -1, -2, 5, 2**31, 2**61 - 1, 2**61, 2**63, -(2**64), 10**30]
    return sc.parallelize([(k, k) for k in keys], 1).partitionBy(5).keys().glom().collect()


@case
def floats_by_partition(sc):
    keys = [0.0, 1.5, -1.5, 1e300, 1e-300, float("inf"), float("-inf"), 2.0, 0.1, 3.14159]
    return sc.parallelize([(k, 0) for k in keys], 1).partitionBy(4).keys().glom().collect()


@case
def texts_by_partition(sc):
    keys = ["", "a", "b", "ab", "ä", "日本", "a" * 100, "\0", "A", "1", "été", "😀"]
    return sc.parallelize([(k, 0) for k in keys], 1).partitionBy(4).keys().glom().collect()


@case
def bytes_by_partition(sc):
    keys = [b"", b"a", b"ab", b"\xff\xfe", b"a" * 50]
    rdd = sc.parallelize([(k, 1) for k in keys + keys], 1)
    return [rdd.partitionBy(3).keys().glom().collect(), rdd.reduceByKey(operator.add).collect()]


@case
def tuples_by_partition(sc):
    keys = [
        (),
        (1,),
        (1, 2),
        (2, 1),
        ("a", 1),
        (None,),
        (None, None),
        ((1, 2), 3),
        (1.5, "x"),
        (-1, -2),
        tuple(range(20)),
    ]
    rdd = sc.parallelize([(k, 1) for k in keys], 1)
    return [rdd.partitionBy(4).keys().glom().collect(), rdd.union(rdd).reduceByKey(operator.add, 3).glom().collect()]


@case
def frozensets_and_bools(sc):
    keys = [True, False, frozenset(), frozenset([1]), frozenset([1, 2])]
    return sc.parallelize([(k, 1) for k in keys], 1).partitionBy(3).keys().glom().collect()


@case
def not_a_number_as_a_key(sc):
    nan = float("nan")
    rdd = sc.parallelize([(0, nan), (1, 1.0)], 1)
    return [
        rdd.values().collect(),
        rdd.values().distinct().count(),
        rdd.values().countByValue()[1.0],
        rdd.values().max(),
        rdd.values().min(),
    ]


@case
def unhashable_keys(sc):
    rdd = sc.parallelize([([1], 2)], 1)
    return [
        worker_failure(lambda: rdd.groupByKey().collect())[0],
        worker_failure(lambda: rdd.partitionBy(2).collect())[0],
        worker_failure(lambda: sc.parallelize([[1]], 1).distinct().collect())[0],
        worker_failure(lambda: rdd.countByKey())[0],
        worker_failure(lambda: rdd.reduceByKeyLocally(max))[0],
        worker_failure(lambda: sc.parallelize([{}], 1).countByValue())[0],
    ]


@case
def elements_that_are_no_pairs(sc):
    return [
        worker_failure(lambda: sc.parallelize([1, 2], 1).reduceByKey(max).collect())[0],
        sc.parallelize(["ab", "cd"], 1).reduceByKey(max).collect(),
        worker_failure(lambda: sc.parallelize([(1, 2, 3)], 1).groupByKey().collect())[0],
        worker_failure(lambda: sc.parallelize([(1, 2, 3)], 1).partitionBy(1).collect())[0],
        sc.parallelize([[1, 2], [1, 3]], 1).reduceByKey(operator.add).collect(),
        sc.parallelize([(1, 2, 3)], 1).values().collect(),
        sc.parallelize([(1, 2, 3)], 1).mapValues(str).collect(),
        worker_failure(lambda: sc.parallelize([5], 1).keys().collect())[0],
        sc.parallelize(["xy"], 1).sortByKey().collect(),
        sc.parallelize([[1, 2]], 1).collectAsMap(),
    ]


@case
def skewed_keys(sc):
    rdd = sc.parallelize(range(3000), 4).map(lambda x: (0 if x % 50 else x, 1))
    return [
        rdd.reduceByKey(operator.add).glom().map(len).collect(),
        rdd.groupByKey().mapValues(len).lookup(0),
        rdd.partitionBy(4).glom().map(len).collect(),
        rdd.sortByKey().glom().map(len).collect(),
        rdd.countByKey()[0],
        rdd.join(sc.parallelize([(0, "z"), (50, "f")])).count(),
    ]


@case
def one_key_only(sc):
    rdd = sc.parallelize([("k", i) for i in range(100)], 5)
    return [
        rdd.groupByKey().mapValues(sum).collect(),
        rdd.groupByKey(3).glom().map(len).collect(),
        rdd.reduceByKey(min, 8).glom().collect(),
        rdd.sortByKey().glom().map(len).collect(),
        rdd.partitionBy(3).glom().map(len).collect(),
        rdd.lookup("k") == list(range(100)),
    ]


@case
def objects_as_keys(sc):
    class Name:
        def __init__(self, text):
            self.text = text

        def __eq__(self, other):
            return self.text.lower() == other.text.lower()

        def __hash__(self):
            return len(self.text)

        def __lt__(self, other):
            return self.text.lower() < other.text.lower()

        def __repr__(self):
            return self.text

    rdd = sc.parallelize([(Name(t), 1) for t in ["Ab", "aB", "c", "C", "ddd"]], 1)
    return [
        rdd.reduceByKey(operator.add).collect(),
        rdd.partitionBy(3).glom().collect(),
        rdd.sortByKey(numPartitions=2).glom().collect(),
        rdd.keys().distinct().count(),
        rdd.lookup(Name("AB")),
    ]


@case
def hash_functions(sc):
    rdd = sc.parallelize([(i, i) for i in range(-4, 6)], 1)
    texts = fruits(sc, 1)
    return [
        rdd.partitionBy(3, lambda k: -k).glom().collect(),
        rdd.partitionBy(3, lambda k: k * 10**20).glom().collect(),
        rdd.partitionBy(4, lambda k: True).glom().collect(),
        texts.partitionBy(2, len).glom().collect(),
        texts.partitionBy(3, lambda k: ord(k[0])).keys().glom().collect(),
        rdd.partitionBy(1, lambda k: 5).glom().collect(),
        texts.reduceByKey(operator.add, 2, len).glom().collect(),
        texts.groupByKey(3, len).mapValues(list).glom().collect(),
        texts.groupBy(lambda kv: kv[0], 2, len).mapValues(len).glom().collect(),
        texts.foldByKey(0, operator.add, 2, len).glom().collect(),
    ]


@case
def wrong_hash_functions(sc):
    rdd = sc.parallelize([(1, 1)], 1)
    return [
        worker_failure(lambda: rdd.partitionBy(2, lambda k: "x").collect())[0],
        worker_failure(lambda: rdd.partitionBy(2, lambda k: None).collect())[0],
        worker_failure(lambda: rdd.partitionBy(2, lambda k: 1 // 0).collect()),
        said("empty RDD", lambda: rdd.filter(lambda x: False).partitionBy(2).values().reduce(max)),
    ]


@case
def portable_hashes(sc):
    from pyspark.rdd import portable_hash

    keys = [None, 0, 5, -1, 2.5, "", "abc", b"abc", (), (1,), (1, "a"), (None, (1, 2)), True, frozenset([3]), 2**70]
    return [
        [portable_hash(k) for k in keys] == sc.parallelize(keys, 2).map(portable_hash).collect(),
        [portable_hash(k) for k in keys],
    ]


@case
def hashes_of_unhashable_keys(sc):
    from pyspark.rdd import portable_hash

    return [said(".*", lambda: portable_hash([1]))[0], said(".*", lambda: portable_hash((1, {})))[0]]
