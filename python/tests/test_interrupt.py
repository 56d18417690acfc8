"""Ctrl-C ends an application at any moment of its life, and the exit status says so."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Cluster, Programs, wait_until

from pyrite import interrupts

HEAD = """
import sys
open(sys.argv[2], "w").close()
"""

#: Starts, and then works for ever in short jobs of every kind.
RDDS = (
    HEAD
    + """
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().setAppName("interrupted").setMaster(sys.argv[1]))
while True:
    sc.parallelize(range(100), 2).map(lambda x: (x % 3, x)).reduceByKey(lambda a, b: a + b).collect()
    list(sc.parallelize(range(10), 2).toLocalIterator(prefetchPartitions=True))
"""
)

FRAMES = (
    HEAD
    + """
from pyspark.sql import SparkSession
spark = SparkSession.builder.master(sys.argv[1]).appName("interrupted").getOrCreate()
while True:
    spark.range(1000).selectExpr("sum(id)").collect()
    spark.range(10).toPandas()
"""
)

#: The main thread waits for threads whose jobs never end.
THREADS = (
    HEAD
    + """
import threading
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().setAppName("interrupted").setMaster(sys.argv[1]))
def work():
    import time
    sc.parallelize(range(2), 2).map(lambda x: time.sleep(600)).count()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
)


def interrupt(programs: Programs, text: str, master: str, delay: float) -> None:
    """Start a program, interrupt it some time after its first line, and check how it ends."""
    begun = programs.directory / f"begun-{delay}"
    script = programs.script(f"interrupted-{delay}.py", text)
    application = programs.start(sys.executable, script, master, str(begun))
    try:
        wait_until(begun.exists, "the program began", 30)
        time.sleep(delay)
        application.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, err = application.communicate(timeout=30)
        seconds = time.monotonic() - begin
    finally:
        application.kill()
    assert application.returncode == -signal.SIGINT, f"status {application.returncode} after {delay} s\n{err}"
    assert "KeyboardInterrupt" in err, f"after {delay} s\n{err}"
    assert seconds < 10, f"it took {seconds:.1f} s after {delay} s\n{err}"


@pytest.mark.parametrize("text", [RDDS, FRAMES, THREADS], ids=["rdds", "frames", "threads"])
def test_an_interrupt_ends_the_program_whenever_it_comes(programs: Programs, text: str) -> None:
    chance = random.Random(text)
    for delay in [0, *(round(chance.uniform(0, 2.5), 3) for _ in range(4))]:
        interrupt(programs, text, "local[2]", delay)


def test_an_interrupt_ends_a_program_on_a_cluster(programs: Programs, cluster: Cluster) -> None:
    for text, delay in ((RDDS, 0.8), (FRAMES, 2.0), (THREADS, 3.0)):
        interrupt(programs, text, cluster.url, delay)


def test_a_pool_knows_the_thread_that_it_was_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = threading.Event.wait

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return wait(event, timeout)

    before = signal.signal(signal.SIGINT, interrupts._interrupt)
    monkeypatch.setattr(threading.Event, "wait", interrupted)
    pool = ThreadPoolExecutor(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.submit(int)
            assert len(pool._threads) == 1
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
        pool.shutdown()
    assert len(pool._threads) == 1
