"""Random chains of transformations over random pairs, against a model of plain lists.

``random_chains.py MASTER SECONDS [SEED]`` runs examples on one SparkContext until the time is up and
prints the smallest failing program it can find. Keys and values are of several types; every step
makes pairs of pairs, so that any step can follow any other.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark import SparkContext
from pyspark.core.rdd import portable_hash

KEYS: list[Any] = [*range(-2, 5), "", "a", "bc", "ä", None, (1, "x"), (None, 2), 2.5, b"k"]
VALUES: list[Any] = [*range(-3, 6), "v", "w", None, 0.5, (1, 2), b""]
MAX_STEPS = 6
#: Run even when the time is up.
LEAST_EXAMPLES = 20


@dataclass
class Model:
    """What an RDD should hold, and how much of its layout is known."""

    parts: list[list[tuple[Any, Any]]]
    #: Whether it is known which partition holds an element, and where in the partition it is.
    placed: bool = True
    ordered: bool = True

    @property
    def elements(self) -> list[tuple[Any, Any]]:
        return [element for part in self.parts for element in part]

    def each(self, function: Callable[[list[Any]], list[Any]]) -> Model:
        """Return the model with every partition replaced."""
        return Model([function(part) for part in self.parts], self.placed, self.ordered)


Step = tuple[str, Callable[[Any], Any], Callable[[Model], Model]]


def hashed(pairs: list[tuple[Any, Any]], count: int, by: Callable[[Any], int] = portable_hash) -> Model:
    """Place pairs as a shuffle does; the order within a partition is not known then."""
    parts: list[list[tuple[Any, Any]]] = [[] for _ in range(count)]
    for key, value in pairs:
        parts[by(key) % count].append((key, value))
    return Model(parts, placed=True, ordered=False)


def grouped(pairs: list[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def in_order(values: Any) -> tuple[Any, ...]:
    return tuple(sorted(values, key=repr))


def larger(a: Any, b: Any) -> Any:
    return max(a, b, key=repr)


def length(key: Any) -> int:
    return len(repr(key))


def tag(split: int, pairs: Any) -> Any:
    return ((split, pair) for pair in pairs)


def blocks(parts: list[Any], count: int) -> list[Any]:
    """Gather neighbouring partitions as a coalesce without a shuffle does."""
    count = min(count, len(parts))
    bounds = [i * len(parts) // count for i in range(count + 1)] if count else [0]
    return [[x for part in parts[a:b] for x in part] for a, b in zip(bounds, bounds[1:])]


class Generator:
    """Draws steps that fit a model."""

    def __init__(self, numbers: random.Random) -> None:
        self.numbers = numbers

    def pairs(self, most: int = 30) -> list[tuple[Any, Any]]:
        keys = self.numbers.sample(KEYS, self.numbers.randint(1, len(KEYS)))
        size = self.numbers.choice([0, 1, 2, most // 3, most])
        return [(self.numbers.choice(keys), self.numbers.choice(VALUES)) for _ in range(size)]

    def count(self) -> int:
        return self.numbers.choice([1, 2, 3, 5, 8])

    def step(self, model: Model) -> Step:
        """Draw a step whose result is known for this model."""
        kinds = [self.narrow, self.narrow, self.shuffle, self.two_sided]
        if model.placed:
            kinds.append(self.by_partition)
        if model.placed and model.ordered:
            kinds.append(self.by_position)
        return self.numbers.choice(kinds)()

    def narrow(self) -> Step:
        n = self.numbers.randint(1, 4)
        return self.numbers.choice(
            [
                ("map(swap)", lambda r: r.map(lambda p: (repr(p[1]), p[0])), lambda m: m.each(lambda part: [(repr(v), k) for k, v in part])),
                (f"filter(length % {n})", lambda r: r.filter(lambda p: length(p) % n), lambda m: m.each(lambda part: [p for p in part if length(p) % n])),
                (f"flatMap({n} - 1 times)", lambda r: r.flatMap(lambda p: [p] * (n - 1)), lambda m: m.each(lambda part: [p for p in part for _ in range(n - 1)])),
                ("mapValues(length)", lambda r: r.mapValues(length), lambda m: m.each(lambda part: [(k, length(v)) for k, v in part])),
                ("flatMapValues(twice)", lambda r: r.flatMapValues(lambda v: (v, repr(v))), lambda m: m.each(lambda part: [(k, x) for k, v in part for x in (v, repr(v))])),
                (f"keyBy(length % {n})", lambda r: r.keyBy(lambda p: length(p) % n), lambda m: m.each(lambda part: [(length(p) % n, p) for p in part])),
                ("cache()", lambda r: r.cache(), lambda m: m),
                ("union(itself)", lambda r: r.map(lambda p: p).union(r.map(lambda p: p)), lambda m: Model(m.parts + m.parts, m.placed, m.ordered)),
            ]
        )  # fmt: skip

    def shuffle(self) -> Step:
        n = self.count()
        return self.numbers.choice(
            [
                (f"partitionBy({n})", lambda r: r.partitionBy(n), lambda m: hashed(m.elements, n)),
                (f"partitionBy({n}, length)", lambda r: r.partitionBy(n, length), lambda m: hashed(m.elements, n, length)),
                (f"reduceByKey(larger, {n})", lambda r: r.reduceByKey(larger, n), lambda m: hashed([(k, larger_of(g)) for k, g in grouped(m.elements).items()], n)),
                (f"groupByKey({n})", lambda r: r.groupByKey(n).mapValues(in_order), lambda m: hashed([(k, in_order(g)) for k, g in grouped(m.elements).items()], n)),
                (f"aggregateByKey({n})", lambda r: r.aggregateByKey(0, lambda a, v: a + length(v), lambda a, b: a + b, n), lambda m: hashed([(k, sum(map(length, g))) for k, g in grouped(m.elements).items()], n)),
                (f"distinct({n})", lambda r: r.map(lambda p: (p[0], repr(p[1]))).distinct(n), lambda m: unplaced({(k, repr(v)) for k, v in m.elements}, n)),
                (f"repartition({n})", lambda r: r.repartition(n), lambda m: unplaced(m.elements, n)),
                (f"sortBy(repr, {n})", lambda r: r.sortBy(repr, numPartitions=n), lambda m: sorted_model(m, n, False)),
                (f"sortBy(repr, False, {n})", lambda r: r.sortBy(repr, False, n), lambda m: sorted_model(m, n, True)),
            ]
        )  # fmt: skip

    def two_sided(self) -> Step:
        n, other, slices = self.count(), self.pairs(12), self.count()
        table = grouped(other)

        def joined(m: Model, ours: bool, theirs: bool) -> Model:
            left, pairs = grouped(m.elements), []
            for key in {**left, **table}:
                a, b = left.get(key, [None] if ours else []), table.get(key, [None] if theirs else [])
                pairs += [(key, (x, y)) for x in a for y in b]
            return hashed(pairs, n)

        def cogrouped(m: Model) -> Model:
            left = grouped(m.elements)
            return hashed([(k, (in_order(left.get(k, ())), in_order(table.get(k, ())))) for k in {**left, **table}], n)

        def there(r: Any) -> Any:
            return r.context.parallelize(other, slices)

        text = f"sc.parallelize({other!r}, {slices})"
        return self.numbers.choice(
            [
                (f"join({text}, {n})", lambda r: r.join(there(r), n), lambda m: joined(m, False, False)),
                (f"leftOuterJoin({text}, {n})", lambda r: r.leftOuterJoin(there(r), n), lambda m: joined(m, False, True)),
                (f"rightOuterJoin({text}, {n})", lambda r: r.rightOuterJoin(there(r), n), lambda m: joined(m, True, False)),
                (f"fullOuterJoin({text}, {n})", lambda r: r.fullOuterJoin(there(r), n), lambda m: joined(m, True, True)),
                (f"cogroup({text}, {n})", lambda r: r.cogroup(there(r), n).mapValues(lambda gs: (in_order(gs[0]), in_order(gs[1]))), cogrouped),
                (f"subtractByKey({text}, {n})", lambda r: r.subtractByKey(there(r), n), lambda m: hashed([p for p in m.elements if p[0] not in table], n)),
                (f"union({text})", lambda r: r.map(lambda p: p).union(there(r)), lambda m: Model(m.parts + slices_of(other, slices), m.placed, m.ordered)),
                (f"cartesian({text})", lambda r: r.cartesian(there(r)), lambda m: Model([[(x, y) for x in a for y in b] for a in m.parts for b in slices_of(other, slices)], m.placed, False)),
            ]
        )  # fmt: skip

    def by_partition(self) -> Step:
        n = self.count()
        return self.numbers.choice(
            [
                ("mapPartitionsWithIndex(tag)", lambda r: r.mapPartitionsWithIndex(tag), lambda m: Model([list(tag(i, part)) for i, part in enumerate(m.parts)], True, m.ordered)),
                (f"coalesce({n})", lambda r: r.map(lambda p: p).coalesce(n), lambda m: Model(blocks(m.parts, n), True, m.ordered)),
                ("glom()", lambda r: r.glom().map(lambda part: (len(part), in_order(part))), lambda m: m.each(lambda part: [(len(part), in_order(part))])),
            ]
        )  # fmt: skip

    def by_position(self) -> Step:
        return self.numbers.choice(
            [
                ("zipWithIndex()", lambda r: r.zipWithIndex(), numbered),
                ("zip(itself)", lambda r: r.zip(r.map(length)), lambda m: m.each(lambda part: [(p, length(p)) for p in part])),
                ("mapPartitions(last)", lambda r: r.mapPartitions(lambda it: list(it)[-1:]), lambda m: m.each(lambda part: part[-1:])),
            ]
        )  # fmt: skip


def larger_of(values: list[Any]) -> Any:
    return max(values, key=repr)


def unplaced(pairs: Any, count: int) -> Model:
    return Model([list(pairs)] + [[] for _ in range(count - 1)], placed=False, ordered=False)


def sorted_model(model: Model, count: int, down: bool) -> Model:
    """Only the whole is known; an empty RDD is not even shuffled by Spark."""
    if not model.elements:
        return Model([[] for _ in range(1 if count == 1 and len(model.parts) > 0 else len(model.parts))])
    return unplaced(sorted(model.elements, key=repr, reverse=down), count)


def numbered(model: Model) -> Model:
    numbers = iter(range(len(model.elements)))
    return model.each(lambda part: [(pair, next(numbers)) for pair in part])


def slices_of(values: list[Any], count: int) -> list[list[Any]]:
    """Cut as `parallelize` does: into batches, which are dealt out to the slices."""
    size = max(1, min(len(values) // count, 1024))
    batches = [values[i : i + size] for i in range(0, len(values), size)]
    bounds = [i * len(batches) // count for i in range(count + 1)]
    return [[x for batch in batches[a:b] for x in batch] for a, b in zip(bounds, bounds[1:])]


@dataclass
class Program:
    """A source and steps, to be run and to be shown."""

    data: list[tuple[Any, Any]]
    slices: int
    steps: list[Step]

    def __str__(self) -> str:
        return ".".join([f"sc.parallelize({self.data!r}, {self.slices})", *(name for name, _, _ in self.steps)])

    def difference(self, sc: SparkContext) -> str | None:
        """Run the program and tell in what it differs from its model."""
        rdd, model = sc.parallelize(self.data, self.slices), Model(slices_of(self.data, self.slices))
        kept = []
        for _, transform, expect in self.steps:
            rdd, model = transform(rdd), expect(model)
            if rdd.is_cached:
                kept.append(rdd)
        try:
            found = rdd.glom().collect()
            first = rdd.take(3)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[-1500:]}"
        finally:
            for cached in kept:
                cached.unpersist()
        if rdd.getNumPartitions() != len(model.parts) or len(found) != len(model.parts):
            return f"{rdd.getNumPartitions()} partitions, {len(found)} found, {len(model.parts)} expected"
        return layout_difference(model, found) or take_difference(found, first)


def layout_difference(model: Model, found: list[list[Any]]) -> str | None:
    """Compare as much of the layout as is known."""
    if model.ordered and model.placed:
        wanted, got = repr(model.parts), repr(found)
    elif model.placed:
        wanted, got = repr([in_order(part) for part in model.parts]), repr([in_order(part) for part in found])
    else:
        wanted, got = repr(in_order(model.elements)), repr(in_order([x for part in found for x in part]))
    return None if wanted == got else f"expected {wanted[:1500]}\n   found {got[:1500]}"


def take_difference(found: list[list[Any]], first: list[Any]) -> str | None:
    """Check that `take` counts as `glom` does; which elements come first may change from run to run."""
    total = sum(map(len, found))
    return None if len(first) == min(3, total) else f"take(3) gave {first!r} of {total}"


def draw(seed: str) -> Program:
    """Return the program of a seed."""
    numbers = random.Random(seed)
    generator = Generator(numbers)
    data, slices = generator.pairs(), generator.count()
    model, steps = Model(slices_of(data, slices)), []
    for _ in range(numbers.randint(1, MAX_STEPS)):
        step = generator.step(model)
        following = step[2](model)
        if len(following.elements) > 2000:
            break
        steps.append(step)
        model = following
    return Program(data, slices, steps)


def fits(program: Program) -> bool:
    """Tell whether every step of a cut program still has what it needs to know."""
    model = Model(slices_of(program.data, program.slices))
    for name, _, expect in program.steps:
        word = name.partition("(")[0]
        needs_places = (
            word in ("mapPartitionsWithIndex", "coalesce", "glom", "zipWithIndex", "mapPartitions")
            or name == "zip(itself)"
        )
        if needs_places and not model.placed:
            return False
        if (word in ("zipWithIndex", "mapPartitions") or name == "zip(itself)") and not model.ordered:
            return False
        model = expect(model)
    return True


def shrink(sc: SparkContext, program: Program, seconds: float = 20) -> Program:
    """Return a smaller program that also fails."""
    deadline = time.monotonic() + seconds
    smaller = True
    while smaller and time.monotonic() < deadline:
        smaller = False
        half = len(program.data) // 2
        cuts = [
            Program(program.data, program.slices, program.steps[:i] + program.steps[i + 1 :])
            for i in range(len(program.steps))
        ]
        cuts += [
            Program(data, program.slices, program.steps)
            for data in (program.data[:half], program.data[half:], program.data[1:])
            if len(data) < len(program.data)
        ]
        for cut in cuts:
            if fits(cut) and cut.difference(sc) is not None:
                program, smaller = cut, True
                break
    return program


def main() -> int:
    master, seconds = sys.argv[1], float(sys.argv[2])
    seed = sys.argv[3] if len(sys.argv) > 3 else "1"
    with SparkContext(master, "random chains") as sc:
        sc.setLogLevel("OFF")
        deadline, examples = time.monotonic() + seconds, 0
        while time.monotonic() < deadline or examples < LEAST_EXAMPLES:
            program = draw(f"{seed}-{examples}")
            if program.difference(sc) is not None:
                least = shrink(sc, program)
                print(f"seed {seed}-{examples}: {program}\nshrunk to {least}\n{least.difference(sc)}")
                return 1
            examples += 1
    print(f"{examples} examples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
