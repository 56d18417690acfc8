"""Elements of many types, sizes and origins."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import operator
import threading
import uuid

from corpus import Arriving, case, failure, said

FACTOR = 7
TABLE = {"a": 1, "b": 2}
Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True, order=True)
class Item:
    """A value object that can be a key."""

    name: str
    price: float = 1.5
    tags: tuple[str, ...] = ()


class Colour(enum.Enum):
    """A key that is the same object in every process."""

    RED = 1
    BLUE = 2


class Counter:
    """A mutable element."""

    def __init__(self, n=0):
        self.n = n

    def more(self):
        self.n += 1
        return self

    def __repr__(self):
        return f"Counter({self.n})"


class Base:
    """Has a method that calls one of a subclass."""

    def area(self):
        return self.side() ** 2


class Square(Base):
    """Uses super and a property."""

    def __init__(self, size):
        super().__init__()
        self._size = size

    def side(self):
        return self._size

    @property
    def double(self):
        return 2 * self._size

    @classmethod
    def of(cls, size):
        return cls(size)

    @staticmethod
    def twice(x):
        return x + x


def plus_factor(x):
    return x + FACTOR


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


@case
def plain_types(sc):
    values = [
        None,
        True,
        1,
        -(2**70),
        1.5,
        float("inf"),
        2j,
        "ä\n\0",
        b"\xff\0",
        bytearray(b"x"),
        (),
        [],
        {},
        {1},
        frozenset({2}),
    ]
    rdd = sc.parallelize(values, 4)
    return [rdd.collect(), rdd.map(lambda x: type(x).__name__).collect(), rdd.map(lambda x: x).collect() == values]


@case
def library_types(sc):
    values = [
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 1, 1, 12, 0, 0, 5),
        datetime.timedelta(seconds=90),
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        decimal.Decimal("1.10"),
        uuid.UUID(int=5),
        array.array("i", [1, 2]),
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1, 2], 2),
        collections.defaultdict(list, a=[1]),
        range(3),
        slice(1, 2),
        Ellipsis,
        NotImplemented,
        int,
        len,
    ]
    return [sc.parallelize(values, 3).map(lambda x: x).collect(), sc.parallelize(values, 3).map(repr).collect()]


@case
def named_tuples(sc):
    rdd = sc.parallelize([Pair(1, "a"), Pair(2, "b"), Pair(1, "c")], 2)
    return [
        rdd.map(lambda p: p.left).collect(),
        rdd.map(lambda p: p._replace(right="z")).collect(),
        rdd.lookup(1),
        Arriving(rdd.groupByKey().mapValues(list).collect()),
        type(rdd.first()).__name__,
        rdd.map(lambda p: isinstance(p, tuple)).first(),
    ]


@case
def dataclasses_as_elements(sc):
    rdd = sc.parallelize([Item("b"), Item("a", 2.0, ("x",)), Item("b")], 2)
    return [
        rdd.map(dataclasses.asdict).collect(),
        rdd.distinct().count(),
        rdd.max(),
        sorted(rdd.countByValue().items()),
        rdd.sortBy(lambda i: (i.name, i.price)).map(lambda i: i.name).collect(),
        rdd.map(lambda i: dataclasses.replace(i, price=0)).first(),
    ]


@case
def enums_as_elements(sc):
    rdd = sc.parallelize([Colour.RED, Colour.BLUE, Colour.RED], 2)
    return [
        rdd.map(lambda c: c.name).collect(),
        rdd.filter(lambda c: c is Colour.RED).count(),
        rdd.map(lambda c: c.value).sum(),
    ]


@case
def classes_and_methods(sc):
    rdd = sc.parallelize([1, 2, 3], 2)
    two = Square(2)
    return [
        rdd.map(Square).map(lambda s: (s.area(), s.double)).collect(),
        rdd.map(Square.of).map(lambda s: s.side()).collect(),
        rdd.map(Square.twice).collect(),
        rdd.map(lambda x: x * two.side()).collect(),
        sc.parallelize([two]).map(Square.area).collect(),
        sc.parallelize([two]).map(lambda s: isinstance(s, Base)).collect(),
        sc.parallelize(["ab"]).map(str.upper).collect(),
    ]


@case
def mutable_elements(sc):
    start = [Counter(i) for i in range(3)]
    rdd = sc.parallelize(start, 2)
    changed = rdd.map(lambda c: c.more())
    lists = sc.parallelize([[1], [2]], 1)
    return [
        changed.collect(),
        changed.map(lambda c: c.more()).collect(),
        rdd.collect(),
        start,
        changed.cache().collect(),
        changed.collect(),
        lists.map(lambda x: x.append(9) or x).collect(),
        lists.collect(),
        lists.map(lambda x: (x, x)).map(lambda p: p[0] is p[1]).collect(),
        lists.flatMap(lambda x: [x, x]).map(lambda x: x.append(0) or list(x)).collect(),
    ]


@case
def one_object_many_times(sc):
    shared = [1]
    rdd = sc.parallelize([shared, shared, shared], 1)
    same = rdd.mapPartitions(lambda it: [len({id(x) for x in list(it)})])
    return [same.collect(), rdd.map(lambda x: x).mapPartitions(lambda it: [len({id(x) for x in list(it)})]).collect()]


@case
def globals_and_closures(sc):
    rdd = sc.parallelize([1, 2], 2)
    offset, items = 10, [1]

    def nested(x):
        def inner(y):
            return y + offset + len(items)

        return inner(x) * FACTOR

    items.append(2)
    first = rdd.map(nested)
    before = first.collect()
    items.append(3)
    offset = 20
    return [
        before,
        first.collect(),
        rdd.map(nested).collect(),
        rdd.map(plus_factor).collect(),
        rdd.map(recursive).collect(),
        sc.parallelize("ab", 2).map(TABLE.get).collect(),
        rdd.map(lambda x, k=offset: x + k).collect(),
    ]


@case
def functions_of_other_kinds(sc):
    rdd = sc.parallelize([1, 2, 3], 2)

    class Adder:
        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return x + self.n

        def method(self, x):
            return x - self.n

    def counted():
        calls = 0

        def call(x):
            nonlocal calls
            calls += 1
            return x, calls

        return call

    return [
        rdd.map(functools.partial(operator.add, 5)).collect(),
        rdd.map(Adder(3)).collect(),
        rdd.map(Adder(1).method).collect(),
        rdd.map(operator.neg).collect(),
        rdd.map(counted()).collect(),
        sc.parallelize([(1, 2)]).map(operator.itemgetter(1)).collect(),
        sc.parallelize([Pair(3, 4)]).map(operator.attrgetter("right")).collect(),
        rdd.map([10, 11, 12, 13].__getitem__).collect(),
    ]


@case
def generators_in_functions(sc):
    rdd = sc.parallelize([3, 1], 2)

    def countdown(n):
        while n:
            yield n
            n -= 1

    def windows(it):
        last = None
        for x in it:
            yield last, x
            last = x

    return [
        rdd.flatMap(countdown).glom().collect(),
        rdd.flatMap(lambda n: (i for i in range(n))).collect(),
        sc.parallelize(range(6), 2).mapPartitions(windows).glom().collect(),
        rdd.flatMap(lambda n: "x" * n).collect(),
        rdd.flatMap(lambda n: {n: 0, -n: 0}).collect(),
        rdd.flatMap(lambda n: []).glom().collect(),
        rdd.flatMap(lambda n: zip("ab", [n])).collect(),
    ]


@case
def state_of_a_worker(sc):
    def number(split, it):
        import builtins

        total = 0
        for x in it:
            total += x
            yield total
        assert builtins.len([1]) == 1

    return sc.parallelize(range(8), 3).mapPartitionsWithIndex(number).glom().collect()


@case
def what_cannot_be_pickled(sc):
    rdd = sc.parallelize([1], 1)
    lock = threading.Lock()
    return [
        said("cannot pickle '_thread.lock' object", lambda: sc.parallelize([lock])),
        said("cannot pickle '_thread.lock' object", lambda: rdd.map(lambda x: lock).collect()),
        failure(lambda: rdd.map(lambda x: lock).collect()).partition(":")[0],
        said("cannot pickle 'generator' object", lambda: rdd.map(lambda x: (y for y in [x])).collect()),
    ]


@case
def large_elements(sc):
    big = bytes(3 << 20)
    rdd = sc.parallelize([big, b"small", big], 2)
    texts = sc.parallelize(range(3), 3).map(lambda i: str(i) * (4 << 20))
    return [
        rdd.map(len).collect(),
        [len(x) for x in rdd.collect()],
        texts.map(len).collect(),
        [len(x) for x in texts.toLocalIterator()],
        sorted((k, len(v)) for k, v in texts.map(lambda t: (t[0], t)).partitionBy(2).collect()),
        texts.map(lambda t: (t[0], t)).reduceByKey(max).mapValues(len).values().collect(),
        rdd.repartition(2).map(len).sum(),
        sorted(map(len, rdd.distinct().collect())),
        texts.sortBy(lambda t: t[0], False).map(lambda t: t[:2]).collect(),
    ]


@case
def large_closures(sc):
    table = {i: str(i) * 10 for i in range(60000)}
    return sc.parallelize([5, 59999], 2).map(lambda i: table[i]).collect()


@case
def many_small_elements(sc):
    rdd = sc.parallelize(range(120000), 3)
    return [
        rdd.map(lambda x: x % 10).countByValue()[3],
        rdd.glom().map(len).collect(),
        sum(rdd.collect()),
        rdd.filter(lambda x: x % 40000 == 7).collect(),
        rdd.map(lambda x: (x % 3, 1)).reduceByKey(operator.add).values().collect(),
        rdd.zipWithIndex().filter(lambda p: p[0] != p[1]).count(),
    ]


@case
def numpy_scalars(sc):
    import numpy as np

    values = [np.int64(3), np.float32(0.5), np.bool_(True), np.str_("s"), np.datetime64("2024-01-01")]
    rdd = sc.parallelize(values, 2)
    numbers = sc.parallelize(np.arange(6), 3)
    return [
        rdd.collect(),
        rdd.map(lambda x: type(x).__name__).collect(),
        numbers.collect(),
        numbers.glom().collect(),
        type(numbers.sum()).__name__,
        numbers.map(lambda x: x * 2).collect(),
        numbers.mean(),
        numbers.stats().variance(),
        numbers.max(),
        numbers.histogram(2),
        numbers.keyBy(lambda x: x % 2).partitionBy(2).keys().map(int).glom().map(sorted).collect(),
    ]


@case
def numpy_arrays(sc):
    import numpy as np

    rows = sc.parallelize([np.array([1.0, 2.0]), np.array([3.0, 4.0])], 2)
    matrix = sc.parallelize(np.arange(6).reshape(3, 2), 2)
    return [
        rows.sum(),
        rows.map(lambda v: v.dot(v)).collect(),
        rows.reduce(lambda a, b: a + b),
        rows.map(lambda v: v.dtype.name).collect(),
        matrix.collect(),
        matrix.map(lambda r: r.shape).collect(),
        rows.map(lambda v: (0, v)).reduceByKey(lambda a, b: a + b).collect(),
        rows.mean(),
        rows.variance(),
        rows.map(lambda v: (v > 1).all()).collect(),
        rows.treeReduce(lambda a, b: a * b),
    ]


@case
def numpy_in_closures(sc):
    import numpy as np

    weights = np.array([0.5, 2.0])
    table = sc.broadcast(np.eye(2))
    rdd = sc.parallelize([np.ones(2), np.zeros(2)], 2)
    return [rdd.map(lambda v: float(v @ weights)).collect(), rdd.map(lambda v: table.value @ v).collect()]


@case
def rows_as_elements(sc):
    from pyspark.sql import Row

    person = Row("name", "age")
    rdd = sc.parallelize([person("a", 1), person("b", 2)], 2)
    return [
        rdd.map(lambda r: r.name).collect(),
        rdd.map(lambda r: r.asDict()).collect(),
        rdd.map(lambda r: r["age"] + 1).collect(),
        rdd.collect(),
        rdd.map(lambda r: Row(x=r.age)).collect(),
        rdd.keyBy(lambda r: r.name).lookup("b"),
        rdd.map(tuple).collect(),
    ]
