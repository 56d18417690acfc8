"""Hadoop's input and output formats by the names of their Java classes.

Only formats whose work Python can do are here; the name of any other is an error that names it.
"""

from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from pyrite.errors import not_supported
from pyrite.hadoop import codecs, splits, text, writables
from pyrite.hadoop.errors import no_input_paths, no_output_directory, wrong_class
from pyrite.hadoop.output import pending_file
from pyrite.hadoop.sequence import SYNC_INTERVAL_BYTES, SequenceFileReader, SequenceFileWriter
from pyrite.hadoop.splits import FileSplit
from pyrite.rdd.whole_files import list_files

OLD_API, NEW_API = "org.apache.hadoop.mapred.", "org.apache.hadoop.mapreduce.lib."
SEQUENCE_OUTPUT = OLD_API + "SequenceFileOutputFormat"

Conf = Mapping[str, str]

_INPUT_DIRECTORY = ("mapreduce.input.fileinputformat.inputdir", "mapred.input.dir")
_OUTPUT_DIRECTORY = ("mapreduce.output.fileoutputformat.outputdir", "mapred.output.dir")
_LEAST_SPLIT = ("mapreduce.input.fileinputformat.split.minsize", "mapred.min.split.size")
_MOST_SPLIT = ("mapreduce.input.fileinputformat.split.maxsize", "mapred.max.split.size")
_COMPRESS = ("mapreduce.output.fileoutputformat.compress", "mapred.output.compress")
_CODEC = ("mapreduce.output.fileoutputformat.compress.codec", "mapred.output.compression.codec")
_COMPRESSION_TYPE = ("mapreduce.output.fileoutputformat.compress.type", "mapred.output.compression.type")
_SEPARATOR = (
    "mapreduce.output.textoutputformat.separator",
    "mapreduce.textoutputformat.separator",
    "mapred.textoutputformat.separator",
)
_KEY_VALUE_SEPARATOR = (
    "mapreduce.input.keyvaluelinerecordreader.key.value.separator",
    "key.value.separator.in.input.line",
)
_OLD_OUTPUT_FORMAT = ("mapred.output.format.class",)
_NEW_OUTPUT_FORMAT = ("mapreduce.job.outputformat.class", "mapreduce.outputformat.class")
_KEY_CLASS = ("mapreduce.job.output.key.class", "mapred.output.key.class")
_VALUE_CLASS = ("mapreduce.job.output.value.class", "mapred.output.value.class")
_DELIMITER = ("textinputformat.record.delimiter",)


def setting(conf: Conf, names: Tuple[str, ...], default: str = "") -> str:
    """Return a setting under its name of today or an earlier one."""
    return next((str(conf[name]) for name in names if conf.get(name)), default)


def input_paths(conf: Conf) -> str:
    """Return what a configuration says to read."""
    paths = setting(conf, _INPUT_DIRECTORY)
    if not paths:
        raise no_input_paths()
    return paths


def output_directory(conf: Conf) -> str:
    """Return where a configuration says to write."""
    directory = setting(conf, _OUTPUT_DIRECTORY)
    if not directory:
        raise no_output_directory()
    return directory


def output_format(conf: Conf, new_api: bool) -> str:
    """Return the output format that a configuration names; text if none."""
    names, default = (
        (_NEW_OUTPUT_FORMAT, NEW_API + "output.TextOutputFormat")
        if new_api
        else (_OLD_OUTPUT_FORMAT, OLD_API + "TextOutputFormat")
    )
    return setting(conf, names, default)


def output_classes(conf: Conf) -> Tuple[Optional[str], Optional[str]]:
    """Return the classes of keys and values that a configuration names."""
    return setting(conf, _KEY_CLASS) or None, setting(conf, _VALUE_CLASS) or None


class Input(NamedTuple):
    """An input format: how it cuts files and reads their parts."""

    read: Callable[..., Iterable[Tuple[Any, Any]]]
    least_split_bytes: int
    is_splittable: Callable[[str], bool]


def read_sequence(conf: Conf, split: FileSplit) -> Iterator[Tuple[Any, Any]]:
    """Yield the pairs of a part of a SequenceFile."""
    with open(split.path, "rb") as file:
        reader = SequenceFileReader(file, f"file:{split.path}")
        key_class, value_class = reader.key_class, reader.value_class
        for key, value in reader.records(split.start, split.end):
            yield writables.decode(key_class, key), writables.decode(value_class, value)


def _read_lines(conf: Conf, split: FileSplit) -> Iterator[Tuple[Any, Any]]:
    delimiter = setting(conf, _DELIMITER)
    return text.lines_of(split, delimiter.encode("utf-8") if delimiter else None)


def _read_pairs_of_text(conf: Conf, split: FileSplit) -> Iterator[Tuple[Any, Any]]:
    separator = setting(conf, _KEY_VALUE_SEPARATOR, "\t")[0]
    for _, line in _read_lines(conf, split):
        key, _, value = line.partition(separator)
        yield key, value


_SEQUENCE_INPUT = Input(read_sequence, SYNC_INTERVAL_BYTES, lambda path: True)
_TEXT_INPUT = Input(_read_lines, 1, text.is_splittable)
_KEY_VALUE_INPUT = Input(_read_pairs_of_text, 1, text.is_splittable)
_INPUTS = {
    "SequenceFileInputFormat": _SEQUENCE_INPUT,
    "TextInputFormat": _TEXT_INPUT,
    "KeyValueTextInputFormat": _KEY_VALUE_INPUT,
}


