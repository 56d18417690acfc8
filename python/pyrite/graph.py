"""Where an RDD comes from: one class for each kind of node that the driver plans.

A source knows its parents, how to describe itself to the driver, and its number of partitions
where that follows from the parents alone.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from pyspark.serializers import CloudPickleSerializer, Serializer
from pyspark.storagelevel import StorageLevel

from pyrite.rdd.kernels import Pipeline

if TYPE_CHECKING:
    from pyspark.profiler import Profiler

    from pyrite.broadcast import Broadcast
    from pyrite.context import SparkContext
    from pyrite.rdd.base import RDDCore


class Source:
    """Base of all sources."""

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """RDDs that this one is computed from."""
        return ()

    def num_partitions(self) -> Optional[int]:
        """Return the number of partitions, or None if only the driver can tell."""
        raise NotImplementedError

    def fill(self, node: Any) -> None:
        """Describe the source in a ``pyrite.core.RddNode``."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return a name for debug output."""
        return type(self).__name__


@dataclass
class Slice:
    """One partition of a parallelised collection: frames, or where they lie in a file."""

    frames: Sequence[bytes] = ()
    file: str = ""
    offset_bytes: int = 0
    length_bytes: int = 0


@dataclass
class ParallelCollection(Source):
    """Elements that the application holds."""

    slices: List[Slice]

    def num_partitions(self) -> Optional[int]:
        """Return the number of slices."""
        return len(self.slices)

    def fill(self, node: Any) -> None:
        """Describe the slices."""
        node.parallel_collection.SetInParent()
        for part in self.slices:
            node.parallel_collection.slices.add(
                frames=part.frames,
                file=part.file,
                offset_bytes=part.offset_bytes,
                length_bytes=part.length_bytes,
            )


@dataclass
class EmptyPartitions(Source):
    """Partitions without elements."""

    count: int

    def num_partitions(self) -> Optional[int]:
        """Return the number of partitions."""
        return self.count

    def fill(self, node: Any) -> None:
        """Describe the partitions."""
        node.empty_partitions.SetInParent()
        node.empty_partitions.num_partitions = self.count


@dataclass
class TextFile(Source):
    """Lines of text files."""

    path: str
    min_partitions: int

    def num_partitions(self) -> Optional[int]:
        """Return None: it depends on the sizes of the files."""
        return None

    def fill(self, node: Any) -> None:
        """Describe the files."""
        node.text_file.path = self.path
        node.text_file.min_partitions = self.min_partitions


@dataclass
class DataFrameRows(Source):
    """Rows of a DataFrame as Arrow IPC streams."""

    relation: bytes
    session_id: str
    user_id: str

    def num_partitions(self) -> Optional[int]:
        """Return None: the DataFrame has to be planned first."""
        return None

    def fill(self, node: Any) -> None:
        """Describe the relation."""
        node.data_frame_rows.relation = self.relation
        node.data_frame_rows.session_id = self.session_id
        node.data_frame_rows.user_id = self.user_id


@dataclass
class PythonMap(Source):
    """A Python function over each partition of the parent."""

    context: "SparkContext"
    parent: "RDDCore[Any]"
    pipeline: Pipeline
    deserializer: Serializer
    serializer: Serializer
    # Whether the tasks run together and may wait for each other.
    barrier: bool = False
    _command: Optional[bytes] = field(default=None, repr=False)
    _broadcasts: Tuple["Broadcast[Any]", ...] = ()

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """Return the one parent."""
        return (self.parent,)

    def num_partitions(self) -> Optional[int]:
        """Return what the parent has."""
        return self.parent.getNumPartitions()

    def fill(self, node: Any) -> None:
        """Describe the function, pickling it the first time."""
        if self._command is None:
            with self.context._collect_broadcasts() as broadcasts:
                profiler = self._profiler(node.id)
                self._command = dump_command((self.pipeline, profiler, self.deserializer, self.serializer))
            self._broadcasts = tuple(sorted(broadcasts, key=lambda broadcast: broadcast._id))
        for broadcast in self._broadcasts:
            broadcast._assert_valid()
        node.python_map.parent_id = self.parent.id()
        function = node.python_map.function
        function.command = self._command
        function.broadcast_ids.extend(broadcast._id for broadcast in self._broadcasts)
        self.context._fill_environment(function)

    def _profiler(self, rdd_id: int) -> Optional["Profiler"]:
        """Return a new profiler for the function, None unless the application wants profiles."""
        collector = self.context.profiler_collector
        if collector is None:
            return None
        profiler = collector.new_profiler(self.context)
        collector.add_profiler(rdd_id, profiler)
        return profiler


