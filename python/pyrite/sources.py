"""How a context makes RDDs: from elements, ranges, files and other RDDs."""

import os
import sys
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Iterable, List, Optional, Sequence, Sized, TypeVar

from pyspark.serializers import (
    BatchedSerializer,
    CPickleSerializer,
    NoOpSerializer,
    Serializer,
    UTF8Deserializer,
    write_int,
)

from pyrite import graph
from pyrite.hadoop.sources import HadoopSources
from pyrite.rdd import RDD, kernels, whole_files
from pyrite.serializers import payloads_of, payloads_of_array

if TYPE_CHECKING:
    from pyrite.context import SparkContext

T = TypeVar("T")

# Collections up to this size travel inside the request; larger ones lie in a file, so that a job
# over one partition does not carry all of them.
INLINE_LIMIT_BYTES = 256 * 1024


class Sources(HadoopSources):
    """Methods of a context that create RDDs."""

    serializer: Serializer
    _unbatched_serializer: Any
    _batchSize: int

    @property
    def defaultParallelism(self) -> int:
        """Number of partitions of an RDD that does not say how many it wants."""
        raise NotImplementedError

    @property
    def defaultMinPartitions(self) -> int:
        """Least number of partitions of a file that does not say how many it wants."""
        return min(self.defaultParallelism, 2)

    def _directory(self, name: str) -> str:
        raise NotImplementedError

    def _context(self) -> "SparkContext":
        raise NotImplementedError

    def emptyRDD(self) -> "RDD[Any]":
        """Return an RDD without partitions."""
        return RDD(graph.EmptyPartitions(0), self._context(), NoOpSerializer())

    def range(
        self, start: int, end: Optional[int] = None, step: int = 1, numSlices: Optional[int] = None
    ) -> "RDD[int]":
        """Return an RDD of the numbers of a range, made on the workers.

        Parameters
        ----------
        start, end, step
            As those of :class:`range`.
        numSlices
            Number of partitions; :attr:`defaultParallelism` if None.
        """
        if end is None:
            start, end = 0, start
        return self.parallelize(range(start, end, step), numSlices)

    def parallelize(self, c: Iterable[T], numSlices: Optional[int] = None) -> "RDD[T]":
        """Return an RDD of the elements of a collection, which is pickled at once.

        Parameters
        ----------
        c
            The elements. A :class:`range` is not sent but made on the workers.
        numSlices
            Number of partitions; :attr:`defaultParallelism` if None.
        """
        count = int(numSlices) if numSlices is not None else self.defaultParallelism
        if count < 0:
            from pyspark.errors import IllegalArgumentException

            raise IllegalArgumentException("Positive number of partitions required")
        context = self._context()
        context._assert_running()
        if isinstance(c, range) and len(c) > 0 and count > 0:
            partitions: RDD[Any] = RDD(graph.EmptyPartitions(count), context, NoOpSerializer())
            return partitions._apply(partial(kernels.range_partition, c[0], c.step, len(c), count))
        elements = c if isinstance(c, Sized) else list(c)
        # Batches are what is dealt out to partitions, so small collections need small batches.
        size = max(1, min(len(elements) // count, self._batchSize or 1024))
        serializer = BatchedSerializer(self._unbatched_serializer, size)
        if _is_plain_array(elements) and isinstance(self._unbatched_serializer, CPickleSerializer):
            frames = payloads_of_array(elements, size)
        else:
            frames = payloads_of(serializer, elements)
        slices = self._cut(frames, count)
        return RDD(graph.ParallelCollection(slices), context, serializer)

    def _cut(self, frames: List[bytes], count: int) -> List[graph.Slice]:
        parts = [frames[i * len(frames) // count : (i + 1) * len(frames) // count] for i in range(count)]
        if sum(map(len, frames)) <= INLINE_LIMIT_BYTES:
            return [graph.Slice(frames=part) for part in parts]
        name = uuid.uuid4().hex
        slices = []
        with open(os.path.join(self._directory("parallel"), name), "wb") as file:
            for part in parts:
                offset = file.tell()
                for frame in part:
                    write_int(len(frame), file)
                    file.write(frame)
                slices.append(graph.Slice(file=name, offset_bytes=offset, length_bytes=file.tell() - offset))
        return slices

    def textFile(self, name: str, minPartitions: Optional[int] = None, use_unicode: bool = True) -> "RDD[str]":
        """Return the lines of text files.

        Parameters
        ----------
        name
            Path, directory or glob, or several separated by commas.
        minPartitions
            Least number of partitions.
        use_unicode
            Whether lines are `str`; else they are the `bytes` of the file.
        """
        least = minPartitions or self.defaultMinPartitions
        lines: RDD[str] = RDD(graph.TextFile(str(name), least), self._context(), UTF8Deserializer(use_unicode))
        return lines.setName(str(name))

    def union(self, rdds: "List[RDD[T]]") -> "RDD[T]":
        """Return the elements of all these RDDs, one after the other."""
        return self._union(rdds)

    def _union(self, rdds: "List[RDD[Any]]") -> "RDD[Any]":
        serializer = rdds[0]._serializer
        if any(rdd._serializer != serializer for rdd in rdds):
            rdds = [rdd._reserialize() for rdd in rdds]
            serializer = rdds[0]._serializer
        partitioner = rdds[0].partitioner
        alike = partitioner is not None and all(rdd.partitioner == partitioner for rdd in rdds)
        joined: RDD[Any] = RDD(graph.Union(tuple(rdds)), self._context(), serializer, hidden=alike)
        if not alike:
            return joined
        assert partitioner is not None
        # Members that are partitioned alike stay so: partition p of each goes to partition p, as in
        # Spark's PartitionerAwareUnionRDD. Here it costs an exchange of the frames.
        count = partitioner.numPartitions
        kept = joined._apply(partial(kernels.keep_partition, count), serializer=NoOpSerializer(), raw_input=True)
        return RDD(graph.Shuffle(kept, count, "union"), self._context(), serializer, partitioner)

    def wholeTextFiles(self, path: str, minPartitions: Optional[int] = None, use_unicode: bool = True) -> "RDD[Any]":
        """Return one pair of name and content for each text file.

        Parameters
        ----------
        path
            Path, directory or glob that application and workers share, or several with commas.
        minPartitions
            About how many partitions.
        use_unicode
            Whether content is `str`; else both are `bytes`.
        """
        kernel = partial(whole_files.read_text, use_unicode)
        return self._whole_files(
            path, minPartitions, kernel, "wholeTextFiles", "WholeTextFileRDD", "MapPartitionsRDD"
        ).setName(path)

    def binaryFiles(self, path: str, minPartitions: Optional[int] = None) -> "RDD[Any]":
        """Return one pair of name and bytes for each file; paths as in :meth:`wholeTextFiles`."""
        return self._whole_files(path, minPartitions, whole_files.read_bytes, "binaryFiles", "BinaryFileRDD").setName(
            path
        )

    def binaryRecords(self, path: str, recordLength: int) -> "RDD[bytes]":
        """Return the records of files that hold records of one length and nothing else."""
        if recordLength <= 0:
            raise ValueError(f"recordLength must be positive, got {recordLength}")
        kernel = partial(whole_files.read_records, recordLength)
        return self._whole_files(path, None, kernel, "binaryRecords", "NewHadoopRDD", "MapPartitionsRDD")

    def _whole_files(
        self, path: str, minPartitions: Optional[int], kernel: kernels.Kernel, operation: str, *shown: str
    ) -> "RDD[Any]":
        files = whole_files.list_files(path)
        groups = whole_files.pack(files, minPartitions or self.defaultMinPartitions)
        return self._from_parts(groups, kernel, operation, *shown)

    def _from_parts(self, parts: Sequence[Any], kernel: kernels.Kernel, operation: str, *shown: str) -> "RDD[Any]":
        """Return the RDD of what a kernel makes of each of these parts, one a partition.

        Parameters
        ----------
        operation, shown
            The method and the classes of RDDs that Spark has for it.
        """
        serializer = BatchedSerializer(self._unbatched_serializer, 1)
        slices = [graph.Slice(frames=payloads_of(serializer, [part])) for part in parts] or [graph.Slice()]
        base: RDD[Any] = RDD(graph.ParallelCollection(slices), self._context(), serializer, hidden=True)
        rdd = base._apply(kernel)
        rdd._shown_as = tuple((kind, f"{operation} at NativeMethodAccessorImpl.java:0") for kind in shown)
        rdd._lineage()
        return rdd


def _is_plain_array(elements: Any) -> bool:
    """Tell whether these are NumPy numbers in one buffer, without importing NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(elements) is numpy.ndarray and elements.dtype.kind in "biufcSUmM"
