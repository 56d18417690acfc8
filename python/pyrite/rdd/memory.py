"""Memory of a Python worker."""

import gc
import os

from pyspark import shuffle

_MIB = 1 << 20
#: New objects after which the youngest are searched for cycles.
_NEW_OBJECTS = 100_000


def get_used_memory() -> int:
    """Return the resident memory of this process in MiB.

    PySpark's function of that name looks for ``psutil`` in each call, which takes a hundred times
    as long where it is not installed.
    """
    try:
        with open("/proc/self/statm", "rb", buffering=0) as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // _MIB
    except FileNotFoundError:  # not Linux
        return shuffle.get_used_memory()


def collect_garbage_seldom() -> None:
    """Search for cycles less often than every few hundred objects, unless the user has had a say.

    Elements pass in batches of thousands of tuples, which end long before a search that is this
    late would look at them.
    """
    if 0 < gc.get_threshold()[0] <= 2000:
        gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
