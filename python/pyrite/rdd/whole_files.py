"""Files read as a whole or in records of one length, inside Python workers.

The application lists the files; workers open them under the same paths, as with ``file:`` paths on
Spark.
"""

import glob
import os
import urllib.parse
from typing import Any, Iterable, Iterator, List, Tuple

from pyspark.errors import PySparkValueError

from pyrite.errors import not_supported


def list_files(paths: str) -> List[str]:
    """Return the files of comma-separated paths, directories and globs, without hidden ones.

    Raises
    ------
    FileNotFoundError
        If a path matches nothing.
    """
    files: List[str] = []
    for path in paths.split(","):
        local = _local(path.strip())
        matches = sorted(glob.glob(local))
        if not matches:
            raise FileNotFoundError(f"Input path does not exist: {path}")
        for match in matches:
            inside = [os.path.join(match, n) for n in sorted(os.listdir(match))] if os.path.isdir(match) else [match]
            files.extend(file for file in inside if os.path.isfile(file) and _is_visible(file))
    return files


def _local(path: str) -> str:
    url = urllib.parse.urlparse(path)
    if url.scheme not in ("", "file"):
        raise not_supported(f"reading whole files from {url.scheme}:")
    return os.path.abspath(url.path if url.scheme else path)


def _is_visible(file: str) -> bool:
    return not os.path.basename(file).startswith(("_", "."))


def pack(files: List[str], partitions: int) -> List[List[str]]:
    """Gather files into about that many groups of about equal size."""
    if not files:
        return []
    # Empty files lie on no host, so Hadoop gathers them after all others.
    sized = sorted(((file, os.path.getsize(file)) for file in files), key=lambda pair: pair[1] == 0)
    target = max(1, -(-sum(size for _, size in sized) // max(1, partitions)))
    groups: List[List[str]] = [[]]
    gathered = 0
    for file, size in sized:
        if groups[-1] and gathered >= target:
            groups.append([])
            gathered = 0
        groups[-1].append(file)
        gathered += size
    return groups


def read_text(use_unicode: bool, split: int, groups: Iterable[List[str]]) -> Iterator[Tuple[Any, Any]]:
    """Yield name and content of each file, as text or as its bytes."""
    for name, content in read_bytes(split, groups):
        yield (name, content.decode("utf-8")) if use_unicode else (name.encode("utf-8"), content)


def read_bytes(split: int, groups: Iterable[List[str]]) -> Iterator[Tuple[str, bytes]]:
    """Yield name and bytes of each file."""
    for group in groups:
        for path in group:
            with open(path, "rb") as file:
                yield f"file:{path}", file.read()


def read_records(length: int, split: int, groups: Iterable[List[str]]) -> Iterator[bytes]:
    """Yield the records of each file."""
    for group in groups:
        for path in group:
            with open(path, "rb") as file:
                while record := file.read(length):
                    if len(record) < length:
                        raise PySparkValueError(f"{path} ends within a record of {length} bytes")
                    yield record