@dataclass
class Union(Source):
    """Partitions of all parents, one parent after the other."""

    members: Tuple["RDDCore[Any]", ...]

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """Return all members."""
        return self.members

    def num_partitions(self) -> Optional[int]:
        """Return the sum over the members."""
        return sum(member.getNumPartitions() for member in self.members)

    def fill(self, node: Any) -> None:
        """Describe the members."""
        node.union.SetInParent()
        node.union.parent_ids.extend(member.id() for member in self.members)


@dataclass
class Shuffle(Source):
    """Frames that start with their target partition, delivered there."""

    parent: "RDDCore[Any]"
    count: int
    # What of Spark's this is: partitionBy, coalesce, or the union of RDDs partitioned alike.
    operation: str = "partitionBy"

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """Return the one parent."""
        return (self.parent,)

    def num_partitions(self) -> Optional[int]:
        """Return the number of target partitions."""
        return self.count

    def fill(self, node: Any) -> None:
        """Describe the exchange."""
        node.shuffle.parent_id = self.parent.id()
        node.shuffle.num_partitions = self.count


@dataclass
class Coalesce(Source):
    """Fewer partitions, made of consecutive ones of the parent."""

    parent: "RDDCore[Any]"
    count: int

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """Return the one parent."""
        return (self.parent,)

    def num_partitions(self) -> Optional[int]:
        """Return the wanted number, never more than the parent has."""
        return min(self.count, self.parent.getNumPartitions())

    def fill(self, node: Any) -> None:
        """Describe the concatenation."""
        node.coalesce.parent_id = self.parent.id()
        node.coalesce.num_partitions = self.count


@dataclass
class Zip(Source):
    """Frames of both parents side by side."""

    left: "RDDCore[Any]"
    right: "RDDCore[Any]"

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """Return both parents."""
        return (self.left, self.right)

    def num_partitions(self) -> Optional[int]:
        """Return what either parent has."""
        return self.left.getNumPartitions()

    def fill(self, node: Any) -> None:
        """Describe the pairing."""
        node.zip.left_id = self.left.id()
        node.zip.right_id = self.right.id()


@dataclass
class Cartesian(Source):
    """Every pair of frames of both parents."""

    left: "RDDCore[Any]"
    right: "RDDCore[Any]"

    @property
    def parents(self) -> Tuple["RDDCore[Any]", ...]:
        """Return both parents."""
        return (self.left, self.right)

    def num_partitions(self) -> Optional[int]:
        """Return the product of what the parents have."""
        return self.left.getNumPartitions() * self.right.getNumPartitions()

    def fill(self, node: Any) -> None:
        """Describe the pairing."""
        node.cartesian.left_id = self.left.id()
        node.cartesian.right_id = self.right.id()


def stage_of(rdd: "RDDCore[Any]") -> List["RDDCore[Any]"]:
    """Return the RDDs that are computed in the same stage as `rdd`, which comes first."""
    found, seen = [], set()
    stack = [rdd]
    while stack:
        member = stack.pop()
        if member.id() not in seen:
            seen.add(member.id())
            found.append(member)
            if not isinstance(member._source, Shuffle):
                stack.extend(member._source.parents)
    return found


def dump_command(command: Any) -> bytes:
    """Pickle what a Python worker is to run.

    Raises
    ------
    pickle.PicklingError
        If something in it cannot be pickled; says what.
    """
    data: bytes = CloudPickleSerializer().dumps(command)
    return data


def build_graph(
    message: Any, root: "RDDCore[Any]", prepare: Optional[Callable[["RDDCore[Any]", Any], None]] = None
) -> None:
    """Write the lineage of `root` into a ``pyrite.core.RddGraph``, parents before children.

    Parameters
    ----------
    prepare
        Called with every RDD whose source is a Python function, and its ``pyrite.core.PythonMap``.
    """
    seen: Set[int] = set()
    # A stack instead of recursion: iterative programs build lineages of thousands of RDDs.
    stack: List[Tuple[RDDCore[Any], bool]] = [(root, False)]
    while stack:
        rdd, parents_done = stack.pop()
        if rdd.id() in seen:
            continue
        if not parents_done:
            stack.append((rdd, True))
            stack.extend((p, False) for p in reversed(rdd._source.parents) if p.id() not in seen)
            continue
        seen.add(rdd.id())
        node = message.nodes.add(id=rdd.id(), name=rdd._name or "")
        if rdd._storage_level is not None:
            _fill_storage_level(node.storage_level, rdd._storage_level)
        rdd._source.fill(node)
        if prepare is not None and isinstance(rdd._source, PythonMap):
            prepare(rdd, node.python_map)
    message.root_id = root.id()


def _fill_storage_level(message: Any, level: StorageLevel) -> None:
    fields: Dict[str, Any] = {
        "use_disk": level.useDisk,
        "use_memory": level.useMemory,
        "use_off_heap": level.useOffHeap,
        "deserialized": level.deserialized,
        "replication": level.replication,
    }
    for name, value in fields.items():
        setattr(message, name, value)
