"""Actions that write files in Hadoop's formats."""

from functools import partial
from itertools import islice
from typing import Dict, Iterable, Iterator, Optional, Tuple

from pyspark.errors import UnsupportedOperationException
from pyspark.serializers import AutoBatchedSerializer, BatchedSerializer, CPickleSerializer, Serializer

from pyrite.hadoop import formats, java_arrays, output, writables
from pyrite.hadoop.sequence import SequenceFileWriter
from pyrite.hadoop.sources import refuse_converters
from pyrite.rdd.base import RDDCore, T_co

# Batches that Spark gathers in one record of an object file.
_BATCHES_IN_RECORD = 10


class Saving(RDDCore[T_co]):
    """Operations that write files.

    Where a method takes converters, there are none: they are Java classes.
    """

    def saveAsPickleFile(self, path: str, batchSize: int = 10) -> None:
        """Write elements as pickled batches that :meth:`SparkContext.pickleFile` reads, here or on Spark.

        Parameters
        ----------
        path
            A directory that does not exist yet.
        batchSize
            Elements pickled together; 0 chooses by their size.
        """
        pickle = CPickleSerializer()
        batched: Serializer = AutoBatchedSerializer(pickle) if batchSize == 0 else BatchedSerializer(pickle, batchSize)
        directory = output.local_path(path)
        frames = self._reserialize(batched)
        output.write(frames._apply(partial(_write_batches, directory), raw_input=True), directory)

    def saveAsSequenceFile(self, path: str, compressionCodecClass: Optional[str] = None) -> None:
        """Write pairs to Hadoop sequence files.

        Parameters
        ----------
        path
            A directory that does not exist yet.
        compressionCodecClass
            Name of a Hadoop codec such as ``org.apache.hadoop.io.compress.GzipCodec``.
        """
        self.saveAsHadoopFile(path, formats.SEQUENCE_OUTPUT, compressionCodecClass=compressionCodecClass)

    def saveAsHadoopFile(
        self,
        path: str,
        outputFormatClass: str,
        keyClass: Optional[str] = None,
        valueClass: Optional[str] = None,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        conf: Optional[Dict[str, str]] = None,
        compressionCodecClass: Optional[str] = None,
    ) -> None:
        """Write pairs in a format of Hadoop's older API.

        Parameters
        ----------
        path
            A directory that does not exist yet.
        outputFormatClass
            ``org.apache.hadoop.mapred.`` and ``TextOutputFormat`` or ``SequenceFileOutputFormat``.
        keyClass, valueClass
            Java classes of keys and values; those of the first pair if None.
        keyConverter, valueConverter
            Java classes; must be None.
        conf
            Settings of Hadoop's, such as those of compression.
        compressionCodecClass
            Name of a Hadoop codec.
        """
        refuse_converters(keyConverter, valueConverter)
        settings = formats.compressed_by_block(conf, compressionCodecClass)
        self._save(path, outputFormatClass, False, settings, keyClass, valueClass)

    def saveAsNewAPIHadoopFile(
        self,
        path: str,
        outputFormatClass: str,
        keyClass: Optional[str] = None,
        valueClass: Optional[str] = None,
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
        conf: Optional[Dict[str, str]] = None,
    ) -> None:
        """Write pairs in a format of Hadoop's newer API.

        Parameters are those of :meth:`saveAsHadoopFile`; the classes are below
        ``org.apache.hadoop.mapreduce.lib.output.``.
        """
        refuse_converters(keyConverter, valueConverter)
        self._save(path, outputFormatClass, True, conf or {}, keyClass, valueClass)

    def saveAsHadoopDataset(
        self,
        conf: Dict[str, str],
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
    ) -> None:
        """Write pairs as a configuration of Hadoop's older API says.

        Parameters
        ----------
        conf
            Names the format (``mapred.output.format.class``), the directory
            (``mapreduce.output.fileoutputformat.outputdir``) and the classes of keys and values.
        keyConverter, valueConverter
            Java classes; must be None.
        """
        self._save_dataset(conf, False, keyConverter, valueConverter)

    def saveAsNewAPIHadoopDataset(
        self,
        conf: Dict[str, str],
        keyConverter: Optional[str] = None,
        valueConverter: Optional[str] = None,
    ) -> None:
        """Write pairs as a configuration of Hadoop's newer API says.

        Parameters are those of :meth:`saveAsHadoopDataset`; the format is the setting
        ``mapreduce.job.outputformat.class``.
        """
        self._save_dataset(conf, True, keyConverter, valueConverter)

    def _save_dataset(self, conf: Dict[str, str], new_api: bool, *converters: Optional[str]) -> None:
        refuse_converters(*converters)
        format_class = formats.output_format(conf, new_api)
        key_class, value_class = formats.output_classes(conf)
        self._save(formats.output_directory(conf), format_class, new_api, conf, key_class, value_class)

    def _save(
        self,
        path: str,
        format_class: str,
        new_api: bool,
        conf: Dict[str, str],
        key_class: Optional[str],
        value_class: Optional[str],
    ) -> None:
        directory = output.local_path(path)
        out = formats.output_of(format_class, new_api, conf, key_class, value_class)
        if out.sequence and (key_class is None or value_class is None):
            found = self._classes_of_first()
            out = out._replace(key_class=key_class or found[0], value_class=value_class or found[1])
        output.write(self._apply(partial(formats.write_pairs, out, directory)), directory)

    def _classes_of_first(self) -> Tuple[str, str]:
        first = self._self().take(1)
        if not first:
            raise UnsupportedOperationException("empty collection")
        key, value = writables.encode_pair(first[0])
        return key.class_name, value.class_name


def _write_batches(directory: str, split: int, frames: Iterable[bytes]) -> Iterator[str]:
    """Write frames to an object file and yield where it lies."""
    with output.pending_file(directory, f"part-{split:05d}") as (file, path):
        writer = SequenceFileWriter(file, writables.NULL, writables.BYTES)
        batches = iter(frames)
        while gathered := list(islice(batches, _BATCHES_IN_RECORD)):
            record = writables.encode(java_arrays.dump(gathered))
            writer.append(b"", record.data)
        writer.finish()
    yield path
