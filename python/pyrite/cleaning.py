"""What the application has let go and the driver need not keep."""

import weakref
from collections import deque
from typing import Deque, List


class DroppedExchanges:
    """Exchanges whose RDDs are garbage; the next job tells the driver.

    Spark's ``ContextCleaner`` does the same for the files of its shuffles.
    """

    def __init__(self) -> None:
        # A deque, as finalisers run in any thread and at any moment.
        self._ids: Deque[int] = deque()

    def watch(self, rdd: object, rdd_id: int) -> None:
        """Note when an RDD that an exchange makes is garbage."""
        weakref.finalize(rdd, self._ids.append, rdd_id).atexit = False

    def take(self) -> List[int]:
        """Return the exchanges that have been dropped since the last call."""
        return [self._ids.popleft() for _ in range(len(self._ids))]
