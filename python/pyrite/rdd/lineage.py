"""RDDs as Spark shows them: its names, numbers and lineage in ``repr`` and ``toDebugString``.

One RDD here can stand for several of Spark's; a shuffle for four. Numbers are given out when Spark
would make its RDDs, so they agree as long as a program does nothing that only one of the two needs
an RDD for.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Optional, Tuple

from pyrite import graph

if TYPE_CHECKING:
    from pyrite.rdd.base import RDDCore

_FROM_PYTHON = "NativeMethodAccessorImpl.java:0"
_FUNCTION_SITE = "RDD at PythonRDD.scala:59"
_COLLECTION_SITE = "readRDDFromFile at PythonRDD.scala:326"
_VALUES_SITE = "mapPartitions at PythonRDD.scala:197"

# Class and call site of an RDD of Spark's.
Step = Tuple[str, str]


@dataclass(eq=False)
class Shown:
    """An RDD of Spark's.

    Parameters
    ----------
    id
        Its number.
    kind, site
        Its class, and the call that made it.
    rdd
        An RDD with as many partitions.
    parents
        What it is computed from.
    shuffled
        Whether a shuffle lies between it and its parents.
    name
        A name of its own, if it is not that of `rdd`.
    """

    id: int
    kind: str
    site: str
    rdd: "RDDCore[Any]"
    parents: List["Shown"] = field(default_factory=list)
    shuffled: bool = False
    name: Optional[str] = None

    def __str__(self) -> str:
        name = self.rdd._name if self is self.rdd._shown else self.name
        return f"{name + ' ' if name else ''}{self.kind}[{self.id}] at {self.site}"


def show(rdd: "RDDCore[Any]", site: Optional[str] = None) -> Shown:
    """Return what Spark would have for an RDD, giving it numbers.

    Parameters
    ----------
    site
        The user's call, where Spark notes that instead of its own.
    """
    source = rdd._source
    if rdd._shown_as:
        return _chain(rdd, [], rdd._shown_as)
    if isinstance(source, graph.TextFile):
        steps = [(kind, f"textFile at {_FROM_PYTHON}") for kind in ("HadoopRDD", "MapPartitionsRDD")]
        return _chain(rdd, [], steps, source.path)
    if isinstance(source, graph.Shuffle):
        return _shuffle(rdd, source, site)
    parents = [parent._lineage() for parent in source.parents]
    return _chain(rdd, parents, _steps(source, site))


def _steps(source: graph.Source, site: Optional[str]) -> Iterable[Step]:
    if isinstance(source, graph.PythonMap):
        return [("PythonRDD", site or _FUNCTION_SITE)]
    if isinstance(source, graph.ParallelCollection):
        return [("ParallelCollectionRDD", _COLLECTION_SITE)]
    if isinstance(source, graph.EmptyPartitions):
        # Partitions without elements are what a range is made in.
        if source.count:
            return [("ParallelCollectionRDD", _COLLECTION_SITE)]
        return [("EmptyRDD", f"emptyRDD at {_FROM_PYTHON}")]
    kind, operation = _SIMPLE.get(type(source), (type(source).__name__, "javaToPython"))
    return [(kind, f"{operation} at {_FROM_PYTHON}")]


_SIMPLE = {
    graph.Union: ("UnionRDD", "union"),
    graph.Coalesce: ("CoalescedRDD", "coalesce"),
    graph.Zip: ("ZippedPartitionsRDD2", "zip"),
    graph.Cartesian: ("CartesianRDD", "cartesian"),
    graph.DataFrameRows: ("MapPartitionsRDD", "javaToPython"),
}


def _chain(rdd: "RDDCore[Any]", parents: List[Shown], steps: Iterable[Step], name: Optional[str] = None) -> Shown:
    """Return the last of several RDDs, each computed from the one before."""
    for kind, site in steps:
        shown = Shown(rdd.ctx._next_rdd_id(), kind, site, rdd, parents, name=name)
        parents = [shown]
    return shown


def _shuffle(rdd: "RDDCore[Any]", source: graph.Shuffle, site: Optional[str]) -> Shown:
    keyed, context = source.parent, rdd.ctx
    if source.operation == "union":
        members = [member._lineage() for member in keyed._source.parents[0]._source.parents]
        return _chain(rdd, members, [("PartitionerAwareUnionRDD", f"union at {_FROM_PYTHON}")])
    if source.operation == "coalesce":
        before = keyed._lineage()
        steps = [(kind, f"coalesce at {_FROM_PYTHON}") for kind in ("MapPartitionsRDD", "ShuffledRDD")]
        after = [(kind, f"coalesce at {_FROM_PYTHON}") for kind in ("CoalescedRDD", "MapPartitionsRDD")]
    else:
        before = keyed._lineage(site)
        if not isinstance(keyed._source, graph.PythonMap):
            # A join writes the frames of each side at once, where Spark does it after their union.
            before = Shown(context._next_rdd_id(), "PythonRDD", site or _FUNCTION_SITE, keyed, [before])
        steps = [("PairwiseRDD", site or _FUNCTION_SITE), ("ShuffledRDD", f"partitionBy at {_FROM_PYTHON}")]
        after = [("MapPartitionsRDD", _VALUES_SITE)]
    mapped = Shown(context._next_rdd_id(), *steps[0], keyed, [before])
    exchanged = Shown(context._next_rdd_id(), *steps[1], rdd, [mapped], shuffled=True)
    return _chain(rdd, [exchanged], after)


def debug_string(root: "RDDCore[Any]") -> str:
    """Return the lineage of an RDD, indented where shuffles cut it."""
    level = root._storage_level
    suffix = f" [{level if level is not None else ''}]"
    head, first = _labels(root._lineage(), "")
    lines = [f"{head} {root._lineage()}{suffix}"]
    # A stack instead of recursion: lineages can be long.
    stack = _below(root._lineage(), first)
    while stack:
        shown, prefix, shuffled, is_last = stack.pop()
        if not shuffled:
            lines.append(f"{prefix}{shown}{suffix}")
            stack.extend(_below(shown, prefix))
            continue
        outer = prefix.rstrip()
        outer = outer[:-1] if outer.endswith("|") else prefix
        head, inner = _labels(shown, outer + ("  " if is_last else "| "))
        lines.append(f"{outer}+-{head} {shown}{suffix}")
        stack.extend(_below(shown, inner))
    return "\n".join(lines)


def _labels(shown: Shown, before: str) -> Tuple[str, str]:
    """Return the number of partitions in brackets, and what stands before the lines below it."""
    label = f"({shown.rdd.getNumPartitions()})"
    left = (len(label) - 1) // 2
    return label, f"{before}{' ' * left}|{' ' * (len(label) - left)}"


def _below(shown: Shown, prefix: str) -> List[Tuple[Shown, str, bool, bool]]:
    return list(reversed(list(_parents(shown, prefix))))


def _parents(shown: Shown, prefix: str) -> Iterator[Tuple[Shown, str, bool, bool]]:
    for position, parent in enumerate(shown.parents, 1):
        yield parent, prefix, shown.shuffled, position == len(shown.parents)
