"""Barrier stages: tasks that run together and wait for each other.

The application coordinates. Its :class:`Coordinator` speaks the protocol of ``pyspark.taskcontext``:
a task authenticates, sends a function and perhaps a message, and gets what all tasks sent.
"""

import secrets
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from pyspark.serializers import UTF8Deserializer, read_int, write_int, write_with_length
from pyspark.taskcontext import BARRIER_FUNCTION, BarrierTaskContext, TaskContext

from pyrite.graph import PythonMap, Shuffle, stage_of
from pyrite.hadoop.errors import spark_error

if TYPE_CHECKING:
    from pyrite.rdd.base import RDDCore

# The words are Spark's: programs and people look for the numbers in them.
_CHAIN_REFUSED = (
    "[SPARK-24820][SPARK-24821]: Barrier execution mode does not allow the following pattern of RDD chain within a "
    "barrier stage:\n1. Ancestor RDDs that have different number of partitions from the resulting RDD (e.g. "
    "union()/coalesce()/first()/take()/PartitionPruningRDD). A workaround for first()/take() can be "
    "barrierRdd.collect().head (scala) or barrierRdd.collect()[0] (python).\n2. An RDD that depends on multiple "
    "barrier RDDs (e.g. barrierRdd1.zip(barrierRdd2))."
)
_TOO_FEW_SLOTS = (
    "[SPARK-24819]: Barrier execution mode does not allow run a barrier stage that requires more slots than the total "
    "number of slots in the cluster currently. Please init a new cluster with more resources(e.g. CPU, GPU) or "
    "repartition the input RDD(s) to reduce the number of slots required to run this barrier stage."
)

__all__ = ["Coordinator", "Meeting", "check_barrier_stage", "join"]

# Sent by a task when it starts; the answer are the addresses of all tasks.
_HELLO = 0
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "")
_text = UTF8Deserializer()


@dataclass(frozen=True)
class Meeting:
    """Where the tasks of a barrier stage meet."""

    host: str
    port: int
    secret: str


@dataclass
class _Round:
    """One synchronisation: who has come, and what with."""

    function: int
    messages: Dict[int, str] = field(default_factory=dict)
    complete: bool = False


class Coordinator:
    """Lets the tasks of one barrier stage wait for each other.

    Parameters
    ----------
    tasks
        Number of tasks.
    host
        Name of this machine for executors; loopback keeps the port closed to others.
    """

    def __init__(self, tasks: int, host: str):
        self._tasks = tasks
        self._changed = threading.Condition()
        self._round: Optional[_Round] = None
        self._closed = False
        self._connections: List[socket.socket] = []
        is_local = host in _LOOPBACK
        self._server = socket.create_server(("127.0.0.1" if is_local else "", 0), backlog=max(tasks, 16))
        self.meeting = Meeting("127.0.0.1" if is_local else host, self._server.getsockname()[1], secrets.token_hex(32))
        threading.Thread(target=self._accept, name="pyrite-barrier", daemon=True).start()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            connections = list(self._connections)
        # Closing alone would not wake the thread that accepts.
        for open_socket in (self._server, *connections):
            try:
                open_socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
            open_socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._server.accept()
            except OSError:
                return
            with self._changed:
                if self._closed:
                    connection.close()
                    return
                self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: Tuple[Any, ...]) -> None:
        try:
            with connection, connection.makefile("rwb") as stream:
                task = self._authenticate(stream)
                if task is not None:
                    self._answer(task, stream, f"{address[0]}:{address[1]}")
        except (OSError, EOFError):
            pass  # the task ended or the stage did; whoever waits learns it from the job
        finally:
            with self._changed:
                if connection in self._connections:
                    self._connections.remove(connection)

    def _authenticate(self, stream: Any) -> Optional[int]:
        """Return the number of the task that knows the secret."""
        length = read_int(stream)
        if not 0 < length < 1024:
            return None
        secret, _, task = stream.read(length).decode("utf-8", "replace").rpartition(":")
        known = secrets.compare_digest(secret.encode("utf-8"), self.meeting.secret.encode("ascii"))
        write_with_length(b"ok" if known else b"err", stream)
        stream.flush()
        return int(task) if known and task.isdigit() and int(task) < self._tasks else None

    def _answer(self, task: int, stream: Any, address: str) -> None:
        function = read_int(stream)
        message = {_HELLO: address, BARRIER_FUNCTION: ""}.get(function)
        if message is None:
            message = _text.loads(stream)
        messages = self._wait(task, function, message)
        if messages is None:
            return  # the end of the stream is the failure of the task
        answer = [""] if function == BARRIER_FUNCTION else messages
        write_int(len(answer), stream)
        for item in answer:
            write_with_length(item.encode("utf-8"), stream)
        stream.flush()

    def _wait(self, task: int, function: int, message: str) -> Optional[List[str]]:
        """Return what all tasks sent in this round; None if there will never be all of them."""
        with self._changed:
            if self._round is None:
                self._round = _Round(function)
            current = self._round
            if current.function != function:
                # Neither can go on: one waits for a barrier, the other for messages.
                self._closed = True
            current.messages[task] = message
            if len(current.messages) == self._tasks:
                current.complete, self._round = True, None
            self._changed.notify_all()
            self._changed.wait_for(lambda: current.complete or self._closed)
            return [current.messages[i] for i in range(self._tasks)] if current.complete else None


