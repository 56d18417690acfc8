"""What goes wrong in a function of the user: type, text and line of the error."""

from __future__ import annotations

from corpus import case, failure, worker_failure


class CustomError(Exception):
    """An error of the application's own."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


@case
def division_by_zero(sc):
    rdd = sc.parallelize([1, 0], 2)

    def invert(x):
        return 1 / x

    return [worker_failure(lambda: rdd.map(invert).collect()), worker_failure(lambda: rdd.map(lambda x: 1 % x).count())]


@case
def nested_calls(sc):
    def outer(x):
        return inner(x)

    def inner(x):
        raise KeyError(x)

    return worker_failure(lambda: sc.parallelize(["k"], 1).map(outer).collect())


@case
def errors_of_own_classes(sc):
    def fail(x):
        raise CustomError(7, "no good")

    return worker_failure(lambda: sc.parallelize([1], 1).foreach(fail))


@case
def errors_with_causes(sc):
    def fail(x):
        try:
            {}[x]
        except KeyError as error:
            raise ValueError("wrapped") from error

    def fail_while_handling(x):
        try:
            {}[x]
        except KeyError:
            int("x")

    rdd = sc.parallelize([1], 1)
    return [
        worker_failure(lambda: rdd.map(fail).collect()),
        worker_failure(lambda: rdd.map(fail_while_handling).collect()),
    ]


@case
def texts_of_errors(sc):
    def with_text(text):
        def fail(x):
            raise ValueError(text)

        return worker_failure(lambda: sc.parallelize([1], 1).map(fail).collect())[0]

    return [
        with_text("ünïcode 😀"),
        with_text(""),
        with_text("two\nlines"),
        with_text("x" * 3000)[0][-20:],
        with_text("100% {braces} %s"),
    ]


@case
def errors_in_the_middle(sc):
    def fail(x):
        if x == 70:
            raise ValueError("seventy")
        return x

    rdd = sc.parallelize(range(100), 4).map(fail)
    return [
        worker_failure(rdd.collect),
        rdd.take(20),
        worker_failure(lambda: rdd.take(80))[0],
        rdd.first(),
        worker_failure(rdd.sum)[0],
        rdd.filter(lambda x: x < 10).take(5),
    ]


@case
def errors_in_generators(sc):
    def partly(it):
        yield next(it)
        raise RuntimeError("after one")

    rdd = sc.parallelize([1, 2], 2).mapPartitions(partly)
    return [worker_failure(rdd.collect), worker_failure(rdd.count)[0]]


@case
def stop_iteration(sc):
    rdd = sc.parallelize([1, 2, 3], 1)

    def stop(*args):
        raise StopIteration("enough")

    pairs = rdd.map(lambda x: (1, x))
    return [
        worker_failure(lambda: rdd.map(stop).collect())[0],
        worker_failure(lambda: rdd.filter(stop).collect())[0],
        worker_failure(lambda: rdd.flatMap(stop).collect())[0],
        worker_failure(lambda: rdd.foreach(stop))[0],
        worker_failure(lambda: rdd.reduce(stop))[0],
        worker_failure(lambda: rdd.fold(0, stop))[0],
        worker_failure(lambda: rdd.keyBy(stop).collect())[0],
        worker_failure(lambda: pairs.reduceByKey(stop).collect())[0],
        worker_failure(lambda: pairs.mapValues(stop).collect())[0],
        worker_failure(lambda: pairs.reduceByKeyLocally(stop))[0],
        worker_failure(lambda: pairs.combineByKey(stop, stop, stop).collect())[0],
        worker_failure(lambda: rdd.aggregate(0, stop, stop))[0],
        worker_failure(lambda: pairs.aggregateByKey(0, stop, stop).collect())[0],
    ]


@case
def stop_iteration_on_the_driver(sc):
    def stop(a, b):
        raise StopIteration

    two = sc.parallelize([1, 2], 2)
    return [
        failure(lambda: two.reduce(stop)),
        failure(lambda: two.fold(0, lambda a, b: a)),
        failure(lambda: two.aggregate(0, lambda a, b: a, stop)),
    ]


@case
def stop_iteration_in_partitions(sc):
    rdd = sc.parallelize([1, 2, 3], 1)

    def stop_early(it):
        yield next(it)
        raise StopIteration

    def read_too_far(it):
        yield next(it)
        yield next(it)
        yield next(it)
        yield next(it)

    def stop_at_once(it):
        raise StopIteration

    return [
        worker_failure(lambda: rdd.mapPartitions(stop_early).collect())[0],
        worker_failure(lambda: rdd.mapPartitions(read_too_far).collect())[0],
        worker_failure(lambda: rdd.mapPartitions(stop_at_once).collect())[0],
        rdd.mapPartitions(lambda it: iter(lambda: next(it, None), None)).collect(),
    ]


@case
def results_that_are_no_iterables(sc):
    rdd = sc.parallelize([1], 1)
    return [
        worker_failure(lambda: rdd.mapPartitions(lambda it: 5).collect())[0],
        worker_failure(lambda: rdd.flatMap(lambda x: x).collect())[0],
        worker_failure(lambda: rdd.mapPartitions(lambda it: None).collect())[0],
        worker_failure(lambda: rdd.map(lambda: 1).collect())[0],
        worker_failure(lambda: rdd.mapPartitionsWithIndex(lambda it: it).collect())[0],
    ]


@case
def errors_after_a_shuffle(sc):
    def fail(x):
        raise ValueError(f"saw {x}")

    pairs = sc.parallelize([(1, 2)], 2)
    return [
        worker_failure(lambda: pairs.reduceByKey(max).mapValues(fail).collect()),
        worker_failure(lambda: pairs.map(fail).groupByKey().collect()),
        worker_failure(lambda: pairs.repartition(2).map(fail).collect()),
        worker_failure(lambda: pairs.sortBy(fail).collect()),
        worker_failure(lambda: pairs.join(pairs).map(fail).count()),
    ]


@case
def errors_in_combiners(sc):
    def fail(*args):
        raise ValueError("combine")

    pairs = sc.parallelize([(1, 2), (1, 3), (1, 4), (1, 5)], 2)
    return [
        worker_failure(lambda: pairs.reduceByKey(fail).collect()),
        worker_failure(lambda: pairs.combineByKey(fail, max, max).collect()),
        worker_failure(lambda: pairs.combineByKey(int, max, fail).collect()),
        worker_failure(lambda: pairs.values().treeReduce(fail)),
    ]


@case
def errors_on_the_driver(sc):
    rdd = sc.parallelize([1, 2], 2)

    def fail(a, b):
        raise ValueError("here")

    return [
        failure(lambda: rdd.reduce(fail)),
        worker_failure(lambda: rdd.fold(0, lambda a, b: a.nothing))[0],
        failure(lambda: rdd.takeOrdered("x")),
    ]


@case
def exits_and_interrupts(sc):
    import sys

    rdd = sc.parallelize([1], 1)

    def assertion(x):
        assert x > 1, "too small"

    return [
        worker_failure(lambda: rdd.map(assertion).collect()),
        worker_failure(lambda: rdd.map(lambda x: sys.undefined).collect())[0],
    ]


@case
def names_that_do_not_exist(sc):
    rdd = sc.parallelize([1], 1)

    def missing_import(x):
        import no_such_module

        return no_such_module

    return [
        worker_failure(lambda: rdd.map(missing_import).collect()),
        worker_failure(lambda: rdd.map(lambda x: undefined_name).collect()),  # noqa: F821
        worker_failure(lambda: rdd.map(lambda x: x.nothing).collect()),
        worker_failure(lambda: rdd.map(lambda x: [][x]).collect()),
    ]


@case
def recursion_without_end(sc):
    def forever(x):
        return forever(x)

    return worker_failure(lambda: sc.parallelize([1], 1).map(forever).collect())[0]


@case
def the_context_in_a_function(sc):
    rdd = sc.parallelize([1], 1)
    return [
        failure(lambda: rdd.map(lambda x: rdd).collect()),
        failure(lambda: rdd.map(lambda x: sc.parallelize([x])).collect()),
        failure(lambda: sc.broadcast(rdd)),
    ]


@case
def the_application_goes_on(sc):
    results = []
    for n in range(5):
        failed = worker_failure(sc.parallelize([n], 1).map(lambda x: x / 0).collect)[0]
        results.append((failed, sc.parallelize(range(n), 2).sum()))
    return results


@case
def errors_of_elements(sc):
    class Bad:
        def __reduce__(self):
            raise TypeError("does not travel")

    class Opens:
        def __setstate__(self, state):
            raise ValueError("does not open")

        def __getstate__(self):
            return {"x": 1}

    rdd = sc.parallelize([1], 1)
    return [
        worker_failure(lambda: rdd.map(lambda x: Bad()).collect())[0],
        failure(lambda: sc.parallelize([Bad()])),
        failure(lambda: rdd.map(lambda x: Opens()).collect()),
        worker_failure(lambda: sc.parallelize([Opens()], 1).count())[0],
    ]
