"""A ``StopIteration`` of the user's function fails the task instead of ending it early."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from pyspark.errors import PySparkRuntimeError

from pyrite.rdd import kernels
from pyrite.rdd.kernels import Pipeline


def stop_at(limit, result=lambda x: x):
    """Return a function that calls `next` on something empty once it is given `limit`."""

    def function(x, *_):
        return next(iter(())) if x == limit else result(x)

    return function


def raise_with_text(x, *_):
    if x == 3:
        raise StopIteration("no more of that")
    return x + 1


def run(*steps, elements=range(10)):
    return Pipeline(steps)(0, iter(elements))


def assert_stops(results, before, text=""):
    seen = []
    with pytest.raises(PySparkRuntimeError) as caught:
        for result in results:
            seen.append(result)
    assert len(seen) == before
    assert caught.value.getCondition() == "STOP_ITERATION_OCCURRED"
    assert caught.value.getMessageParameters() == {"exc": text}


ELEMENTWISE = {
    "map": partial(kernels.map_elements, stop_at(3)),
    "filter": partial(kernels.filter_elements, stop_at(3, lambda x: True)),
    "flatMap": partial(kernels.flat_map_elements, stop_at(3, lambda x: [x])),
    "keyBy": partial(kernels.key_elements, stop_at(3)),
}
TEXTUAL = {
    "map": partial(kernels.map_elements, raise_with_text),
    "filter": partial(kernels.filter_elements, raise_with_text),
    "keyBy": partial(kernels.key_elements, raise_with_text),
}
PLUS_ONE = partial(kernels.map_elements, lambda x: x + 1)
ALL = partial(kernels.filter_elements, lambda x: True)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_element_functions_fail_with_the_error(name):
    assert_stops(run(ELEMENTWISE[name]), before=3)


@pytest.mark.parametrize("name", TEXTUAL)
def test_the_text_of_a_stop_iteration_raised_by_name_survives(name):
    assert_stops(run(TEXTUAL[name]), before=3, text="no more of that")


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_any_function_of_a_chain_fails_it(name, position):
    steps = [ALL, ALL]
    steps.insert(position, ELEMENTWISE[name])
    assert_stops(run(*steps), before=3)


def test_a_function_in_the_middle_of_a_chain_with_a_partition_function_fails_it():
    steps = [PLUS_ONE, partial(kernels.map_partition, list), partial(kernels.map_elements, stop_at(3)), PLUS_ONE]
    assert_stops(run(*steps), before=2)


def test_every_function_fails_when_it_stops_at_the_last_element():
    for kernel in (kernels.map_elements, kernels.filter_elements, kernels.flat_map_elements):
        assert_stops(run(partial(kernel, stop_at(9, lambda x: [x]))), before=9)


def test_pair_values():
    pairs = [(x, x) for x in range(5)]
    assert_stops(run(partial(kernels.map_pair_values, stop_at(3)), elements=pairs), before=3)
    assert_stops(run(partial(kernels.flat_map_pair_values, stop_at(3, range)), elements=pairs), before=3)
    kept = run(partial(kernels.flat_map_pair_values, range), elements=pairs)
    assert list(kept) == [(x, y) for x in range(5) for y in range(x)]


@pytest.mark.parametrize(
    "kernel",
    [
        partial(kernels.reduce_partition, lambda a, b: stop_at(3)(b)),
        partial(kernels.fold_partition, 0, lambda a, b: stop_at(3)(b)),
        partial(kernels.visit_elements, stop_at(3)),
        partial(kernels.extreme_partition, max, stop_at(3)),
        partial(kernels.extreme_partition, min, stop_at(0)),
    ],
)
def test_functions_of_actions_fail_with_the_error(kernel):
    with pytest.raises(PySparkRuntimeError, match="STOP_ITERATION_OCCURRED"):
        list(kernel(0, iter(range(10))))


def test_nothing_is_computed_before_it_is_asked_for():
    seen = []
    results = run(
        partial(kernels.map_elements, lambda x: seen.append(x) or x),
        partial(kernels.filter_elements, lambda x: x % 2 == 0),
        partial(kernels.flat_map_elements, lambda x: [x, x]),
        elements=itertools.count(),
    )
    assert seen == []
    assert list(itertools.islice(results, 3)) == [0, 0, 2]
    assert seen == [0, 1, 2]


def test_other_errors_pass_and_ends_stay_ends():
    results = run(partial(kernels.map_elements, lambda x: 1 // x))
    with pytest.raises(ZeroDivisionError):
        next(results)
    results = run(PLUS_ONE, elements=range(2))
    assert list(results) == [1, 2]
    assert list(results) == []


def test_partial_functions_of_the_user_need_not_be_hashable():
    class Unhashable:
        __hash__ = None

        def __call__(self, offset, split, iterator):
            return [x + offset for x in iterator]

    assert list(run(partial(Unhashable(), 1), PLUS_ONE, elements=[1])) == [3]


def test_counts_sums_and_extremes():
    assert list(kernels.count_partition(0, iter("abc"))) == [3]
    assert list(kernels.count_partition(0, iter(()))) == [0]
    assert list(kernels.sum_partition(0, iter([1, 2.5]))) == [3.5]
    words = ["bb", "a", "cc"]
    assert list(kernels.extreme_partition(max, None, 0, iter(words))) == ["cc"]
    assert list(kernels.extreme_partition(max, len, 0, iter(words))) == ["bb"]
    assert list(kernels.extreme_partition(min, len, 0, iter(words))) == ["a"]
    assert list(kernels.extreme_partition(min, None, 0, iter(()))) == []