def join(meeting: Meeting) -> None:
    """Make this task, in its Python worker, one of a barrier stage."""
    task = TaskContext.get()
    assert task is not None
    secret = f"{meeting.secret}:{task.partitionId()}"
    port = meeting.port if meeting.host in _LOOPBACK else _forward(meeting)
    addresses = _hello(port, secret)
    context = BarrierTaskContext._getOrCreate()
    context.__dict__.update(task.__dict__)
    context._localProperties = {**(task._localProperties or {}), "addresses": ",".join(addresses)}
    BarrierTaskContext._initialize(port, secret)
    TaskContext._setTaskContext(context)


def _hello(port: int, secret: str) -> List[str]:
    from pyspark.util import local_connect_and_auth

    stream, connection = local_connect_and_auth(port, secret)
    connection.settimeout(None)
    with connection, stream:
        write_int(_HELLO, stream)
        stream.flush()
        return [_text.loads(stream) for _ in range(read_int(stream))]


def _forward(meeting: Meeting) -> int:
    """Return a local port whose connections go to the application's machine.

    PySpark's task context only ever connects to its own machine.
    """
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            near, _ = server.accept()
            far = socket.create_connection((meeting.host, meeting.port))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    threading.Thread(target=accept, name="pyrite-barrier", daemon=True).start()
    return int(server.getsockname()[1])


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            end.close()


def check_barrier_stage(root: "RDDCore[Any]", rdd: "RDDCore[Any]", wanted: int, slots: int) -> None:
    """Check that a barrier stage can run.

    Parameters
    ----------
    root
        The RDD of the job.
    rdd
        An RDD of a barrier stage in its lineage.
    wanted
        Number of partitions of `root` that the job computes; 0 for all.
    slots
        How many tasks can run at a time.

    Raises
    ------
    SparkException
        If tasks of one stage would not be one to one with those of the barrier stage, or if there
        are not enough slots for all of them.
    """
    tasks = rdd.getNumPartitions()
    if tasks > slots:
        raise spark_error(_TOO_FEW_SLOTS)
    for last in _last_of_stages(root):
        members = stage_of(last)
        if rdd not in members:
            continue
        if last.getNumPartitions() > slots:
            raise spark_error(_TOO_FEW_SLOTS)
        barriers = [m for m in members if isinstance(m._source, PythonMap) and m._source.barrier]
        partial = last is root and 0 < wanted < tasks
        if partial or any(m.getNumPartitions() != last.getNumPartitions() for m in members):
            raise spark_error(_CHAIN_REFUSED)
        several = any(
            sum(any(b in stage_of(parent) for b in barriers) for parent in m._source.parents) > 1 for m in members
        )
        if several:
            raise spark_error(_CHAIN_REFUSED)


def _last_of_stages(root: "RDDCore[Any]") -> List["RDDCore[Any]"]:
    """Return the RDDs that end the stages of a job: `root`, and what is shuffled."""
    last, seen = [root], {root.id()}
    for end in last:
        for member in stage_of(end):
            parents = member._source.parents if isinstance(member._source, Shuffle) else ()
            for parent in parents:
                if parent.id() not in seen:
                    seen.add(parent.id())
                    last.append(parent)
    return last
