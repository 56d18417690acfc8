"""What a context reads through Hadoop's formats."""

from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, Optional, Sequence

from pyspark.serializers import CPickleSerializer

from pyrite.errors import not_supported
from pyrite.hadoop import formats, java_arrays
from pyrite.hadoop.splits import FileSplit
from pyrite.rdd import kernels

if TYPE_CHECKING:
    from pyrite.context import SparkContext
    from pyrite.rdd import RDD


class HadoopSources:
    """Methods of a context that read Hadoop's formats.

    Where a method takes converters, there are none: they are Java classes.
    """

    def _context(self) -> "SparkContext":
        raise NotImplementedError

    def _from_parts(self, parts: Sequence[Any], kernel: kernels.Kernel, operation: str, *shown: str) -> "RDD[Any]":
        raise NotImplementedError

    def pickleFile(self, name: str, minPartitions: Optional[int] = None) -> "RDD[Any]":
        """Read what :meth:`RDD.saveAsPickleFile` wrote, here or on Spark.

        Parameters
        ----------
        name
            Path, directory or glob, or several separated by commas.
        minPartitions
            About the least number of partitions.
        """
        wanted = minPartitions or self._context().defaultMinPartitions
        found = formats.input_of(formats.OLD_API + "SequenceFileInputFormat", new_api=False)
        parts = formats.plan_input(found, name, {}, wanted)
        return self._from_parts(parts, _read_pickled, "objectFile", "HadoopRDD", "MapPartitionsRDD")

    def sequenceFile(
        self,
        path: str,
        keyClass: Optional[str] = None,
        valueClass: Optional[str] = None,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        minSplits: Optional[int] = None,
        batchSize: int = 0,
    ) -> "RDD[Any]":
        """Read the pairs of Hadoop sequence files.

        Parameters
        ----------
        path
            Path, directory or glob, or several separated by commas.
        keyClass, valueClass
            Java classes of keys and values; the files name them too, and what they say counts.
        keyConverter, valueConverter
            Java classes; must be None.
        minSplits
            About the least number of partitions.
        batchSize
            Without effect: workers write batches that adapt to their size.
        """
        name = formats.OLD_API + "SequenceFileInputFormat"
        wanted = minSplits or self._context().defaultMinPartitions
        return self._pairs(path, name, "sequenceFile", {}, wanted, keyConverter, valueConverter)

    def newAPIHadoopFile(
        self,
        path: str,
        inputFormatClass: str,
        keyClass: str,
        valueClass: str,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        conf: Optional[Dict[str, str]] = None,
        batchSize: int = 0,
    ) -> "RDD[Any]":
        """Read files in a format of Hadoop's newer API.

        Parameters
        ----------
        path
            Path, directory or glob, or several separated by commas.
        inputFormatClass
            ``org.apache.hadoop.mapreduce.lib.input.`` and ``TextInputFormat``,
            ``KeyValueTextInputFormat`` or ``SequenceFileInputFormat``.
        keyClass, valueClass
            Java classes of keys and values; they follow from the format.
        keyConverter, valueConverter
            Java classes; must be None.
        conf
            Settings of Hadoop's, such as ``textinputformat.record.delimiter``.
        batchSize
            Without effect.
        """
        return self._pairs(path, inputFormatClass, "newAPIHadoopFile", conf, None, keyConverter, valueConverter)

    def newAPIHadoopRDD(
        self,
        inputFormatClass: str,
        keyClass: str,
        valueClass: str,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        conf: Optional[Dict[str, str]] = None,
        batchSize: int = 0,
    ) -> "RDD[Any]":
        """Read what a configuration names in a format of Hadoop's newer API.

        Parameters are those of :meth:`newAPIHadoopFile`; the path is the setting
        ``mapreduce.input.fileinputformat.inputdir``.
        """
        paths = formats.input_paths(conf or {})
        return self._pairs(paths, inputFormatClass, "newAPIHadoopRDD", conf, None, keyConverter, valueConverter)

    def hadoopFile(
        self,
        path: str,
        inputFormatClass: str,
        keyClass: str,
        valueClass: str,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        conf: Optional[Dict[str, str]] = None,
        batchSize: int = 0,
    ) -> "RDD[Any]":
        """Read files in a format of Hadoop's older API.

        Parameters are those of :meth:`newAPIHadoopFile`; the classes are below
        ``org.apache.hadoop.mapred.``.
        """
        wanted = self._context().defaultMinPartitions
        return self._pairs(path, inputFormatClass, "hadoopFile", conf, wanted, keyConverter, valueConverter)

    def hadoopRDD(
        self,
        inputFormatClass: str,
        keyClass: str,
        valueClass: str,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        conf: Optional[Dict[str, str]] = None,
        batchSize: int = 0,
    ) -> "RDD[Any]":
        """Read what a configuration names in a format of Hadoop's older API.

        Parameters are those of :meth:`hadoopFile`; the path is the setting
        ``mapreduce.input.fileinputformat.inputdir``.
        """
        paths = formats.input_paths(conf or {})
        wanted = self._context().defaultMinPartitions
        return self._pairs(paths, inputFormatClass, "hadoopRDD", conf, wanted, keyConverter, valueConverter)

    def _pairs(
        self,
        paths: str,
        format_class: str,
        operation: str,
        conf: Optional[Dict[str, str]],
        wanted: Optional[int],
        *converters: Optional[str],
    ) -> "RDD[Any]":
        refuse_converters(*converters)
        settings = conf or {}
        found = formats.input_of(format_class, new_api=wanted is None)
        parts = formats.plan_input(found, paths, settings, wanted)
        kernel = formats.reading(found, settings)
        return self._from_parts(parts, kernel, operation, "NewHadoopRDD" if wanted is None else "HadoopRDD")


def refuse_converters(*converters: Optional[str]) -> None:
    """Check that there are no converters.

    Raises
    ------
    PySparkNotImplementedError
        If there is one.
    """
    for converter in converters:
        if converter is not None:
            raise not_supported(f"the converter {converter}: it is a Java class")


def _read_pickled(split: int, parts: Iterable[FileSplit]) -> Iterator[Any]:
    serializer = CPickleSerializer()
    for part in parts:
        for _, value in formats.read_sequence({}, part):
            for batch in java_arrays.load(value):
                yield from serializer.loads(batch)
