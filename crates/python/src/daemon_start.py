# Starts Spark's own daemon with the worker module already imported. Run with `python -c`, which
# leaves `sys.argv` as the daemon expects it: the worker module is its first argument.
import gc
import os
import struct
import sys

# The interpreter's version, framed like the socket path that the daemon writes next.
version = b"%d.%d" % sys.version_info[:2]
os.write(1, struct.pack("!i", len(version)) + version)


def line_writer(stream):
    # Spark sets PYTHONUNBUFFERED, with which `print("a", 1)` makes a write of each of "a", " ",
    # "1" and the end of the line; what other workers write at the same time gets in between.
    # A line in one write stays whole, for executors append to files.
    fd = stream.fileno()
    lines = open(fd, "w", 65536, stream.encoding, stream.errors, closefd=False)
    lines.reconfigure(line_buffering=True)
    return lines


sys.stdout = sys.__stdout__ = line_writer(sys.stdout)
sys.stderr = sys.__stderr__ = line_writer(sys.stderr)

# Importing this takes 0.1 s and starts no thread: once before the fork saves that in every worker.
import pyspark.worker

run_task = pyspark.worker.main


def main(infile, outfile):
    try:
        run_task(infile, outfile)
    finally:
        # The end of a line may be missing. Before the results are flushed: once the task has
        # ended for others, the application may end and the worker be killed.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass  # closed by the function, or on a full disk: no reason to fail its task


pyspark.worker.main = main

is_worker = False


def print_to_stderr():
    # Spark, too, shows what workers print on the standard error of their JVM. A pipe to the
    # executor would mix lines and lose the last ones when it is killed. Forks that the worker
    # itself makes keep what it has.
    global is_worker
    if not is_worker:
        is_worker = True
        os.dup2(2, 1)


os.register_at_fork(after_in_child=print_to_stderr)

# NumPy told to use one thread is safe to fork and imported as well. Its random numbers would then
# be the same in all workers, hence the new seed. (pandas brings in pyarrow, which starts a thread:
# never before a fork.)
if os.environ.get("OMP_NUM_THREADS") == "1":
    try:
        import numpy.random

        os.register_at_fork(after_in_child=numpy.random.seed)
    except Exception:
        pass

# The collection that the daemon runs after every task would walk what was imported, 3 ms each time.
gc.collect()
gc.freeze()

from pyspark.daemon import manager

manager()
