"""Programs that the benchmark times from inside: ``programs.py NAME MASTER``.

Each prints one number a line: seconds of one repetition.
"""

import sys
import time

from pyspark import SparkConf, SparkContext


def one_task(sc: SparkContext) -> None:
    """Run the smallest job there is."""
    assert sc.parallelize([1], 1).count() == 1


def map_sum(sc: SparkContext) -> None:
    """Send ten million longs through a Python function and add them up."""
    assert sc.range(10_000_000).map(lambda x: x + 1).sum() == 50_000_005_000_000


PROGRAMS = {"one_task": (one_task, 20, 100), "map_sum": (map_sum, 1, 5)}


def main() -> None:
    """Run a program's warm-ups and repetitions."""
    function, warm_ups, repetitions = PROGRAMS[sys.argv[1]]
    sc = SparkContext(conf=SparkConf().setAppName(sys.argv[1]).setMaster(sys.argv[2]))
    for _ in range(warm_ups):
        function(sc)
    for _ in range(repetitions):
        begin = time.perf_counter()
        function(sc)
        print(time.perf_counter() - begin)
    sc.stop()


if __name__ == "__main__":
    main()
