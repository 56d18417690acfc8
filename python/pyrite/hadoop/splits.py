"""Cutting input files into parts for partitions, as Hadoop's ``FileInputFormat`` does."""

import os
from typing import List, NamedTuple

# The block size that Hadoop gives local files.
_BLOCK_BYTES = 32 << 20
# The last part of a file may be that much larger than the others.
_SLOP = 1.1


class FileSplit(NamedTuple):
    """A part of a file; the end is not included."""

    path: str
    start: int
    end: int


def by_count(files: List[str], wanted: int, least_bytes: int, splittable: List[bool]) -> List[FileSplit]:
    """Cut files into about that many parts (the older API).

    Parameters
    ----------
    least_bytes
        No part but the last of a file is smaller.
    splittable
        For each file, whether it can be cut at all.
    """
    total = sum(os.path.getsize(file) for file in files)
    size = max(least_bytes, min(total // max(1, wanted), _BLOCK_BYTES), 1)
    return _cut(files, size, splittable)


def by_block(files: List[str], least_bytes: int, most_bytes: int, splittable: List[bool]) -> List[FileSplit]:
    """Cut files at the size of a block (the newer API)."""
    return _cut(files, max(least_bytes, min(most_bytes, _BLOCK_BYTES), 1), splittable)


def _cut(files: List[str], size: int, splittable: List[bool]) -> List[FileSplit]:
    splits = []
    for file, can_cut in zip(files, splittable):
        start, length = 0, os.path.getsize(file)
        while can_cut and (length - start) / size > _SLOP:
            splits.append(FileSplit(file, start, start + size))
            start += size
        # Spark leaves files without a byte out.
        if start < length:
            splits.append(FileSplit(file, start, length))
    return splits
