"""Runs jobs on the driver and brings their results here."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from pyspark import accumulators
from pyspark.serializers import CPickleSerializer

from pyrite.barrier import Coordinator, Meeting, check_barrier_stage
from pyrite.callsite import user_call_site
from pyrite.errors import driver_error
from pyrite.graph import build_graph
from pyrite.rdd.checkpoint import after_job
from pyrite.task_setup import wrap_command

if TYPE_CHECKING:
    from pyrite.context import SparkContext
    from pyrite.rdd.base import RDDCore

_accumulator_lock = threading.Lock()
_pickle = CPickleSerializer()
# As many as Spark keeps by default.
_RETAINED_JOBS = 1000


@dataclass
class Job:
    """An RDD, the request for a job over it, and what coordinates its barrier stages meanwhile."""

    rdd: "RDDCore[Any]"
    request: Any
    coordinators: List[Coordinator] = field(default_factory=list)


@dataclass
class JobRecord:
    """What became of a job.

    The engine gives the tasks of all stages of a job its number, so a job has one stage here.
    """

    job_id: int
    group: str
    name: str
    tasks: int
    completed: int = 0
    status: str = "RUNNING"


class JobLog:
    """The latest jobs, by number."""

    def __init__(self) -> None:
        self._records: Dict[int, JobRecord] = {}
        self._lock = threading.Lock()

    def start(self, request: Any, job_id: int, partitions: int) -> JobRecord:
        """Note that a job has started."""
        site = user_call_site()
        name = f"{site.function} at {site.file}:{site.linenum}"
        record = JobRecord(job_id, request.job_group, name, len(request.partitions) or partitions)
        with self._lock:
            self._records[job_id] = record
            if len(self._records) > _RETAINED_JOBS:
                del self._records[next(iter(self._records))]
        return record

    def get(self, job_id: int) -> Optional[JobRecord]:
        """Return what became of a job, None if it is unknown or long gone."""
        return self._records.get(job_id)

    def all(self) -> List[JobRecord]:
        """Return what became of the latest jobs, the newest first."""
        with self._lock:
            return list(reversed(self._records.values()))


class JobRunner:
    """Turns actions into calls of the driver's core service."""

    def __init__(self, context: "SparkContext"):
        self._context = context
        self.log = JobLog()

    def request(
        self,
        rdd: "RDDCore[Any]",
        partitions: Sequence[int] = (),
        sink: Optional[Any] = None,
    ) -> "Job":
        """Return a job with the calling thread's properties.

        Parameters
        ----------
        partitions
            Partitions to compute; all if empty.
        sink
            A ``pyrite.core.TextFileSink``; without one, results come here.

        Raises
        ------
        SparkException
            If a barrier stage cannot run as it is.
        """
        context = self._context
        request = context._core.messages.RunJobRequest(partitions=partitions, call_site=str(user_call_site()))
        properties = context._properties.snapshot()
        job = Job(rdd, request)

        def prepare(member: "RDDCore[Any]", python_map: Any) -> None:
            meeting = None
            if member._source.barrier:  # type: ignore[attr-defined]
                meeting = self._coordinate(job, member, len(partitions))
            function = python_map.function
            function.command = wrap_command(function.command, properties.values, meeting)

        build_graph(request.graph, rdd, prepare)
        request.dropped_exchanges.extend(context._dropped_exchanges.take())
        request.description = properties.description
        request.job_group = properties.job_group
        request.tags.extend(sorted(properties.tags))
        request.local_properties.update(properties.values)
        if sink is not None:
            request.text_file_sink.CopyFrom(sink)
        return job

    def _coordinate(self, job: "Job", rdd: "RDDCore[Any]", wanted: int) -> Meeting:
        """Let the tasks of an RDD in a barrier stage meet during a job."""
        executors = [executor for executor in self._context._core.status().executors if executor.registered]
        slots = sum(executor.cores for executor in executors) or self._context.defaultParallelism
        check_barrier_stage(job.rdd, rdd, wanted, slots)
        host = "127.0.0.1" if self._context._runs_tasks_itself else self._context._conf.get("spark.driver.host", "")
        coordinator = Coordinator(rdd.getNumPartitions(), str(host))
        job.coordinators.append(coordinator)
        return coordinator.meeting

    def run(self, job: "Job") -> Iterator[Tuple[int, bytes]]:
        """Run a job and yield (partition, whole frames) as they arrive.

        Frames of one partition keep their order. Accumulators are updated on the way.
        """
        finished = False
        record: Optional[JobRecord] = None
        try:
            for response in self._context._core.run_job(job.request):
                event = response.WhichOneof("event")
                if event == "started":
                    record = self.log.start(job.request, response.started.job_id, response.started.num_partitions)
                elif event == "partition_done" and record is not None:
                    record.completed += 1
                elif event == "data":
                    yield response.data.partition, response.data.frames
                elif event == "accumulator":
                    _update_accumulators(response.accumulator.updates)
                elif event == "done":
                    finished = True
        finally:
            if record is not None:
                record.status = "SUCCEEDED" if finished else "FAILED"
            for coordinator in job.coordinators:
                coordinator.close()
        if not finished:
            raise driver_error("the driver ended a job's results before the job was done")
        after_job(job.rdd)

    def results(self, job: "Job") -> Dict[int, List[Any]]:
        """Run a job and return the elements of each partition that has any."""
        results: Dict[int, List[Any]] = {}
        for partition, frames in self.run(job):
            elements = job.rdd._serializer.load_stream(io.BytesIO(frames))
            results.setdefault(partition, []).extend(elements)
        return results

    def collect(self, rdd: "RDDCore[Any]") -> List[Any]:
        """Return all elements in order."""
        results = self.results(self.request(rdd))
        return [element for partition in sorted(results) for element in results[partition]]

    def collect_partitions(self, rdd: "RDDCore[Any]", partitions: Sequence[int]) -> List[Any]:
        """Return the elements of some partitions, in the order asked for."""
        count = rdd.getNumPartitions()
        for partition in partitions:
            if not 0 <= partition < count:
                from pyspark.errors import IllegalArgumentException

                raise IllegalArgumentException(
                    f"Attempting to access a non-existent partition: {partition}. Total number of partitions: {count}"
                )
        if not partitions:
            return []
        results = self.results(self.request(rdd, sorted(set(partitions))))
        return [element for partition in partitions for element in results.get(partition, ())]

    def iterate(self, rdd: "RDDCore[Any]", prefetch: bool) -> Iterator[Any]:
        """Yield all elements, one job for each partition."""
        count = rdd.getNumPartitions()
        if not prefetch:
            for partition in range(count):
                yield from self.collect_partitions(rdd, [partition])
            return
        requests = (self.request(rdd, [partition]) for partition in range(count))
        with ThreadPoolExecutor(1, thread_name_prefix="pyrite-prefetch") as ahead:
            following = None
            for partition in range(count + 1):
                ready = following
                following = ahead.submit(self.results, next(requests)) if partition < count else None
                if ready is not None:
                    yield from ready.result().get(partition - 1, ())


def _update_accumulators(updates: Sequence[bytes]) -> None:
    for update in updates:
        update_accumulator(*_pickle.loads(update))


def update_accumulator(accumulator_id: int, value: Any) -> None:
    """Add what a task added to an accumulator; ids that are not accumulators are let be."""
    with _accumulator_lock:
        accumulator = accumulators._accumulatorRegistry.get(accumulator_id)
        if accumulator is not None:
            accumulator.add(value)