def input_of(class_name: str, new_api: bool) -> Input:
    """Return an input format of the older or the newer API.

    Raises
    ------
    PySparkNotImplementedError
        If it is not there.
    """
    package = NEW_API + "input." if new_api else OLD_API
    name = class_name.removeprefix(package)
    if name == class_name or name not in _INPUTS:
        raise not_supported(f"the input format {class_name}")
    return _INPUTS[name]


def plan_input(found: Input, paths: str, conf: Conf, wanted: Optional[int]) -> List[FileSplit]:
    """Return the parts of files that partitions read.

    Parameters
    ----------
    wanted
        About how many, as the older API counts; None to cut at blocks as the newer one does.
    """
    files = list_files(paths)
    splittable = [found.is_splittable(file) for file in files]
    if wanted is None:
        least, most = int(setting(conf, _LEAST_SPLIT, "1")), int(setting(conf, _MOST_SPLIT, str(2**63 - 1)))
        return splits.by_block(files, max(1, least), most, splittable)
    least = max(found.least_split_bytes, int(setting(conf, _LEAST_SPLIT, "1")))
    return splits.by_count(files, wanted, least, splittable)


def read_splits(
    read: Callable[..., Iterable[Tuple[Any, Any]]], conf: Conf, split: int, parts: Iterable[FileSplit]
) -> Iterator[Tuple[Any, Any]]:
    """Yield the pairs of the parts of files of one partition."""
    for part in parts:
        yield from read(conf, part)


class Output(NamedTuple):
    """What a job writes: the format, how files are called, classes and compression."""

    sequence: bool
    name: str
    key_class: Optional[str]
    value_class: Optional[str]
    codec: Optional[str]
    by_block: bool
    separator: str


def output_of(
    class_name: str,
    new_api: bool,
    conf: Conf,
    key_class: Optional[str] = None,
    value_class: Optional[str] = None,
) -> Output:
    """Return how to write in an output format of the older or the newer API.

    Raises
    ------
    PySparkNotImplementedError
        If the format or the codec is not there.
    """
    package = NEW_API + "output." if new_api else OLD_API
    name = class_name.removeprefix(package)
    if name == class_name or name not in ("SequenceFileOutputFormat", "TextOutputFormat"):
        raise not_supported(f"the output format {class_name}")
    compressed = setting(conf, _COMPRESS, "false").lower() == "true"
    codec = setting(conf, _CODEC, codecs.DEFAULT) if compressed else None
    if codec is not None:
        codecs.codec_of(codec)
    return Output(
        sequence=name == "SequenceFileOutputFormat",
        name="part-r-" if new_api else "part-",
        key_class=key_class,
        value_class=value_class,
        codec=codec,
        by_block=setting(conf, _COMPRESSION_TYPE, "RECORD").upper() == "BLOCK",
        separator=setting(conf, _SEPARATOR, "\t"),
    )


def compressed_by_block(conf: Optional[Dict[str, str]], codec: Optional[str]) -> Dict[str, str]:
    """Return a configuration with a codec set as the codec arguments of RDDs do."""
    settings = dict(conf or {})
    if codec is not None:
        settings.update({_COMPRESS[0]: "true", _CODEC[0]: codec, _COMPRESSION_TYPE[0]: "BLOCK"})
    return settings


def write_pairs(out: Output, directory: str, split: int, iterator: Iterable[Tuple[Any, Any]]) -> Iterator[str]:
    """Write a partition and yield where its file lies."""
    name = f"{out.name}{split:05d}"
    if not out.sequence and out.codec is not None:
        name += codecs.codec_of(out.codec).extension
    with pending_file(directory, name) as (file, path):
        (_write_sequence if out.sequence else _write_text)(out, file, iterator)
    yield path


def _write_sequence(out: Output, file: Any, iterator: Iterable[Tuple[Any, Any]]) -> None:
    assert out.key_class is not None and out.value_class is not None
    writer = SequenceFileWriter(file, out.key_class, out.value_class, out.codec, out.by_block)
    for element in iterator:
        pair = writables.encode_pair(element)
        for part, found, expected in zip(("key", "value"), pair, (out.key_class, out.value_class)):
            if found.class_name != expected:
                raise wrong_class(part, found.class_name, expected)
        writer.append(pair[0].data, pair[1].data)
    writer.finish()


def _write_text(out: Output, file: Any, iterator: Iterable[Tuple[Any, Any]]) -> None:
    stream = codecs.codec_of(out.codec).compressor() if out.codec is not None else None
    for key, value in iterator:
        shown = [text.java_text(part) for part in (key, value) if part is not None]
        if not shown:
            continue
        line = (out.separator.join(shown) + "\n").encode("utf-8")
        file.write(line if stream is None else stream.compress(line))
    if stream is not None:
        file.write(stream.flush())


def reading(found: Input, conf: Conf) -> Callable[..., Iterator[Tuple[Any, Any]]]:
    """Return the kernel that reads parts of files."""
    return partial(read_splits, found.read, dict(conf))
