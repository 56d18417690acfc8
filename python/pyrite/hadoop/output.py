"""Output directories: every task writes a file of its own, which only a whole job makes visible."""

import contextlib
import os
import shutil
import urllib.parse
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Iterable, Iterator, Tuple

from pyrite.errors import not_supported
from pyrite.hadoop.errors import output_exists

if TYPE_CHECKING:
    from pyrite.rdd import RDD

_PENDING = "_temporary"


def local_path(path: str) -> str:
    """Return the absolute path of a path or ``file:`` URL.

    Raises
    ------
    PySparkNotImplementedError
        If it is on another file system.
    """
    url = urllib.parse.urlparse(path)
    if url.scheme not in ("", "file"):
        raise not_supported(f"the file system {url.scheme}:")
    return os.path.abspath(url.path if url.scheme else path)


@contextlib.contextmanager
def pending_file(directory: str, name: str) -> Iterator[Tuple[BinaryIO, str]]:
    """Open a file that one attempt of a task writes; also yields where it lies.

    It is deleted if the block fails.
    """
    attempt = os.path.join(directory, _PENDING, uuid.uuid4().hex)
    os.makedirs(attempt)
    path = os.path.join(attempt, name)
    try:
        with open(path, "wb") as file:
            yield file, path
    except BaseException:
        shutil.rmtree(attempt, ignore_errors=True)
        raise


def write(parts: "RDD[Any]", directory: str, done_marker: bool = True) -> None:
    """Run the tasks that write a directory and make what they wrote visible.

    Parameters
    ----------
    parts
        An RDD that writes with :func:`pending_file` and whose elements are the paths.
    directory
        The directory, which must not be there yet.
    done_marker
        Whether to leave an empty ``_SUCCESS``.

    Raises
    ------
    SparkException
        If the directory exists already.
    """
    if os.path.exists(directory):
        raise output_exists(directory)
    os.makedirs(directory)
    try:
        paths: Iterable[str] = parts.collect()
        for path in paths:
            os.replace(path, os.path.join(directory, os.path.basename(path)))
    finally:
        shutil.rmtree(os.path.join(directory, _PENDING), ignore_errors=True)
    if done_marker:
        with open(os.path.join(directory, "_SUCCESS"), "wb"):
            pass
