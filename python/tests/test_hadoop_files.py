"""Files in Hadoop's formats: what Apache Spark wrote is read, and the same bytes are written."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from conftest import TESTS
from pyspark.serializers import CPickleSerializer

from pyrite.hadoop import codecs, java_arrays, sequence, splits, text, writables

DATA = TESTS / "hadoop" / "spark"
EXPECTED = json.loads((TESTS / "hadoop" / "expected.json").read_text(encoding="utf-8"))
OBJECTS = [name for name in EXPECTED if name.startswith("objects")]
SEQUENCES = [name for name in EXPECTED if name not in OBJECTS]


def part(name: str) -> Path:
    return DATA / name / "part-00000"


def parts(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / name).iterdir())]


def pairs_of(data: bytes) -> list[tuple[object, object]]:
    reader = sequence.SequenceFileReader(io.BytesIO(data), "test")
    return [
        (writables.decode(reader.key_class, key), writables.decode(reader.value_class, value))
        for key, value in reader.records()
    ]


def written(pairs: list[tuple[object, object]], codec: str | None = None, by_block: bool = False) -> bytes:
    file = io.BytesIO()
    key, value = writables.encode_pair(pairs[0])
    writer = sequence.SequenceFileWriter(file, key.class_name, value.class_name, codec, by_block)
    for pair in pairs:
        encoded = writables.encode_pair(pair)
        writer.append(encoded[0].data, encoded[1].data)
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_spark_wrote_is_read(name: str) -> None:
    assert repr([pair for data in parts(name) for pair in pairs_of(data)]) == EXPECTED[name]


@pytest.mark.parametrize("name", OBJECTS)
def test_object_files_of_spark_are_read(name: str) -> None:
    records = [value for data in parts(name) for _, value in pairs_of(data)]
    batches = [batch for record in records for batch in java_arrays.load(bytes(record))]
    assert repr([element for batch in batches for element in CPickleSerializer().loads(batch)]) == EXPECTED[name]
    # Ten batches a record, and the very bytes of Java's serialisation.
    assert [java_arrays.dump(java_arrays.load(bytes(record))) for record in records] == [bytes(r) for r in records]


@pytest.mark.parametrize("name", [n for n in SEQUENCES if not n.startswith(("block", "record")) and n != "maps"])
def test_what_is_written_is_what_spark_writes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = part(name).read_bytes()
    with part(name).open("rb") as file:
        marker = sequence.SequenceFileReader(file, name)._sync
    monkeypatch.setattr(sequence.os, "urandom", lambda size: marker)
    assert written(pairs_of(recorded)) == recorded


@pytest.mark.parametrize(
    ("codec", "by_block"),
    [
        (None, False),
        *((f"{name}Codec", by_block) for name in ("Default", "Gzip", "BZip2") for by_block in (False, True)),
    ],
)
def test_every_record_is_in_one_part_wherever_files_are_cut(codec: str | None, by_block: bool) -> None:
    # Some incompressible ones too, so that there are several blocks and sync markers.
    numbers, count, spread = random.Random(7), 4000 if by_block else 1000, 0
    pairs = [(i, numbers.randbytes(numbers.randrange(1500))) for i in range(count)]
    data = written(pairs, codec and f"org.apache.hadoop.io.compress.{codec}", by_block)
    reader = sequence.SequenceFileReader(io.BytesIO(data), "test")
    for _ in range(5):
        cuts = sorted(numbers.sample(range(1, len(data)), numbers.randrange(1, 6)))
        bounds = [0, *cuts, len(data)]
        found = [[int.from_bytes(k, "big") for k, _ in reader.records(a, b)] for a, b in zip(bounds, bounds[1:])]
        assert [key for keys in found for key in keys] == list(range(count)), bounds
        spread = max(spread, sum(bool(keys) for keys in found))
    assert spread > 1


def test_corrupt_files_are_named() -> None:
    whole = part("simple").read_bytes()
    with pytest.raises(Exception, match="a.seq not a SequenceFile"):
        sequence.SequenceFileReader(io.BytesIO(b"SE"), "a.seq")
    with pytest.raises(Exception, match="version 4"):
        sequence.SequenceFileReader(io.BytesIO(b"SEQ\x04" + whole[4:]), "a.seq")
    with pytest.raises(EOFError):
        pairs_of(whole[:-1])
    # The length of the first record's key, far beyond the record.
    start = len(whole) - len(whole.partition(b"\x00\x00\x00\x04\x00\x00\x00\x01")[2]) - 8
    broken = whole[:start] + b"\x7f\xff\xff\xff" + whole[start + 4 :]
    with pytest.raises(Exception, match="corrupt"):
        pairs_of(broken)


def test_numbers_of_variable_length() -> None:
    for value in [0, 1, -1, 127, 128, -112, -113, 255, 256, 2**31, -(2**31), 2**63 - 1, -(2**63)]:
        assert writables.read_vlong(io.BytesIO(writables.pack_vlong(value))) == value


@pytest.mark.parametrize("delimiter", [None, "|", "\r\n", "ab"])
def test_lines_are_read_once_wherever_files_are_cut(tmp_path: Path, delimiter: str | None) -> None:
    numbers = random.Random(3)
    data = "".join(numbers.choice("ab|\n\r.\u00e9") for _ in range(5000)).encode()
    path = tmp_path / "lines"
    path.write_bytes(data)
    end = delimiter.encode() if delimiter else None
    whole = list(text.lines_of(splits.FileSplit(str(path), 0, len(data)), end))
    assert len(whole) > 100
    assert all(data[offset:].startswith(line.encode()) for offset, line in whole)
    for _ in range(100):
        cut = numbers.randrange(1, len(data))
        if data[cut - 1 : cut + 1] == b"\r\n" or (end and len(end) > 1 and data[cut - 1 : cut + 1] == end):
            continue  # within a line end
        both = [splits.FileSplit(str(path), 0, cut), splits.FileSplit(str(path), cut, len(data))]
        assert [line for split in both for line in text.lines_of(split, end)] == whole, cut


def test_compressed_text_is_read_as_a_whole(tmp_path: Path) -> None:
    lines = [f"line {i}" for i in range(20_000)]
    for codec in (
        codecs.codec_of(f"org.apache.hadoop.io.compress.{name}Codec") for name in ("Gzip", "BZip2", "Default")
    ):
        path = tmp_path / f"a{codec.extension}"
        half = "\n".join(lines[:10_000]).encode() + b"\n", "\n".join(lines[10_000:]).encode()
        # Two streams in one file, as `cat a.gz b.gz` makes them.
        path.write_bytes(b"".join(map(codec.compress, half)))
        assert not text.is_splittable(str(path))
        assert [line for _, line in text.lines_of(splits.FileSplit(str(path), 0, 1))] == lines
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises((EOFError, OSError, ValueError)):
            list(text.lines_of(splits.FileSplit(str(path), 0, 1)))


def test_parts_are_cut_as_hadoop_does(tmp_path: Path) -> None:
    sizes = {"a": 100, "b": 0, "c": 31, "d": 205}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"x" * size)
    files = [str(tmp_path / name) for name in sizes]
    cut = [(Path(s.path).name, s.start, s.end) for s in splits.by_count(files, 4, 1, [True, True, True, False])]
    assert cut == [("a", 0, 84), ("a", 84, 100), ("c", 0, 31), ("d", 0, 205)]
    assert len(splits.by_block(files, 1, 50, [True] * 4)) == 2 + 1 + 4


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1.0"), (1e20, "1.0E20"), (1e7, "1.0E7"), (9999999.0, "9999999.0"), (0.001, "0.001"), (1e-5, "1.0E-5")]
    + [(0.00012345, "1.2345E-4"), (123456789.125, "1.23456789125E8"), (-0.0, "-0.0"), (-2.5e-300, "-2.5E-300")]
    + [(float("inf"), "Infinity"), (100.0, "100.0"), (12345678.0, "1.2345678E7")],
)
def test_numbers_look_as_in_java(value: float, shown: str) -> None:
    assert text.java_double(value) == shown
